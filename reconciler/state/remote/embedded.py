"""A log in an SQLite file: the storage of a local state that is encrypted.

A local state without encryption is an SQLite file whose tables can be read. An encrypted one has the log of a shared
state, because a log can be encrypted piece by piece. It is used on one machine, so its clock is that of the machine.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from reconciler.errors import StateError
from reconciler.state.database import Database, translated
from reconciler.state.files import open_private
from reconciler.state.remote.storage import FencedError, StorageFinding, StoredBody, Tail

_APPLICATION_ID = 0x52434E4C
_TABLES = (
    "CREATE TABLE IF NOT EXISTS segments (number INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS snapshots (number INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS lease (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        epoch INTEGER NOT NULL,
        renewals INTEGER NOT NULL,
        signed_at REAL
    )""",
    "INSERT OR IGNORE INTO lease VALUES (1, 0, 0, NULL)",
)


class EmbeddedStorage:
    """A `LogStorage` in a file. Until something is written, an absent file is an empty log."""

    clock_error = 0.0

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._path = path
        self._database: Database | None = None

    def prepare(self) -> None:
        """Create the file and its tables."""
        self._opened()

    def snapshot(self) -> StoredBody | None:
        """The newest snapshot."""
        rows = self._rows("SELECT number, body FROM snapshots ORDER BY number DESC LIMIT 1")
        return StoredBody(*rows[0]) if rows else None

    def tail(self, after: int) -> Tail:
        """The segments above a number."""
        database = self._present()
        if database is None:
            return Tail()
        with database.read() as connection:
            # One transaction, so that the segments and the sign of life belong to the same moment.
            connection.execute("BEGIN")
            try:
                segments = connection.execute(
                    "SELECT number, body FROM segments WHERE number > ? ORDER BY number", (after,)
                ).fetchall()
                signed_at, renewals = connection.execute(
                    "SELECT signed_at, renewals FROM lease"
                ).fetchone()
            finally:
                connection.execute("COMMIT")
        return Tail([StoredBody(*row) for row in segments], signed_at, renewals)

    def now(self) -> float:
        """The machine's time."""
        return time.time()

    def claim(self, segment: StoredBody, *, epoch: int, seen: Tail) -> None:
        """Append a claim, unless the lease was renewed since."""
        with self._opened().write() as connection:
            self._insert(connection, segment)
            changed = connection.execute(
                "UPDATE lease SET epoch = ?, signed_at = ? WHERE renewals = ? AND epoch < ?",
                (epoch, time.time(), seen.renewals, epoch),
            )
            # The same claim is our own, whose answer was lost.
            if not changed.rowcount and not self._is_ours(connection, segment, epoch):
                raise FencedError(f"another run has claimed the lease of {self.address}")

    def append(self, segment: StoredBody, *, epoch: int) -> None:
        """Append a segment under the lease of an epoch."""
        with self._opened().write() as connection:
            self._sign(connection, epoch)
            self._insert(connection, segment)

    def renew(self, *, epoch: int) -> bool:
        """Renew the lease of an epoch."""
        with self._opened().write() as connection:
            self._sign(connection, epoch)
            connection.execute("UPDATE lease SET renewals = renewals + 1")
        return True

    def put_snapshot(self, snapshot: StoredBody) -> None:
        """Store a snapshot."""
        with self._opened().write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?)", (snapshot.number, snapshot.body)
            )

    def trim(self, through: int, *, keep: Collection[int]) -> None:
        """Remove old segments and snapshots."""
        database = self._opened()
        kept = ", ".join(str(int(number)) for number in keep)
        with database.write() as connection:
            connection.execute(
                f"DELETE FROM segments WHERE number <= ? AND number NOT IN ({kept})",  # noqa: S608 - numbers
                (through,),
            )
            connection.execute("DELETE FROM snapshots WHERE number < ?", (through,))
        database.shrink()

    def probe(self) -> Iterator[StorageFinding]:
        """SQLite's transactions need no proof; the file must be writable."""
        with self._opened().write() as connection:
            connection.execute("UPDATE lease SET renewals = renewals")
        yield StorageFinding("The file can be written in a transaction", holds=True)

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()

    def _open(self) -> Database:
        with translated(self.address):
            connection = open_private(self._path)
        try:
            return self._prepared(connection)
        except BaseException:
            connection.close()
            raise

    def _prepared(self, connection: sqlite3.Connection) -> Database:
        """The database behind a connection, with its tables."""
        with translated(self.address):
            # The tables first: another process may be creating them right now, and it sets the
            # application id in the same transaction.
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
        if tables and application != _APPLICATION_ID:
            raise StateError(
                f"{self.address} is an SQLite database of another program",
                hint="Choose another folder for the state.",
            )
        database = Database(connection, self.address)
        if not tables:
            with database.write() as writing:
                for statement in _TABLES:
                    writing.execute(statement)
                writing.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        return database

    def _opened(self) -> Database:
        if self._database is None:
            self._database = self._open()
        return self._database

    def _present(self) -> Database | None:
        return self._opened() if self._database or self._path.exists() else None

    def _rows(self, query: str) -> list[tuple[int, bytes]]:
        database = self._present()
        if database is None:
            return []
        with database.read() as connection:
            return connection.execute(query).fetchall()

    def _sign(self, connection: sqlite3.Connection, epoch: int) -> None:
        changed = connection.execute(
            "UPDATE lease SET signed_at = ? WHERE epoch = ?", (time.time(), epoch)
        )
        if not changed.rowcount:
            raise FencedError(f"another run has claimed the lease of {self.address}")

    def _insert(self, connection: sqlite3.Connection, segment: StoredBody) -> None:
        row = connection.execute(
            "SELECT body FROM segments WHERE number = ?", (segment.number,)
        ).fetchone()
        # The same body is our own append, whose answer was lost.
        if row is not None and row[0] != segment.body:
            raise FencedError(f"another run has written segment {segment.number}")
        connection.execute(
            "INSERT OR IGNORE INTO segments VALUES (?, ?)", (segment.number, segment.body)
        )

    def _is_ours(self, connection: sqlite3.Connection, segment: StoredBody, epoch: int) -> bool:
        row = connection.execute(
            "SELECT 1 FROM segments, lease WHERE number = ? AND body = ? AND epoch = ?",
            (segment.number, segment.body, epoch),
        ).fetchone()
        return row is not None
