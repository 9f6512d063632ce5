"""`reconciler destroy`: delete everything that the stack manages."""

from __future__ import annotations

import click

from reconciler.cli.options import GlobalOptions, PlanningOptions, global_options, planning_options


@click.command("destroy")
@click.option("--yes", "-y", is_flag=True, help="Do not ask. For CI.")
@planning_options
@global_options
def command(options: GlobalOptions, planning: PlanningOptions, yes: bool) -> int:
    """Delete everything managed, dependents first.

    Objects to be retained (projects, by default) are only forgotten; protected ones are refused.
    """
    from reconciler.cli.applying import ask_or_refuse, carry_out, locked, show
    from reconciler.cli.reporting import publish_plan, tell_errors
    from reconciler.cli.session import Session

    session = Session(options)
    planning.refuse_unread()
    session.configured()
    try:
        with locked(session, "destroy"):
            plan = session.plan(planning, destroy=True)
            tell_errors(session.options, plan)
            if plan.is_empty and not plan.blocked:
                publish_plan(session.options, plan)
                return 0
            show(session, plan)
            session.check_guards(plan, planning)
            ask_or_refuse(yes=yes or plan.is_empty, what="destruction")
            return carry_out(session, plan, command="destroy")
    finally:
        session.close()
