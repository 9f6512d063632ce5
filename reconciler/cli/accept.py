"""`reconciler accept`: what somebody changed by hand becomes code."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import click

from reconciler.app.accept import Acceptance, prepare, write
from reconciler.cli.applying import ask_or_refuse
from reconciler.cli.options import GlobalOptions, global_options, lock_option
from reconciler.cli.reporting import talk
from reconciler.cli.session import CommandSession
from reconciler.cli.streams import redactor
from reconciler.errors import UsageError
from reconciler.render.escape import terminal
from reconciler.render.values import count


@click.command("accept")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option("--all", "everything", is_flag=True, help="Accept every change that can be accepted.")
@click.option("--yes", is_flag=True, help="Write without asking.")
@lock_option
@global_options
def command(options: GlobalOptions, addresses: tuple[str, ...], everything: bool, yes: bool) -> int:
    """Write changes made by hand into the manifests.

    Writes each live value where the field is set: in the document, in an entry of for_each, in a
    variable of the stack file, or in a file that an expression names. Leaves the rest of the files
    unchanged. Shows the difference and asks before it writes. Changes nothing at the API.
    """
    if everything == bool(addresses):
        raise UsageError("name the addresses to accept, or --all", hint="See `reconciler drift`.")
    with CommandSession(options) as session:
        acceptance = prepare(session, addresses, everything=everything)
        for line in _difference(acceptance):
            click.echo(redactor(terminal(line)))
        for refused in acceptance.refused:
            name = f"{refused.address}: {refused.path}" if refused.path else str(refused.address)
            where = f" ({refused.place})" if refused.place else ""
            talk(f"Not accepted: {name}{where}: {refused.reason}.")
        if not acceptance.fields:
            click.echo("Nothing was written." if acceptance.refused else "Nothing to accept.")
            return 1 if acceptance.refused else 0
        ask_or_refuse(yes=yes, what="change of the manifests")
        write(session, acceptance)
    fields = sum(map(len, acceptance.fields.values()))
    objects = count(len(acceptance.fields), "object")
    click.echo(f"Accepted {count(fields, 'field')} of {objects} in {_files(acceptance)}.")
    return 1 if acceptance.refused else 0


def _files(acceptance: Acceptance) -> str:
    return count(len(acceptance.files), "file")


def _difference(acceptance: Acceptance) -> Iterator[str]:
    for change in acceptance.files:
        yield from difflib.unified_diff(
            change.before.splitlines(),
            change.after.splitlines(),
            fromfile=change.name,
            tofile=change.name,
            lineterm="",
        )
