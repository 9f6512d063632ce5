"""Moves a state: as an export that people can read and edit, or as a whole copy.

An export carries records, outputs and some remarks: see `portable` for its format. A copy carries
everything except the lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import changes, identity, portable, remarks, resources
from reconciler.state.store import StateStore


def export_state(store: StateStore) -> dict[str, Any]:
    """Records and outputs as JSON values, with a version. Raises StateError."""
    with store.database.read() as connection:
        return portable.to_data(
            stack=store.stack,
            environment=store.environment,
            serial=resources.serial(connection),
            identity=identity.read(connection),
            records=list(resources.read_all(connection).values()),
            outputs=resources.read_outputs(connection),
            remarks=_carried_remarks(connection),
        )


def import_state(
    store: StateStore,
    data: Mapping[str, Any],
    *,
    from_elsewhere: bool = False,
    force_older: bool = False,
) -> Sequence[Address]:
    """Replace all records and outputs by those of an export. Returns the addresses it forgets.

    Raises StateError, and then nothing has changed: unless `from_elsewhere` for the export of
    another stack, environment, lineage, server or organization; unless `force_older` for one
    with a lower serial. The serial grows past both.
    """
    records, outputs = portable.from_data(data)
    theirs = portable.origin_of(data)
    owners = {*store.remarks.former_owners(), theirs.name} - {f"{store.stack}/{store.environment}"}
    with store.database.write() as connection:
        own = portable.ExportOrigin(
            store.stack,
            store.environment,
            resources.serial(connection),
            identity.read(connection),
        )
        forgotten = _forgotten_by(records, resources.read_all(connection))
        if not from_elsewhere:
            portable.check_is_ours(theirs, own)
        if not force_older:
            portable.check_is_newer(theirs, own, forgotten)
        resources.clear(connection)
        for record in records:
            resources.put(connection, record)
        resources.put_outputs(connection, outputs)
        # Exports before version 4 carry no remarks, so those of this state stay. All others go:
        # a checkpoint of a refresh, for example, was made with other records.
        kept = data.get("remarks", _carried_remarks(connection))
        remarks.replace_all(connection, kept)
        if owners:
            remarks.put_former_owners(connection, sorted(owners))
        # Past both, so that no plan made with either of the two states passes for a current one.
        resources.set_serial(connection, max(own.serial, theirs.serial) + 1)
        identity.write(connection, portable.merged_identity(theirs, own))
    return forgotten


def copy_state(source: StateStore, target: StateStore) -> None:
    """Make `target` a copy of `source`, with journal and history. The caller holds both locks.

    Raises StateError if `target` has content, unless both are equal, or `target` was moved away and
    `source` continues it.
    """
    is_related = target.identity.lineage == source.identity.lineage
    # An earlier attempt can have died after the copy, which is one transaction.
    may_replace = is_related and (bool(target.remarks.moved_to) or target.serial == source.serial)
    has_content = target.records() or target.runs.unfinished() or target.runs.all()
    if has_content and not may_replace:
        raise StateError(
            f"there is a state of {target.stack}/{target.environment} already",
            hint="Use another prefix or database, or remove that state first.",
        )
    with source.database.read() as connection:
        content = changes.everything(connection)
    with target.database.write() as connection:
        changes.clear(connection)
        changes.replay(connection, content)
        # The source may have been moved to another place once, and be moved back now.
        remarks.unmark_moved(connection)


def _carried_remarks(connection: sqlite3.Connection) -> dict[str, str]:
    known = remarks.read_all(connection)
    return {name: known[name] for name in portable.REMARKS if name in known}


def _forgotten_by(
    imported: Sequence[Record], present: Mapping[Address, Record]
) -> Sequence[Address]:
    """The addresses whose objects no imported record is bound to."""
    ids = {record.address: record.id for record in imported}
    return [address for address, record in present.items() if ids.get(address) != record.id]
