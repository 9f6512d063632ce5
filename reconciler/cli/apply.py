"""`reconciler apply`: applies a new or a saved plan."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import replace

from reconciler.app.applying import locked
from reconciler.app.encrypted_files import decrypted
from reconciler.app.handover import refuse_while_waiting
from reconciler.app.plans import PlanRequest, plan_stack, require_credentials
from reconciler.app.policies import check_policies, with_policies
from reconciler.app.saved_plans import bind_projects_of, check_still_valid, prove_organization
from reconciler.cli.applying import ask_or_refuse, carry_out, check_guards, show
from reconciler.cli.approval import check_approved, digest_option
from reconciler.cli.options import (
    GlobalOptions,
    lock_option,
    metrics_option,
    planning_options,
    policy_options,
    report_options,
)
from reconciler.cli.reporting import publish_plan, talk, tell_errors
from reconciler.cli.rollback import apply_saved_rollback
from reconciler.cli.session import CommandSession, read_text
from reconciler.errors import UsageError
from reconciler.model.change import Plan
from reconciler.render.planfile import load_plan
from reconciler.state.envelope import Content


@click.command("apply")
@click.argument("planfile", required=False, type=click.Path(path_type=Path))
@click.option("--yes", "-y", is_flag=True, help="Apply without asking, as CI does.")
@click.option(
    "--approve",
    metavar="DIGEST",
    callback=digest_option,
    help="Apply without asking, but only the plan with this digest; exit with 10 otherwise.",
)
@click.option("--check", is_flag=True, help="Then run the checks that refer to a change.")
@lock_option
@planning_options
@policy_options
@metrics_option
@report_options
def command(
    options: GlobalOptions,
    request: PlanRequest,
    planfile: Path | None,
    yes: bool,
    approve: str | None,
    check: bool,
) -> int:
    """Create, update and delete objects as the manifests declare.

    Without PLANFILE, make a plan, show it and ask. With PLANFILE, apply exactly that plan without
    asking; refuse it if the manifests, the state or an object changed since it was made. With
    --approve, plan again and apply only what was reviewed.
    """
    with CommandSession(options) as session:
        # A plan from the state alone would overwrite changes that nobody has seen.
        request.refuse_offline()
        if planfile:
            return _apply_saved(session, planfile, request, approve=approve, check=check)
        return _apply_new(session, request, yes=yes, approve=approve, check=check)


def _apply_new(
    session: CommandSession, request: PlanRequest, *, yes: bool, approve: str | None, check: bool
) -> int:
    require_credentials(session)
    # Locked before planning, so that no other run writes between the plan and its apply.
    with locked(session, "apply"):
        # While Terraform manages the objects too, each would undo the changes of the other.
        refuse_while_waiting(session.store)
        plan = with_policies(session, plan_stack(session, request))
        session.options.outcome.plan = plan
        tell_errors(session.options, plan)
        # An approval of changes must not pass with a plan that has lost them.
        if plan.is_empty:
            check_approved(session, plan, approve)
        if plan.is_empty and not plan.blocked:
            check_guards(session, plan, request)
            return _nothing_to_do(session, plan, check=check)
        show(session, plan)
        check_approved(session, plan, approve)
        check_guards(session, plan, request)
        ask_or_refuse(yes=yes or approve is not None or plan.is_empty, action="plan")
        return carry_out(session, plan, command="apply", check=check)


def _apply_saved(
    session: CommandSession,
    planfile: Path,
    request: PlanRequest,
    *,
    approve: str | None,
    check: bool,
) -> int:
    if request.changes_the_plan:
        raise UsageError(
            "a saved plan cannot be changed",
            hint="Give --target and the like to `plan --out`.",
        )
    session.options.outcome.plan_path = str(planfile)
    text = read_text(planfile, "the plan")
    plan = load_plan(decrypted(session, Content.PLAN, text, name=str(planfile)))
    # Without the variables of the plan, its manifests would seem to have changed.
    session.use_saved_variables(plan.variables)
    session.applies_saved_plan = True
    check_approved(session, plan, approve)
    if plan.rollback_of is not None:
        if check:
            raise UsageError("--check needs the manifests, and a rollback does not read them")
        return apply_saved_rollback(session, plan, request)
    require_credentials(session)
    with locked(session, "apply"):
        refuse_while_waiting(session.store)
        session.options.outcome.plan = plan
        check_policies(session)
        check_still_valid(session, plan)
        plan = with_policies(session, plan)
        if plan.is_empty and not plan.blocked:
            check_guards(session, plan, request)
            return _nothing_to_do(session, plan, check=check)
        bind_projects_of(session, plan)
        show(session, plan)
        check_guards(session, plan, request)
        # A saved plan reads nothing first, so a key of another organization would go unnoticed.
        prove_organization(session, plan)
        return carry_out(session, plan, command="apply", check=check)


def _nothing_to_do(session: CommandSession, plan: Plan, *, check: bool) -> int:
    # An apply without changes still saves outputs and the refresh checkpoint, with calls of its own.
    calls = session.client.calls
    code = carry_out(session, plan, command="apply")
    plan = replace(plan, calls=plan.calls + session.client.calls - calls)
    publish_plan(session.options, plan)
    if check:
        talk("No check was run, because nothing changed; `reconciler check` runs all of them.")
    return code
