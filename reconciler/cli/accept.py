"""`reconciler accept`: writes manual changes at the API into the manifests."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import click

from reconciler.app.accept import Acceptance, prepare, write
from reconciler.cli.applying import ask_or_refuse
from reconciler.cli.options import GlobalOptions, global_options, lock_option
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import talk
from reconciler.cli.session import CommandSession
from reconciler.errors import UsageError
from reconciler.manifests.accepting import Refused
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
            talk(f"Not accepted: {_label(refused)}: {refused.reason}.")
        exit_code = int(bool(acceptance.refused))
        if not acceptance.fields:
            click.echo("Nothing was written." if acceptance.refused else "Nothing to accept.")
            return exit_code
        # The difference is on the screen now, so the answer is about exactly these lines.
        ask_or_refuse(yes=yes, action="change of the manifests")
        write(session, acceptance)
    fields = count(sum(map(len, acceptance.fields.values())), "field")
    objects = count(len(acceptance.fields), "object")
    files = count(len(acceptance.files), "file")
    click.echo(f"Accepted {fields} of {objects} in {files}.")
    return exit_code


def _label(refused: Refused) -> str:
    """The address, the field and the source location of a value that cannot be written."""
    label = str(refused.address)
    if refused.path:
        label += f": {refused.path}"
    if refused.place:
        label += f" ({refused.place})"
    return label


def _difference(acceptance: Acceptance) -> Iterator[str]:
    for change in acceptance.files:
        yield from difflib.unified_diff(
            change.before.splitlines(),
            change.after.splitlines(),
            fromfile=change.name,
            tofile=change.name,
            lineterm="",
        )
