"""One connection that the workers of a run share, with group commit.

A write returns once it is on disk, and a sync of the disk takes milliseconds whatever the size. So
a writer that waits for others joins their transaction, in a savepoint of its own, and the last one
in the queue commits for all: ten workers wait for one sync instead of ten.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

from reconciler.errors import StateError
from reconciler.state.rows import DAMAGED_HINT

BUSY_SECONDS = 30.0
"""How long to wait for another program that has the file open."""

_PATIENCE_SECONDS = 0.02
_PAGES_WORTH_SHRINKING = 256
"""A megabyte."""


class Transactions(Protocol):
    """The tables of a state, in a file or in a shared storage."""

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """The connection for one query, to be fetched whole within the block. Raises StateError."""

    def write(
        self, *, fenced: bool = True, durable: bool = False
    ) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction, undone when the block raises. Raises StateError.

        A `durable` write has reached the disk or the shared storage when the block has been left, and so has
        everything that was written before it. Other writes can be lost if the process is killed.
        """

    def shrink(self) -> None:
        """Free the space that deleted rows used."""

    def rewrite(self) -> None:
        """Store everything again in the current format and encryption."""

    def close(self) -> None:
        """Close it; safe to call twice."""


class _Batch:
    """The writes of one transaction. `ended` is set once it is on disk, or lost to `error`."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.error: sqlite3.Error | None = None

    def end(self, error: sqlite3.Error | None = None) -> None:
        self.error = error
        self.ended.set()


class Database:
    """An open file. `fence`, if set, runs first in every write, and raises if this run has lost the
    lock.
    """

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._guard = threading.Lock()
        self._batch: _Batch | None = None
        self._queued = 0
        self._queue_guard = threading.Lock()
        self.fence: Callable[[sqlite3.Connection], None] | None = None

    @contextmanager
    def write(self, *, fenced: bool = True, durable: bool = False) -> Iterator[sqlite3.Connection]:  # noqa: ARG002
        """All or nothing: on disk when the block has been left, undone when it raises. Raises
        StateError. Every write is durable here, so `durable` changes nothing.
        """
        with translated(self._name):
            with self._turn():
                batch = self._join()
                try:
                    with self._savepoint(batch):
                        if fenced and self.fence:
                            self.fence(self._connection)
                        yield self._connection
                finally:
                    # Others that wait for the connection join the batch. The last one commits.
                    if not self._queued:
                        self._commit(batch)
            # Outside of the turn, because the writer that commits for us needs the connection.
            self._await(batch)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection for one query, to be fetched whole within the block. Raises StateError."""
        with self._guard, translated(self._name):
            yield self._connection

    def shrink(self) -> None:
        """Free the space of deleted rows if it is a large part of the file."""
        # A large apply leaves the space of its journal, and every plan reads the whole file. VACUUM
        # fails while others have the file open or the disk is full; the next run tries again.
        with self._guard, suppress(sqlite3.OperationalError):
            if self._connection.in_transaction or self._batch is not None:
                return
            free, pages = (self._pragma(name) for name in ("freelist_count", "page_count"))
            if free > _PAGES_WORTH_SHRINKING and free * 3 > pages:
                self._connection.execute("VACUUM")

    def rewrite(self) -> None:
        """Do nothing: a file has one format, and is not encrypted."""

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with self._guard:
            self._connection.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._count(1)
        try:
            self._guard.acquire()
        finally:
            self._count(-1)
        try:
            yield
        finally:
            self._guard.release()

    def _count(self, change: int) -> None:
        with self._queue_guard:
            self._queued += change

    def _join(self) -> _Batch:
        # Ctrl-C can come between any two lines here: after a COMMIT whose batch was not ended, or
        # after a BEGIN without a batch.
        if self._batch is not None and not self._connection.in_transaction:
            self._end(self._batch)
        if self._batch is None:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            # IMMEDIATE takes the write lock at once. A deferred transaction would take it at its
            # first write, which SQLite can refuse without waiting.
            self._connection.execute("BEGIN IMMEDIATE")
            self._batch = _Batch()
        return self._batch

    @contextmanager
    def _savepoint(self, batch: _Batch) -> Iterator[None]:
        try:
            self._connection.execute("SAVEPOINT one_write")
            yield
            self._connection.execute("RELEASE one_write")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO one_write")
                self._connection.execute("RELEASE one_write")
            elif isinstance(error, sqlite3.Error):
                # SQLite rolls the whole transaction back for some errors, such as a full disk. The
                # writes of the others in the batch are lost with it, so they get the error too.
                self._end(batch, error)
            raise

    def _commit(self, batch: _Batch) -> None:
        if batch.ended.is_set():
            return
        try:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._end(batch, error)
        else:
            self._end(batch)

    def _end(self, batch: _Batch, error: sqlite3.Error | None = None) -> None:
        self._batch = None
        batch.end(error)

    def _await(self, batch: _Batch) -> None:
        # The last one in the queue commits for all. If it was interrupted there, we commit.
        while not batch.ended.wait(_PATIENCE_SECONDS):
            with self._guard:
                self._commit(batch)
        if batch.error is not None:
            raise batch.error


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into StateError, with a hint for the user."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(error, name) from error
    except OSError as error:
        raise StateError(f"the state {name} cannot be used: {error.strerror or error}") from error


def _explain(error: sqlite3.Error, name: str) -> StateError:
    # The low byte is the primary code; the rest refines it, as in SQLITE_BUSY_RECOVERY.
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StateError(
                f"the state {name} is damaged or not a state file: {error}", hint=DAMAGED_HINT
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StateError(
                f"the state {name} has been locked by another program for more than {BUSY_SECONDS:.0f} seconds",
                hint="close the program that has the file open, and run again",
            )
        case sqlite3.SQLITE_READONLY:
            return StateError(f"the state {name} cannot be written: it is read-only")
        case sqlite3.SQLITE_FULL:
            return StateError(
                f"the state {name} cannot be written: the disk is full",
                hint="free some space, and run again",
            )
    return StateError(f"the state {name} cannot be used: {error}")
