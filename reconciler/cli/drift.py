"""`reconciler drift`: what somebody changed by hand. For CI, at night."""

from __future__ import annotations

from contextlib import closing

import click

from reconciler.cli.options import GlobalOptions, PlanningOptions, global_options


@click.command("drift")
@click.option("--unmanaged", is_flag=True, help="Also report objects that neither manifests nor state know.")
@click.option("--blame", is_flag=True, help="Ask the audit log who did it.")
@global_options
def command(options: GlobalOptions, unmanaged: bool, blame: bool) -> int:
    """Show what moved at the API since the last apply, field by field.

    Changes of the manifests are not drift and are only counted. Exits with 2 when there is drift, and with 1 when
    a managed object could not be read.
    """
    from reconciler.cli.reporting import publish, talk
    from reconciler.cli.session import Session

    session = Session(options)
    with closing(session):
        plan = session.plan(PlanningOptions(refresh="full"), unmanaged=unmanaged, tolerant=True)
        plan = session.with_blame(plan) if blame else plan
    publish(session.options, lambda to: to.drift(plan, unmanaged=unmanaged))
    unread = [change for change in plan.blocked if change.id]
    for sentence in dict.fromkeys(change.blocked for change in unread):
        talk(f"Error: {sentence}")
    if unread:
        return 1  # what could not be read may have drifted
    return 2 if plan.drift or plan.unmanaged else 0
