"""`reconciler rollback`: undoes the changes of a run, with an ordinary plan under the guards."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.app.applying import locked
from reconciler.app.encrypted_files import check_can_encrypt, encrypted
from reconciler.app.handover import refuse_while_waiting
from reconciler.app.plans import PlanRequest
from reconciler.app.rollback import (
    drop_lost_outputs,
    find_run,
    rollback_plan,
    use_recorded_resources,
)
from reconciler.app.saved_plans import bind_projects_of, check_still_valid, prove_organization
from reconciler.cli.applying import ask_or_refuse, carry_out, check_guards, refused, show
from reconciler.cli.options import GlobalOptions, lock_option, report_options
from reconciler.cli.reporting import publish_plan, talk, writable, write_private
from reconciler.cli.session import CommandSession
from reconciler.errors import GuardError
from reconciler.model.change import Plan
from reconciler.render.planfile import dump_plan
from reconciler.state.envelope import Content


@click.command("rollback")
@click.argument("run", type=int)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan for `apply FILE`."
)
@click.option("--yes", "-y", is_flag=True, help="Roll back without asking, as CI does.")
@click.option(
    "--target",
    multiple=True,
    metavar="ADDRESS",
    help="Roll back only this address and what it needs; repeatable.",
)
@click.option(
    "--allow-delete",
    multiple=True,
    metavar="ADDRESS",
    help="Allow the deletion of this address past the guards; repeatable.",
)
@lock_option
@report_options
def command(
    options: GlobalOptions,
    run: int,
    out: Path | None,
    yes: bool,
    target: tuple[str, ...],
    allow_delete: tuple[str, ...],
) -> int:
    """Undo the changes of a run, from the state alone.

    RUN is a number from `history`. Leaves alone the addresses that the run did not change.
    """
    request = PlanRequest(target=target, allow_delete=allow_delete)
    with CommandSession(options) as session:
        if out is not None:
            writable(out, "--out")
            check_can_encrypt(session)
            return _save(session, run, request, out)
        return _roll_back(session, run, request, yes=yes)


def apply_saved_rollback(session: CommandSession, plan: Plan, request: PlanRequest) -> int:
    """Apply a saved rollback. It needs no manifests, but the state that it was made from."""
    use_recorded_resources(session, digest=plan.config_digest)
    with locked(session, f"rollback {plan.rollback_of}"):
        refuse_while_waiting(session.store)
        session.options.outcome.plan = plan
        check_still_valid(session, plan)
        if plan.is_empty:
            return _settle(session, plan)
        bind_projects_of(session, plan)
        show(session, plan)
        check_guards(session, plan, request)
        prove_organization(session, plan)
        return _undo(session, plan)


def _save(session: CommandSession, run: int, request: PlanRequest, out: Path) -> int:
    plan = refused(session, rollback_plan(session, run, request), request)
    publish_plan(session.options, plan)
    if plan.refusals:
        raise GuardError(plan.refusals)
    write_private(out, encrypted(session, Content.PLAN, dump_plan(plan)))
    session.options.outcome.plan_path = str(out)
    return 0


def _roll_back(session: CommandSession, run: int, request: PlanRequest, *, yes: bool) -> int:
    # Before the lock, which would create a missing state.
    find_run(session.store, run)
    with locked(session, f"rollback {run}"):
        refuse_while_waiting(session.store)
        plan = rollback_plan(session, run, request)
        if plan.is_empty:
            return _settle(session, plan)
        show(session, plan)
        check_guards(session, plan, request)
        ask_or_refuse(yes=yes, action="rollback")
        return _undo(session, plan)


def _settle(session: CommandSession, plan: Plan) -> int:
    """Undo changes of the state alone, which need no call."""
    code = 0
    if plan.changes:
        code = carry_out(session, plan, command=f"rollback {plan.rollback_of}")
    publish_plan(session.options, plan)
    return code


def _undo(session: CommandSession, plan: Plan) -> int:
    drop_lost_outputs(session, plan)
    code = carry_out(session, plan, command=f"rollback {plan.rollback_of}")
    # The manifests still declare what was undone.
    if code in (0, 13):
        talk(
            f"Revert the manifests too, or the next apply brings back what run {plan.rollback_of} did."
        )
    return code
