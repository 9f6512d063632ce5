"""`reconciler plan`: shows what an apply would change, and why. Changes nothing."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import replace

from reconciler.app.handover import is_waiting
from reconciler.app.plans import PlanRequest, plan_stack, require_credentials
from reconciler.cli.applying import refused
from reconciler.cli.options import (
    GlobalOptions,
    metrics_option,
    planning_options,
    policy_options,
    report_options,
)
from reconciler.cli.reporting import publish_plan, talk, tell_errors, writable, write_private
from reconciler.cli.session import CommandSession
from reconciler.errors import GuardError, UsageError
from reconciler.model.change import Plan


@click.command("plan")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan for `apply FILE`."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are changes.")
@click.option("--destroy", is_flag=True, help="Plan to delete everything that the stack manages.")
@click.option("--unmanaged", is_flag=True, help="Also list objects that the stack does not manage.")
@planning_options
@policy_options
@metrics_option
@report_options
def command(
    options: GlobalOptions,
    request: PlanRequest,
    out: Path | None,
    detailed_exitcode: bool,
    destroy: bool,
    unmanaged: bool,
) -> int:
    """Show what apply would change, and save it with --out.

    Read live state and compare it with the manifests. Write only the files that --out and --report
    name.
    """
    with CommandSession(options) as session:
        if unmanaged and request.refresh == "none":
            raise UsageError(
                "--unmanaged lists live objects, and --refresh none reads nothing",
                hint="Leave one of the two out.",
            )
        if unmanaged and request.target:
            raise UsageError(
                "--unmanaged lists everything that exists, and --target plans a part of it",
                hint="Leave one of the two out.",
            )
        if out is not None:
            request.refuse_offline()
            # Before the plan is made, since a large one takes minutes.
            writable(out, "--out")
            from reconciler.app.encrypted_files import check_can_encrypt

            # Reports every problem of the manifests at once, not only those of the encryption.
            require_credentials(session)
            check_can_encrypt(session)
        request = replace(request, destroy=destroy, unmanaged=unmanaged)
        plan = refused(session, plan_stack(session, request), request)
        if is_waiting(session.store):
            talk("Terraform has not let go of the imported objects yet: until then, apply refuses.")
        tell_errors(session.options, plan)
        publish_plan(session.options, plan)
        # Published first, so that reviewers see what a guard refuses. It is not saved.
        if plan.refusals:
            raise GuardError(plan.refusals)
    if out is not None:
        _save(session, plan, out)
        options.outcome.plan_path = str(out)
    if plan.blocked:
        return 1
    if detailed_exitcode and not plan.is_empty:
        return 2
    return 0


def _save(session: CommandSession, plan: Plan, out: Path) -> None:
    from reconciler.app.encrypted_files import encrypted
    from reconciler.render.planfile import dump_plan
    from reconciler.state.envelope import Content

    write_private(out, encrypted(session, Content.PLAN, dump_plan(plan)))
