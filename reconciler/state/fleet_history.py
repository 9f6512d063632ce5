"""The storage of the history of a fleet: a small document for each stack, beside the states.

The document is opaque here. It holds no value of a manifest and no secret, so it is not encrypted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

from reconciler.errors import StateError
from reconciler.state.database import BUSY_SECONDS, translated

FILE = "fleet.db"
"""The file of a local history, in the folder of the fleet's state."""

_CREATE = """
CREATE TABLE IF NOT EXISTS histories (
    stack TEXT NOT NULL,
    environment TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (stack, environment)
) WITHOUT ROWID
"""
_READ = "SELECT body FROM histories WHERE stack = ? AND environment = ?"
_WRITE = "INSERT OR REPLACE INTO histories (stack, environment, body) VALUES (?, ?, ?)"
_READ_ALL = "SELECT body FROM histories ORDER BY stack, environment"

Change = Callable[[bytes | None], bytes]
"""Makes the new document of a stack from the present one, which is None for a new stack."""


class HistoryStorage(Protocol):
    """The documents of all stacks. Methods raise StateError."""

    @property
    def address(self) -> str:
        """The storage, for messages: without credentials."""

    def update(self, stack: str, environment: str, change: Change) -> None:
        """Change the document of a stack. `change` may be called again if another run was faster."""

    def read_all(self) -> Iterator[bytes]:
        """The documents of all stacks."""

    def close(self) -> None:
        """Close connections; safe to call twice."""


class LocalHistory:
    """A SQLite file. Implements `HistoryStorage`."""

    def __init__(self, folder: Path) -> None:
        """Nothing is opened or created yet."""
        self._file = folder / FILE

    @property
    def address(self) -> str:
        """The path of the file."""
        return str(self._file)

    def update(self, stack: str, environment: str, change: Change) -> None:
        """Change a document in one transaction."""
        with translated(self.address):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection:
                connection.execute(_CREATE)
                # The lock before the read: two runs that read the same document and write one after
                # the other would lose the change of the first.
                connection.execute("BEGIN IMMEDIATE")
                row = connection.execute(_READ, (stack, environment)).fetchone()
                body = change(None if row is None else row[0])
                connection.execute(_WRITE, (stack, environment, body))
                connection.execute("COMMIT")

    def read_all(self) -> Iterator[bytes]:
        """All documents; none if there is no file."""
        if not self._file.is_file():
            return
        with translated(self.address), closing(self._connect()) as connection:
            rows = []
            # A run that was killed before its first write leaves a file without the table.
            with suppress(sqlite3.OperationalError):
                rows = connection.execute(_READ_ALL).fetchall()
        for (body,) in rows:
            yield body

    def close(self) -> None:
        """Do nothing: each operation closes its connection."""

    def _connect(self) -> sqlite3.Connection:
        # A pull request may contain a link to another file.
        if self._file.is_symlink():
            raise StateError(f"{self._file} is a symbolic link", hint="Remove the link.")
        return sqlite3.connect(self._file, timeout=BUSY_SECONDS, isolation_level=None)
