"""`reconciler destroy`: deletes everything that the stack manages."""

from __future__ import annotations

import click
from msgspec.structs import replace

from reconciler.app.applying import locked
from reconciler.app.handover import refuse_while_waiting
from reconciler.app.plans import PlanRequest, plan_stack, require_credentials
from reconciler.app.policies import with_policies
from reconciler.cli.applying import review
from reconciler.cli.options import (
    GlobalOptions,
    lock_option,
    planning_options,
    policy_options,
    report_options,
)
from reconciler.cli.reporting import tell_errors
from reconciler.cli.session import CommandSession


@click.command("destroy")
@click.option("--yes", "-y", is_flag=True, help="Delete without asking, as CI does.")
@lock_option
@planning_options
@policy_options
@report_options
def command(options: GlobalOptions, request: PlanRequest, yes: bool) -> int:
    """Delete everything that the stack manages, dependents first.

    Retained objects, such as projects by default, stay and are no longer managed. Refuses to delete
    protected objects.
    """
    with CommandSession(options) as session:
        request.refuse_offline()
        require_credentials(session)
        with locked(session, "destroy"):
            # Until the handover ends, Terraform would create imported objects again.
            refuse_while_waiting(session.store)
            plan = with_policies(session, plan_stack(session, replace(request, destroy=True)))
            session.options.outcome.plan = plan
            tell_errors(session.options, plan)
            return review(session, plan, request, yes=yes, action="destruction", command="destroy")
