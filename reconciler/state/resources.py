"""Records in tables: which object each address is bound to. Every function works inside the
caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.kind import OnRemove
from reconciler.model.resource import Record
from reconciler.model.values import Spec
from reconciler.state.rows import all_from_json, from_json, plain, readable, to_json

_COLUMNS = (
    "address, id, project_id, applied, answered, overwritten, delivered, prevent_destroy, "
    "on_remove, deposed, marked_later"
)

_ROWS_AT_ONCE = 500


def put(connection: sqlite3.Connection, record: Record) -> None:
    """Insert or replace. An equal record changes nothing."""
    row = _to_row(record)
    dependencies = [(row[0], at, str(target)) for at, target in enumerate(record.depends_on)]
    known = _row_of(connection, row[0])
    # The serial must not grow: saved plans name it, and would go stale.
    if known == row and _dependencies_of(connection, row[0]) == dependencies:
        return
    places = ", ".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO resources ({_COLUMNS}) VALUES ({places})", row)  # noqa: S608
    if known is not None:
        connection.execute("DELETE FROM dependencies WHERE address = ?", row[:1])
    if dependencies:
        connection.executemany("INSERT INTO dependencies VALUES (?, ?, ?)", dependencies)
    # Never deleted. A mark can be copied with its object; only the ids that the address ever had
    # tell a copy from an object of ours.
    connection.execute("INSERT OR IGNORE INTO held VALUES (?, ?)", row[:2])
    grow(connection)


def remove(connection: sqlite3.Connection, address: Address) -> None:
    """Drop a record; a missing one is no error."""
    connection.execute("DELETE FROM dependencies WHERE address = ?", (str(address),))
    if connection.execute("DELETE FROM resources WHERE address = ?", (str(address),)).rowcount:
        grow(connection)


def move(connection: sqlite3.Connection, source: Address, target: Address) -> None:
    """Move a record to another address, in its dependents and the journal too.

    Raises StateError.
    """
    names = (str(target), str(source))
    if _row_of(connection, str(source)) is None:
        raise StateError(f"{source} is not in the state, so it cannot be moved")
    if _row_of(connection, str(target)) is not None:
        raise StateError(
            f"{target} is already in the state",
            hint=f"remove it first: reconciler state rm {target}",
        )
    connection.execute("UPDATE resources SET address = ? WHERE address = ?", names)
    connection.execute("UPDATE dependencies SET address = ? WHERE address = ?", names)
    connection.execute("UPDATE dependencies SET target = ? WHERE target = ?", names)
    # Unfinished work moves along, or the next run would look for it under an address that is gone.
    connection.execute("UPDATE journal SET address = ? WHERE address = ?", names)
    connection.execute(
        "INSERT OR IGNORE INTO held SELECT ?, id FROM resources WHERE address = ?",
        (names[0], names[0]),
    )
    grow(connection)


def held_ids(connection: sqlite3.Connection, address: Address) -> frozenset[str]:
    """Every id that an address was ever bound to."""
    return frozenset(
        id for (id,) in connection.execute("SELECT id FROM held WHERE address = ?", (str(address),))
    )


def holders(connection: sqlite3.Connection, kind: str, id: str) -> set[Address]:
    """Every address of a kind that was ever bound to an id."""
    rows = connection.execute(
        "SELECT address FROM held WHERE id = ? AND address LIKE ? || '/%'", (id, kind)
    )
    with readable():
        return {Address.parse(address) for (address,) in rows}


def clear(connection: sqlite3.Connection) -> None:
    """Drop all records. The caller sets the serial."""
    connection.execute("DELETE FROM resources")
    connection.execute("DELETE FROM dependencies")


def read_all(connection: sqlite3.Connection) -> dict[Address, Record]:
    """Every record, in address order."""
    dependencies: dict[str, list[Address]] = {}
    targets = connection.execute(
        "SELECT address, target FROM dependencies ORDER BY address, position"
    )
    rows = connection.execute(f"SELECT {_COLUMNS} FROM resources")  # noqa: S608 - constant columns
    records: list[Record] = []
    with readable():
        for address, target in targets:
            dependencies.setdefault(address, []).append(Address.parse(target))
        # The specs of many rows decode in a fraction of the time as one JSON text. All rows at once
        # would need the memory twice.
        while batch := rows.fetchmany(_ROWS_AT_ONCE):
            specs = all_from_json([row[3] for row in batch])
            for row, applied in zip(batch, specs, strict=True):
                depends_on = tuple(dependencies.get(row[0], ()))
                records.append(_from_row(row, applied, depends_on))
    # SQLite would sort by the text of addresses, in which the kind precedes the project.
    records.sort(key=lambda record: record.address.sort_key)
    return {record.address: record for record in records}


def serial(connection: sqlite3.Connection) -> int:
    """How many changes of resources have been committed."""
    return int(connection.execute("SELECT serial FROM identity").fetchone()[0])


def set_serial(connection: sqlite3.Connection, serial: int) -> None:
    """Set the serial, for an import. It must be higher than any serial before."""
    connection.execute("UPDATE identity SET serial = ?", (serial,))


def grow(connection: sqlite3.Connection) -> None:
    """Count a change of resources."""
    connection.execute("UPDATE identity SET serial = serial + 1")


def put_outputs(connection: sqlite3.Connection, outputs: Mapping[str, Any]) -> None:
    """Replace all outputs."""
    connection.execute("DELETE FROM outputs")
    rows = [(plain(name), to_json(value)) for name, value in outputs.items()]
    connection.executemany("INSERT INTO outputs (name, value) VALUES (?, ?)", rows)


def read_outputs(connection: sqlite3.Connection) -> dict[str, Any]:
    """All outputs, in the order they were set."""
    rows = connection.execute("SELECT name, value FROM outputs ORDER BY position")
    return {name: from_json(value) for name, value in rows}


def _row_of(connection: sqlite3.Connection, address: str) -> tuple[Any, ...] | None:
    query = f"SELECT {_COLUMNS} FROM resources WHERE address = ?"  # noqa: S608 - constant columns
    row: tuple[Any, ...] | None = connection.execute(query, (address,)).fetchone()
    return row


def _dependencies_of(connection: sqlite3.Connection, address: str) -> list[tuple[Any, ...]]:
    query = "SELECT address, position, target FROM dependencies WHERE address = ? ORDER BY position"
    return connection.execute(query, (address,)).fetchall()


def _to_row(record: Record) -> tuple[Any, ...]:
    return (
        str(record.address),
        plain(record.id),
        None if record.project_id is None else plain(record.project_id),
        to_json(record.applied),
        to_json(record.answered),
        to_json(record.overwritten),
        to_json(record.delivered),
        int(record.prevent_destroy),
        None if record.on_remove is None else str(record.on_remove),
        to_json(record.deposed),
        int(record.marked_later),
    )


def _from_row(row: tuple[Any, ...], applied: Spec, depends_on: tuple[Address, ...]) -> Record:
    (
        address,
        id,
        project_id,
        _,
        answered,
        overwritten,
        delivered,
        prevent_destroy,
        on_remove,
        deposed,
        marked_later,
    ) = row
    return Record(
        address=Address.parse(address),
        id=id,
        project_id=project_id,
        applied=applied,
        answered=from_json(answered),
        overwritten=from_json(overwritten),
        delivered=from_json(delivered),
        prevent_destroy=bool(prevent_destroy),
        on_remove=None if on_remove is None else OnRemove(on_remove),
        depends_on=depends_on,
        deposed=tuple(from_json(deposed)),
        marked_later=bool(marked_later),
    )
