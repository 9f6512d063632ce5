"""`reconciler drift`: shows changes that others made to objects of the stack."""

from __future__ import annotations

import click

from reconciler.app.blame import with_blame
from reconciler.app.plans import PlanRequest, plan_stack
from reconciler.app.policies import with_live_policies
from reconciler.cli.options import (
    GlobalOptions,
    metrics_option,
    policy_options,
    report_options,
)
from reconciler.cli.reporting import publish, talk
from reconciler.cli.session import CommandSession


@click.command("drift")
@click.option("--unmanaged", is_flag=True, help="Also list objects that the stack does not manage.")
@click.option("--blame", is_flag=True, help="Look up in the audit log who made each change.")
@policy_options
@metrics_option
@report_options
def command(options: GlobalOptions, unmanaged: bool, blame: bool) -> int:
    """Show what changed at the API since the last apply.

    Changes of the manifests are not drift; they are only counted. Exit with 2 if there is drift,
    with 1 if a managed object could not be read, and with 11 if a policy over live objects fails.
    """
    with CommandSession(options) as session:
        request = PlanRequest(refresh="full", unmanaged=unmanaged)
        plan = with_live_policies(session, plan_stack(session, request, tolerant=True))
        if blame:
            plan = with_blame(session, plan)
    options.outcome.plan = plan
    publish(options, lambda to: to.drift(plan, unmanaged=unmanaged))
    unread = [change for change in plan.blocked if change.id]
    for sentence in dict.fromkeys(change.blocked for change in unread):
        talk(f"Error: {sentence}")
    # Above drift: an object that could not be read may have drifted too.
    if unread:
        return 1
    if plan.policies.refusing:
        return 11
    if plan.drift or plan.unmanaged:
        return 2
    return 0
