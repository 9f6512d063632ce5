"""A copy of a shared state in memory. The copy answers reads; writes are also appended to the log.

The copy is an SQLite database with the tables of the local state, so all other code works with both.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from reconciler.errors import ReconcilerError, StateError
from reconciler.state import schema
from reconciler.state.changes import ChangeCapture, Changes, replay
from reconciler.state.database import translated
from reconciler.state.file_lock import FileLock
from reconciler.state.remote.appender import Appender
from reconciler.state.remote.claims import LeaseClaims
from reconciler.state.remote.lease import Validity
from reconciler.state.remote.retry import FIRST_PATIENCE_SECONDS, with_retries
from reconciler.state.remote.segments import (
    MissingSegmentError,
    Segment,
    SegmentLog,
)
from reconciler.state.remote.storage import LogStorage


class Replica:
    """The database of one shared state. Opening it reads the whole state.

    Writes need the lease: see `hold`. `describe` gives the text for a holder in messages. If there is a `file_lock`,
    every holder has it.
    """

    def __init__(
        self,
        storage: LogStorage,
        log: SegmentLog,
        *,
        stack: str,
        environment: str,
        lease_seconds: float,
        describe: Callable[[Mapping[str, Any]], str],
        file_lock: FileLock | None = None,
    ) -> None:
        self._storage = storage
        self._log = log
        self._names = (stack, environment)
        self._claims = LeaseClaims(
            storage,
            log,
            self._catch_up,
            lease_seconds=lease_seconds,
            describe=describe,
            file_lock=file_lock,
        )
        self._guard = threading.RLock()
        self._connection = _memory()
        self._capture: ChangeCapture | None = None
        self._appender: Appender | None = None
        self._has_lost_writes = False
        self._is_closed = False
        with_retries(self._load, seconds=FIRST_PATIENCE_SECONDS)

    # --- the interface of a database ------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection for one query, to be fetched whole within the block. Raises StateError."""
        with self._guard, translated(self._storage.address):
            yield self._connection

    @contextmanager
    def write(self, *, fenced: bool = True, durable: bool = False) -> Iterator[sqlite3.Connection]:  # noqa: ARG002
        """All or nothing: undone when the block raises.

        A `durable` write is in the log when the block has been left, and so is everything that was written before it.
        Any other write may be lost if the process is killed. Raises LeaseLostError once another run may have taken
        over.
        """
        with self._guard, translated(self._storage.address):
            appender = self._appender
            if appender is None:
                raise StateError(f"the state {self._storage.address} is not locked by this run")
            appender.check()
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
            # Under the guard, so that numbers are in the order of the commits.
            number = appender.note(durable=durable)
        # Without the guard: the appender needs the connection to collect the changes.
        if durable:
            appender.wait(number)

    def shrink(self) -> None:
        """Free the space of deleted rows, so that the next snapshot is small."""
        with self._guard, suppress(sqlite3.OperationalError):
            self._connection.execute("VACUUM")

    def rewrite(self) -> None:
        """Write a new snapshot, and remove everything before it. The lease is held."""
        if self._appender is None:
            raise StateError(f"the state {self._storage.address} is not locked by this run")
        self._appender.rewrite()

    def close(self) -> None:
        """Close the copy and the connections; safe to call twice."""
        with self._guard:
            if not self._is_closed:
                self._is_closed = True
                self._connection.close()
                self._storage.close()

    # --- the source of the appender -------------------------------------------------------------

    def collect(self) -> Changes:
        """The changes since the last call."""
        with self._guard:
            return self._capture.collect() if self._capture else {}

    def serialize(self) -> tuple[Changes, bytes]:
        """The changes since the last call, and the whole database including them."""
        with self._guard:
            return self.collect(), bytes(self._connection.serialize())

    # --- reading the log ------------------------------------------------------------------------

    def _load(self) -> None:
        with self._guard:
            database = self._log.load()
            self._connection.close()
            self._connection = _memory()
            if database is not None:
                self._connection.deserialize(database)
                self._connection.execute("PRAGMA trusted_schema = OFF")
            self._capture = None
            self._follow()

    def _follow(self) -> None:
        """Replay the segments that were appended since the last call."""
        with self._guard, translated(self._storage.address):
            for segment in self._log.follow():
                self._replay(segment)
            self._migrate(schema.VERSION)
            # Replayed rows must not be appended again.
            if self._capture is not None:
                self._capture.collect()

    def _replay(self, segment: Segment) -> None:
        if segment.schema > schema.VERSION:
            raise StateError(
                f"the state {self._storage.address} has version {segment.schema}, but this program "
                f"supports versions up to {schema.VERSION}",
                hint="Use a newer version of reconciler.",
            )
        # Migrations depend only on the tables, so every reader gets the same result.
        self._migrate(segment.schema)
        if segment.changes:
            self._connection.execute("BEGIN")
            try:
                replay(self._connection, segment.changes)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _migrate(self, version: int) -> None:
        migrations = schema.MIGRATIONS[:version]
        if not schema.is_current(self._connection, migrations=schema.MIGRATIONS):
            schema.migrate(self._connection, migrations=migrations)
            schema.name(self._connection, *self._names)

    # --- the lease ------------------------------------------------------------------------------

    def holder(self) -> Mapping[str, Any] | None:
        """The holder of the lease, as its claim says; None if it is free."""
        claim = self._log.head.claim
        return None if claim is None else claim.holder

    def break_lease(self) -> Mapping[str, Any] | None:
        """Release the lease of any holder, and return that holder. Its next write is refused."""
        return self._claims.break_lease()

    @contextmanager
    def hold(
        self,
        holder: Mapping[str, Any],
        *,
        wait_seconds: float,
        on_wait: Callable[[str], None],
        on_takeover: Callable[[Mapping[str, Any]], None],
        on_lost: Callable[[], None],
        pause: Callable[[float], None],
    ) -> Iterator[Appender]:
        """Hold the lease for the block. Raises LockedError where another run holds it.

        `on_lost` is called from another thread once the lease is lost. `pause` waits some seconds for
        another holder; what it raises ends the wait.
        """
        with_retries(self._storage.prepare)
        dead, validity = self._claims.claim(holder, wait_seconds, on_wait, pause)
        try:
            appender = self._start(validity, on_lost)
            try:
                if dead is not None:
                    on_takeover(dead)
                yield appender
            except ReconcilerError as error:
                # The lost lease is the cause of any other error of the run.
                if appender.failure is not None:
                    raise appender.failure from error
                raise
            finally:
                appender.close()
                self._appender = None
                # The copy has writes that never reached the log, so it has to be read again.
                self._has_lost_writes = appender.failure is not None
        finally:
            self._claims.end()
        appender.check()

    def _start(self, validity: Validity, on_lost: Callable[[], None]) -> Appender:
        with self._guard:
            if self._capture is None:
                self._capture = ChangeCapture(self._connection)
            self._appender = Appender(
                self._log, self._storage, self, validity, schema=schema.VERSION, on_lost=on_lost
            )
            return self._appender

    def _catch_up(self) -> None:
        """Bring the copy up to date with the log."""
        if self._has_lost_writes:
            self._load()
            self._has_lost_writes = False
            return
        try:
            self._follow()
        except MissingSegmentError:
            # The log was trimmed since this copy was read, so it continues from a newer snapshot.
            self._load()


def _memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection
