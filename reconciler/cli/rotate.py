"""`reconciler rotate`: rotates keys that are due, or named keys at once after a leak."""

from __future__ import annotations

import click

from reconciler.app.applying import locked
from reconciler.app.handover import refuse_while_waiting
from reconciler.app.plans import require_credentials
from reconciler.app.rotation import plan_rotation, rotation_request
from reconciler.cli.applying import review
from reconciler.cli.options import GlobalOptions, global_options, lock_option
from reconciler.cli.reporting import tell_errors
from reconciler.cli.session import CommandSession
from reconciler.errors import UsageError


@click.command("rotate")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option(
    "--now",
    is_flag=True,
    help="Rotate the keys of ADDRESS regardless of age, and revoke earlier keys at once.",
)
@click.option(
    "--keep-old",
    is_flag=True,
    help="With --now: keep earlier keys until their overlap ends.",
)
@click.option("--yes", "-y", is_flag=True, help="Rotate without asking, as CI does.")
@lock_option
@global_options
def command(
    options: GlobalOptions, addresses: tuple[str, ...], now: bool, keep_old: bool, yes: bool
) -> int:
    """Rotate keys that are due, and nothing else.

    Without ADDRESS, look at every key of the stack. After a leak, use --now, which delivers a
    new key and then revokes the old one, even if it is in use.
    """
    # Without addresses, every key would be revoked at once, which would break its readers.
    if now and not addresses:
        raise UsageError("--now rotates only what you name", hint="Name the addresses of the keys.")
    if keep_old and not now:
        raise UsageError("--keep-old changes what --now does", hint="Pass --now too.")
    with CommandSession(options) as session:
        request = rotation_request(session, addresses, now=now, keep_old=keep_old)
        require_credentials(session)
        with locked(session, "rotate"):
            refuse_while_waiting(session.store)
            plan = plan_rotation(session, request)
            tell_errors(session.options, plan)
            return review(session, plan, request, yes=yes, action="rotation", command="rotate")
