"""`reconciler plan`: what would change, and why. Changes nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from reconciler.cli.options import GlobalOptions, PlanningOptions, global_options, planning_options


@click.command("plan")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan, for `apply FILE`.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when there are changes.")
@click.option("--destroy", is_flag=True, help="Plan the deletion of everything managed.")
@click.option("--unmanaged", is_flag=True, help="Also list objects that neither manifests nor state know.")
@planning_options
@global_options
def command(
    options: GlobalOptions,
    planning: PlanningOptions,
    out: Path | None,
    detailed_exitcode: bool,
    destroy: bool,
    unmanaged: bool,
) -> int:
    """Show what apply would do, and save it with --out.

    Reads live state and compares it with the manifests. Nothing is written but what --out and --report name.
    """
    from reconciler.cli.reporting import publish_plan, tell_errors, writable, write_private
    from reconciler.cli.session import Session
    from reconciler.errors import GuardError, UsageError

    session = Session(options)
    if unmanaged and planning.refresh == "none":
        raise UsageError(
            "--unmanaged lists what the API shows, and --refresh none reads nothing",
            hint="Leave one of the two out.",
        )
    if out is not None:
        planning.refuse_unread()
        writable(out, "--out")
    with closing(session):
        plan = session.plan(planning, destroy=destroy, unmanaged=unmanaged)
        plan = session.with_refusals(plan, planning)
        tell_errors(session.options, plan)
        publish_plan(session.options, plan)
        if plan.refusals:
            raise GuardError(plan.refusals)
    if out is not None:
        from reconciler.render.planfile import dump_plan

        write_private(out, dump_plan(plan))
    if plan.blocked:
        return 1
    return 2 if detailed_exitcode and not plan.is_empty else 0
