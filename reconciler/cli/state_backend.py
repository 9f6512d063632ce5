"""`reconciler state migrate`, `check` and `rekey`: the backend and the encryption of a state."""

from __future__ import annotations

import os

import click

from reconciler.cli.options import GlobalOptions, global_options, lock_option
from reconciler.cli.redaction import redactor
from reconciler.cli.session import CommandSession
from reconciler.errors import UsageError
from reconciler.render.escape import terminal
from reconciler.render.values import count


@click.command("migrate")
@click.option("--to", "target", metavar="ADDRESS", help="Address of the new backend.")
@click.option("--print-sql", is_flag=True, help="Print the SQL that prepares a Postgres database.")
@lock_option
@global_options
def migrate(options: GlobalOptions, target: str | None, print_sql: bool) -> int:
    """Move the state to another backend, with its journal and history."""
    from reconciler.app import state_admin
    from reconciler.state.address import parse_address, secret_parts

    if print_sql:
        from reconciler.state.remote.postgres.storage import sql_for

        click.echo(sql_for(target or options.backend or os.environ.get("RECONCILER_BACKEND", "")))
        return 0
    if not target:
        raise UsageError("Say where the state moves to: --to ADDRESS.")
    # The address of the target is no option of the session, which would register its password.
    for secret in secret_parts(target):
        redactor.add(secret)
    session = CommandSession(options)
    address = parse_address(target)
    state_admin.migrate(session, address)
    _print(f"The state is at {address.shown} now. Set RECONCILER_BACKEND to that address wherever")
    _print("reconciler runs on this stack; runs that use the old one are refused.")
    return 0


@click.command("check")
@global_options
def check(options: GlobalOptions) -> int:
    """Prove that the backend locks, and that the state is whole."""
    import json

    from msgspec import to_builtins

    from reconciler.app import state_admin

    session = CommandSession(options)
    findings = []
    for finding in state_admin.check(session):
        findings.append(finding)
        if options.format != "json":
            # At once, since the check of a remote backend takes a while.
            line = "ok   " if finding.holds else "FAIL "
            line += finding.claim
            if finding.detail:
                line += f": {finding.detail}"
            _print(line)
    if options.format == "json":
        _print(json.dumps([to_builtins(finding) for finding in findings], indent=2))
    return int(not all(finding.holds for finding in findings))


@click.command("rekey")
@lock_option
@global_options
def rekey(options: GlobalOptions) -> int:
    """Encrypt the state again, for the recipients of the stack."""
    from reconciler.app import state_admin

    session = CommandSession(options)
    state_admin.rekey(session)
    if session.stack.recipients:
        recipients = count(len(session.stack.recipients), "recipient")
        _print(f"The state is encrypted for {recipients}.")
    else:
        _print("The state is stored unencrypted, since the stack declares no `encryption`.")
    return 0


def _print(text: str) -> None:
    for line in text.splitlines():
        click.echo(terminal(redactor(line)))
