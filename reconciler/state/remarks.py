"""Remarks: named texts beside the records, such as the digest of the last applied configuration."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping

from reconciler.state.database import Transactions

PROGRAM = "program"
"""The version of this program that made the file. Every later version keeps it: see `schema`."""

_FORMER_OWNERS = "former owners"
_MOVED_TO = "moved to"


class Remarks:
    """The remarks of a state. Methods raise StateError."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def get(self, name: str) -> str | None:
        """The text of a remark; None if there is none."""
        with self._database.read() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, name: str, text: str) -> None:
        """Set a remark. The name `program` is taken."""
        with self._database.write() as connection:
            put(connection, name, text)

    def drop(self, name: str) -> None:
        """Remove a remark; one that does not exist is no error."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM meta WHERE name = ?", (name,))

    def former_owners(self) -> Collection[str]:
        """The stacks, as `stack/environment`, whose exports were imported into this state."""
        return tuple(json.loads(self.get(_FORMER_OWNERS) or "[]"))

    @property
    def moved_to(self) -> str:
        """The address that this state was moved to; empty if it was not."""
        return self.get(_MOVED_TO) or ""

    def mark_moved(self, target: str) -> None:
        """Record that another backend has this state now, so that no run continues with this one."""
        self.put(_MOVED_TO, target)


def read_all(connection: sqlite3.Connection) -> dict[str, str]:
    """All remarks by name."""
    rows = connection.execute("SELECT name, value FROM meta")
    return {str(name): str(text) for name, text in rows}


def put(connection: sqlite3.Connection, name: str, text: str) -> None:
    """Set a remark, inside a transaction of the caller."""
    connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, text))


def replace_all(connection: sqlite3.Connection, remarks: Mapping[str, str]) -> None:
    """Replace all remarks but the version of the program, inside a transaction of the caller."""
    connection.execute("DELETE FROM meta WHERE name <> ?", (PROGRAM,))
    connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", remarks.items())


def put_former_owners(connection: sqlite3.Connection, owners: Collection[str]) -> None:
    """Record whose exports were imported, inside a transaction of the caller."""
    put(connection, _FORMER_OWNERS, json.dumps(list(owners)))


def unmark_moved(connection: sqlite3.Connection) -> None:
    """Remove the mark of a moved state, inside a transaction of the caller."""
    connection.execute("DELETE FROM meta WHERE name = ?", (_MOVED_TO,))
