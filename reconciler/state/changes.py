"""Row changes: the changes of a transaction in the tables of the state, as values to send and replay.

Triggers record the key of each row that is inserted, updated or deleted. The values are read when the changes are
collected, so a row that was written ten times is sent once.

Replaying the changes of every segment in order gives the same tables. The order of rows within a table is the order of
their keys, except in tables whose key is a number that SQLite assigns, and there the number is part of the row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.errors import StateError

KEYS: Mapping[str, tuple[str, ...]] = {
    "identity": ("only_row",),
    "meta": ("name",),
    "resources": ("address",),
    "dependencies": ("address", "position"),
    "held": ("address", "id"),
    "outputs": ("position",),
    "journal": ("seq",),
    "runs": ("id",),
    "pre_images": ("seq",),
    "parsed": ("digest",),
}
"""The tables that are replicated, each with the columns of its key.

The table `lock` is left out: a shared state has a lease instead.
"""

Changes = dict[str, dict[str, list[Any]]]
"""For each table `put`, a list of rows with all columns, and `delete`, a list of keys.

Values are those of SQLite: text, numbers, bytes and None.
"""


_EVENTS: Mapping[str, tuple[str, ...]] = {
    "INSERT": ("NEW",),
    "UPDATE": ("OLD", "NEW"),
    "DELETE": ("OLD",),
}
"""Which rows of an event have a key to note. An update can change the key."""


class ChangeCapture:
    """Records which rows of a connection change. Start it after migrations."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._columns = {table: _columns(connection, table) for table in KEYS}
        # Temporary, like the triggers: both exist in this connection only, and no snapshot of the
        # database contains them.
        connection.execute("CREATE TEMP TABLE changed (at TEXT NOT NULL, key TEXT NOT NULL)")
        for table, key in KEYS.items():
            self._watch(table, key)

    def _watch(self, table: str, key: Sequence[str]) -> None:
        for event, rows in _EVENTS.items():
            inserts = " ".join(_note(table, key, row) for row in rows)
            self._connection.execute(
                f"CREATE TEMP TRIGGER {table}_{event.lower()} AFTER {event} ON main.{table} "
                f"BEGIN {inserts} END"
            )

    def collect(self) -> Changes:
        """Everything that changed since the last call, with the present values; forgets it.

        Call it outside of a transaction, while no other thread writes.
        """
        changes: Changes = {}
        # Distinct, because a row can have been written many times.
        keys = self._connection.execute("SELECT DISTINCT at, key FROM changed").fetchall()
        for table, key in keys:
            self._collect_row(changes.setdefault(table, {}), table, key)
        self._connection.execute("DELETE FROM changed")
        return changes

    def _collect_row(self, changes: dict[str, list[Any]], table: str, key: str) -> None:
        values = tuple(json.loads(key))
        row = self._connection.execute(
            f"SELECT {', '.join(self._columns[table])} FROM {table} WHERE {_condition(table)}",  # noqa: S608
            values,
        ).fetchone()
        # Written and deleted since. A replay only has to make sure that it does not exist.
        if row is None:
            changes.setdefault("delete", []).append(list(values))
        else:
            changes.setdefault("put", []).append(list(row))


def everything(connection: sqlite3.Connection) -> Changes:
    """All rows of all replicated tables, as changes that make them."""
    changes: Changes = {}
    for table in KEYS:
        rows = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - a table of KEYS
        changes[table] = {"put": list(map(list, rows))}
    return changes


def clear(connection: sqlite3.Connection) -> None:
    """Delete all rows of all replicated tables, inside a transaction of the caller."""
    for table in KEYS:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a table of KEYS


def replay(connection: sqlite3.Connection, changes: Changes) -> None:
    """Carry out collected changes, inside a transaction of the caller.

    Raises StateError for changes of tables or columns that this version does not have.
    """
    for table, parts in changes.items():
        # A newer version wrote the segment. Ignoring the table would lose part of the state.
        if table not in KEYS or not parts.keys() <= {"put", "delete"}:
            raise StateError(f'a segment changes "{table}", which this version does not know')
        width = len(_columns(connection, table))
        rows = parts.get("put", [])
        if any(len(row) != width for row in rows):
            raise StateError(f"a segment has rows of {table} with other columns than this version")
        # Deletes come first: a row that moved to another key can have the unique value of its old
        # row.
        connection.executemany(
            f"DELETE FROM {table} WHERE {_condition(table)}",  # noqa: S608 - a table of KEYS
            parts.get("delete", []),
        )
        places = ", ".join("?" * width)
        connection.executemany(
            f"INSERT OR REPLACE INTO {table} VALUES ({places})",  # noqa: S608 - a table of KEYS
            rows,
        )


def _note(table: str, key: Sequence[str], row: str) -> str:
    values = ", ".join(f"{row}.{column}" for column in key)
    return f"INSERT INTO changed VALUES ('{table}', json_array({values}));"  # noqa: S608 - a table of KEYS


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _condition(table: str) -> str:
    return " AND ".join(f"{column} = ?" for column in KEYS[table])
