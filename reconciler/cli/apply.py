"""`reconciler apply`: carry out a plan, fresh or saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import GlobalOptions, PlanningOptions, global_options, planning_options

if TYPE_CHECKING:
    from reconciler.cli.session import Session
    from reconciler.model.change import Plan


@click.command("apply")
@click.argument("planfile", required=False, type=click.Path(path_type=Path))
@click.option("--yes", "-y", is_flag=True, help="Do not ask. For CI.")
@click.option("--check", is_flag=True, help="Run the checks that refer to what was changed, once it is applied.")
@planning_options
@global_options
def command(options: GlobalOptions, planning: PlanningOptions, planfile: Path | None, yes: bool, check: bool) -> int:
    """Make live state what the manifests say.

    Without PLANFILE a plan is made, shown, and asked about. With it, exactly that plan is carried out, unasked, or
    refused if what it was made from has moved.
    """
    from reconciler.cli.session import Session

    session = Session(options)
    planning.refuse_unread()
    try:
        if planfile:
            return _saved(session, planfile, planning, check=check)
        return _fresh(session, planning, yes=yes, check=check)
    finally:
        session.close()


def _fresh(session: Session, planning: PlanningOptions, *, yes: bool, check: bool) -> int:
    from reconciler.cli.applying import ask_or_refuse, carry_out, locked, show
    from reconciler.cli.reporting import tell_errors

    session.configured()
    with locked(session, "apply"):
        plan = session.plan(planning)
        tell_errors(session.options, plan)
        if plan.is_empty and not plan.blocked:
            return _nothing_to_do(session, plan, check=check)
        show(session, plan)
        session.check_guards(plan, planning)
        ask_or_refuse(yes=yes or plan.is_empty, what="plan")
        return carry_out(session, plan, command="apply", check=check)


def _saved(session: Session, planfile: Path, planning: PlanningOptions, *, check: bool) -> int:
    from hashlib import sha256

    from reconciler.cli.applying import carry_out, locked, show
    from reconciler.cli.origin import prove_organization
    from reconciler.cli.session import read_text
    from reconciler.errors import UsageError
    from reconciler.render.planfile import load_plan

    if planning.changes_the_plan:
        raise UsageError("a saved plan is carried out as it is", hint="Give --target and the like to `plan --out`.")
    text = read_text(planfile, "the plan")
    plan = load_plan(text)
    session.saved_variables = plan.variables
    session.plan_file_digest = sha256(text.encode()).hexdigest()
    if plan.rollback_of is not None:
        from reconciler.cli.rollback import apply_saved

        if check:
            raise UsageError("--check goes with the manifests, and a rollback does not read them")
        return apply_saved(session, plan, planning)
    session.configured()
    with locked(session, "apply"):
        session.check_still_valid(plan)
        if plan.is_empty and not plan.blocked:
            return _nothing_to_do(session, plan, check=check)
        session.bind_projects_of(plan)
        show(session, plan)
        session.check_guards(plan, planning)
        prove_organization(session, plan)
        return carry_out(session, plan, command="apply", check=check)


def _nothing_to_do(session: Session, plan: Plan, *, check: bool) -> int:
    from msgspec.structs import replace

    from reconciler.cli.applying import carry_out
    from reconciler.cli.reporting import publish_plan, talk

    calls = session.client.calls
    code = carry_out(session, plan, command="apply")
    told = replace(plan, calls=plan.calls + session.client.calls - calls)
    publish_plan(session.options, told)
    if check:
        talk("No check was run, since nothing was changed; `reconciler check` runs them all.")
    return code
