"""`reconciler state`: inspects the records of managed objects, and repairs them by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from reconciler.app.addresses import is_pattern, parse_addresses, renamed
from reconciler.app.applying import locked
from reconciler.app.encrypted_files import decrypted, encrypted
from reconciler.cli import state_backend
from reconciler.cli.command_group import WholeSummaries
from reconciler.cli.options import GlobalOptions, global_options, lock_option
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import talk
from reconciler.cli.session import CommandSession, read_text
from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.diagnostic import nearest
from reconciler.model.values import encode
from reconciler.render.escape import json_safe, terminal
from reconciler.render.values import count
from reconciler.state.envelope import Content


@click.group("state", cls=WholeSummaries)
def command() -> None:
    """List, show, move and remove records of the state."""


def _address(text: str) -> Address:
    return parse_addresses((text,), "ADDRESS")[0]


def _known(session: CommandSession, text: str) -> Address:
    """An address of the state. Raises UsageError for another one."""
    address, records = _address(text), session.store.records()
    if address not in records:
        hint = nearest(str(address), map(str, records))
        raise UsageError(f'the state knows no "{address}".{hint}')
    return address


def _print(text: str) -> None:
    """Print a line with ids and names, which come from the API and need escaping."""
    click.echo(terminal(redactor(text)))


def _print_json(value: Any) -> None:
    click.echo(_json(value))


def _json(value: Any, *, sort_keys: bool = False) -> str:
    return json_safe(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=sort_keys))


@command.command("list")
@global_options
def list_(options: GlobalOptions) -> int:
    """List every address and the id of its object."""
    session = CommandSession(options)
    records = sorted(session.store.records().values(), key=lambda record: record.address)
    if session.options.format == "json":
        _print_json([{"address": str(record.address), "id": record.id} for record in records])
        return 0
    if not records:
        click.echo("The state is empty.", err=True)
    width = max((len(str(record.address)) for record in records), default=0)
    for record in records:
        _print(f"{record.address!s:<{width}}  {record.id}")
    return 0


@command.command("show")
@click.argument("address")
@global_options
def show(options: GlobalOptions, address: str) -> int:
    """Show the record of ADDRESS as JSON."""
    session = CommandSession(options)
    record = session.store.records()[_known(session, address)]
    shown = {
        "address": str(record.address),
        "id": record.id,
        "project_id": record.project_id,
        "applied": encode(record.applied),
        "answered": encode(record.answered),
        "overwritten": encode(record.overwritten),
        "delivered": encode(record.delivered),
        "prevent_destroy": record.prevent_destroy,
        "on_remove": record.on_remove,
        "depends_on": list(map(str, record.depends_on)),
        "deposed": list(record.deposed),
    }
    _print_json(shown)
    return 0


@command.command("rm")
@click.argument("address")
@lock_option
@global_options
def rm(options: GlobalOptions, address: str) -> int:
    """Remove the record of ADDRESS; its object stays at the API."""
    session = CommandSession(options)
    target = _known(session, address)
    with locked(session, "state rm"):
        session.store.remove(target)
    click.echo(f"{target} is forgotten. Its object still exists.")
    if target.kind in KINDS and KINDS[target.kind].mark:
        click.echo(
            "It keeps our mark: while a manifest declares it a plan binds it again, else a plan deletes it."
        )
    return 0


@command.command("mv")
@click.argument("source", metavar="SOURCE|GLOB")
@click.argument("target")
@lock_option
@global_options
def mv(options: GlobalOptions, source: str, target: str) -> int:
    """Move the record of SOURCE to TARGET.

    Wildcards move several: `state mv 'File/a/*' 'File/b/*'`, or `state mv File/a/ File/b/`.
    """
    session = CommandSession(options)
    with locked(session, "state mv"):
        # Under the lock, since another run could bind a target meanwhile.
        moves = _moves(session, source, target)
        session.store.move_all(moves)
    for old, new in moves.items():
        _print(f"{old} is now {new}.")
    return 0


def _moves(session: CommandSession, source: str, target: str) -> dict[Address, Address]:
    """The moves that the arguments ask for. Raises UsageError unless all of them are possible."""
    records = session.store.records()
    if is_pattern(source) or is_pattern(target):
        try:
            moves = renamed(source, target, records)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if not moves:
            raise UsageError(f'the state knows no address that matches "{source}"')
    else:
        moves = {_known(session, source): _address(target)}
    for old, new in moves.items():
        if old.kind != new.kind:
            raise UsageError(f"{old} and {new} are of different kinds")
        _refuse_another_place(old, new)
        if new in records:
            raise UsageError(
                f"{new} is bound to an object already",
                hint=f"Forget it first: reconciler state rm {new}",
            )
    # A pattern can map several sources to one target, and all but one would lose their record.
    if len(set(moves.values())) < len(moves):
        raise UsageError(f'"{target}" would give several objects one address')
    return moves


def _refuse_another_place(old: Address, new: Address) -> None:
    """Raise UsageError if one address belongs to a project, and the other to the organization."""
    # An id such as `spend_limit` is another object there, and a deletion would hit the wrong one.
    kind = KINDS.get(old.kind)
    if kind and kind.scope.needs_admin_key and bool(old.project) != bool(new.project):
        raise UsageError(
            f"{old} and {new} are different objects: one belongs to a project, and the other to "
            "the organization",
            hint=f"Forget {old} with `reconciler state rm`, and declare {new}.",
        )


@command.command("export")
@click.option(
    "--decrypt",
    is_flag=True,
    help="Print the state in clear text even if the stack declares `encryption`.",
)
@global_options
def export(options: GlobalOptions, decrypt: bool) -> int:
    """Print the whole state as JSON.

    Encrypts it if the stack declares `encryption`.
    """
    from reconciler.state.transfer import export_state

    session = CommandSession(options)
    # The old copy of a state that was migrated can still be exported, for a comparison.
    session.state.accept_moved = True
    text = _json(export_state(session.store), sort_keys=True) + "\n"
    if not decrypt:
        text = encrypted(session, Content.STATE, text)
    click.echo(text, nl=False)
    return 0


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--from-elsewhere",
    is_flag=True,
    help="Accept an export of another stack, environment, server, organization or lineage.",
)
@click.option(
    "--force-older", is_flag=True, help="Accept an export with a lower serial than the state."
)
@lock_option
@global_options
def import_(options: GlobalOptions, file: Path, from_elsewhere: bool, force_older: bool) -> int:
    """Replace the state with an export; refuse an older one."""
    from reconciler.state.transfer import import_state

    session = CommandSession(options)
    text = decrypted(session, Content.STATE, read_text(file, "the state"), name=str(file))
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{file} is not JSON: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{file} is nested too deeply to be a state") from error
    with locked(session, "state import"):
        forgotten = import_state(
            session.store, data, from_elsewhere=from_elsewhere, force_older=force_older
        )
        imported = session.store.records()
    # An export of a newer version may hold kinds that this one lacks.
    unknown = sorted({address.kind for address in imported if address.kind not in KINDS})
    if unknown:
        talk(
            f"This version knows no {', '.join(unknown)}: such resources are kept in the state and left alone."
        )
    for address in forgotten:
        talk(f"{address} is forgotten. Its object still exists.")
    click.echo(f"{count(len(imported), 'resource')} imported.")
    return 0


@command.command("unlock")
@global_options
def unlock(options: GlobalOptions) -> int:
    """Release the lock of a run that has ended. Check first that it is no longer running."""
    session = CommandSession(options)
    if session.store.holder() is None:
        click.echo("No run holds the lock.")
        return 0
    _print(f"The lock of {session.writable().unlock()} is released.")
    return 0


for backend_command in (state_backend.migrate, state_backend.check, state_backend.rekey):
    command.add_command(backend_command)
