"""A copy of a shared state in memory. Reads are answered by the copy; writes are appended to the log.

The copy is an SQLite database with the tables of the local state, so everything above works with both alike.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, TypeVar

from reconciler.errors import ReconcilerError, StateError
from reconciler.state import schema
from reconciler.state.changes import ChangeCapture, Changes, replay
from reconciler.state.database import translated
from reconciler.state.file_lock import FileLock
from reconciler.state.remote.appender import Appender
from reconciler.state.remote.lease import Validity, held
from reconciler.state.remote.segments import (
    MissingSegmentError,
    Segment,
    SegmentKind,
    SegmentLog,
)
from reconciler.state.remote.storage import FencedError, LogStorage, UnreachableError

T = TypeVar("T")

_FIRST_PATIENCE_SECONDS = 2.0
"""How long a run tries to reach a storage that it never reached. Its address may be wrong."""
_PATIENCE_SECONDS = 15.0
"""How long it tries later: a server that restarts or fails over is away for some seconds."""
_LEAST_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_LOCK_POLL_SECONDS = 1.0
_MOST_REFUSALS = 5


class Replica:
    """The database of one shared state. It is read whole when it is opened.

    Writes need the lease: see `hold`. `describe` words the holder of a claim for messages. Where there is a
    `file_lock`, every holder has it, so a lease without it is that of a dead process.
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
        self._lease_seconds = lease_seconds
        self._describe = describe
        self._file_lock = file_lock
        self._has_file_lock = False
        self._guard = threading.RLock()
        self._connection = _memory()
        self._capture: ChangeCapture | None = None
        self._appender: Appender | None = None
        self._has_lost_writes = False
        self._is_closed = False
        _with_retries(self._load, seconds=_FIRST_PATIENCE_SECONDS)

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
            number = appender.note(durable=durable)
        if durable:
            appender.wait(number)

    def shrink(self) -> None:
        """Give back the room that nothing needs any more, so that the next snapshot is small."""
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
        """Carry out the segments that were appended since the last look."""
        with self._guard, translated(self._storage.address):
            for segment in self._log.follow():
                self._replay(segment)
            self._migrate(schema.VERSION)
            if self._capture is not None:
                self._capture.collect()

    def _replay(self, segment: Segment) -> None:
        if segment.schema > schema.VERSION:
            raise StateError(
                f"the state {self._storage.address} has version {segment.schema}, but this program "
                f"supports versions up to {schema.VERSION}",
                hint="Use a newer version of reconciler.",
            )
        # Migrations depend on nothing but the tables, so every reader comes to the same result.
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
        """Who holds the lease, as the claim says; None where nobody does."""
        claim = self._log.head.claim
        return None if claim is None else claim.holder

    @contextmanager
    def hold(
        self,
        holder: Mapping[str, Any],
        *,
        wait_seconds: float,
        on_wait: Callable[[str], None],
        on_takeover: Callable[[Mapping[str, Any]], None],
        on_lost: Callable[[], None],
    ) -> Iterator[Appender]:
        """Hold the lease for the block. Raises LockedError where another run holds it.

        `on_lost` is called from another thread once the lease is lost.
        """
        _with_retries(self._storage.prepare)
        try:
            dead, validity = self._claim(holder, wait_seconds, on_wait)
            appender = self._start(validity, on_lost)
            try:
                if dead is not None:
                    on_takeover(dead)
                yield appender
            except ReconcilerError as error:
                # Whatever the run stumbled over, the reason is the lease that it lost.
                if appender.failure is not None:
                    raise appender.failure from error
                raise
            finally:
                appender.close()
                self._appender = None
                self._has_lost_writes = appender.failure is not None
        finally:
            if self._file_lock is not None and self._has_file_lock:
                self._file_lock.release()
                self._has_file_lock = False
        appender.check()

    def _start(self, validity: Validity, on_lost: Callable[[], None]) -> Appender:
        with self._guard:
            if self._capture is None:
                self._capture = ChangeCapture(self._connection)
            self._appender = Appender(
                self._log, self._storage, self, validity, schema=schema.VERSION, on_lost=on_lost
            )
            return self._appender

    def _claim(
        self, holder: Mapping[str, Any], wait_seconds: float, on_wait: Callable[[str], None]
    ) -> tuple[Mapping[str, Any] | None, Validity]:
        """Claim the lease; gives the holder that was replaced, and how long the lease is valid."""
        give_up_at = time.monotonic() + wait_seconds
        is_announced = False
        refusals = _Refusals()
        while True:
            patience = max(_PATIENCE_SECONDS, give_up_at - time.monotonic())
            _with_retries(self._follow_or_load, seconds=patience)
            dead = self._log.head.claim
            seconds_left = self._seconds_left()
            if seconds_left <= 0:
                validity = Validity(self._lease_seconds)
                try:
                    self._append_claim(holder)
                except FencedError as error:
                    refusals.count(self._log, error)
                    continue
                return (None if dead is None else dead.holder), validity
            description = "" if dead is None else self._describe(dead.holder)
            if time.monotonic() >= give_up_at:
                raise held(description, seconds_left)
            if not is_announced:
                on_wait(description)
                is_announced = True
            time.sleep(min(_LOCK_POLL_SECONDS, seconds_left))
            # Only refusals right after each other say that no other run is the cause.
            refusals = _Refusals()

    def _seconds_left(self) -> float:
        """For how long another run holds the lease; 0 or less where it is free or has ended."""
        claim, signed_at = self._log.head.claim, self._log.tail.signed_at
        if self._appender is not None:
            return self._lease_seconds
        if self._file_lock is not None:
            self._has_file_lock = self._has_file_lock or self._file_lock.acquire()
            return 0.0 if self._has_file_lock else self._lease_seconds
        if claim is None or signed_at is None:
            return 0.0
        # A store that keeps whole seconds would otherwise let a lease end a second too early.
        ends_at = signed_at + claim.lease_seconds + self._storage.clock_error
        return ends_at - _with_retries(self._storage.now)

    def _append_claim(
        self, holder: Mapping[str, Any], kind: SegmentKind = SegmentKind.CLAIM
    ) -> None:
        head = self._log.head
        segment = Segment(
            head.number + 1,
            head.epoch + 1,
            head.digest,
            kind,
            schema.VERSION,
            holder=holder,
            lease_seconds=self._lease_seconds,
            token=secrets.token_hex(8),
        )
        body = self._log.encode(segment)
        _with_retries(lambda: self._storage.claim(body, epoch=segment.epoch, seen=self._log.tail))
        if _with_retries(lambda: self._storage.tail(segment.number)).segments:
            # This process was suspended before the claim, and meanwhile others wrote and trimmed the log.
            raise FencedError("other runs have written since the log was read")
        self._log.advance(segment, body.body)

    def break_lease(self) -> Mapping[str, Any] | None:
        """Release the lease of whoever holds it; gives who that was. That run is refused at its next write."""
        refusals = _Refusals()
        while True:
            _with_retries(self._follow_or_load)
            claim = self._log.head.claim
            if claim is None:
                return None
            if self._file_lock is not None:
                self._file_lock.break_lock()
            try:
                # A claim and its release in one, so that no lease is left behind if this dies in between.
                self._append_claim(claim.holder, SegmentKind.RELEASE)
            except FencedError as error:
                refusals.count(self._log, error)
                continue
            return claim.holder

    def _follow_or_load(self) -> None:
        if self._has_lost_writes:
            self._load()
            self._has_lost_writes = False
            return
        try:
            self._follow()
        except MissingSegmentError:
            # The log was trimmed since this copy was read.
            self._load()


class _Refusals:
    """Counts claims that were refused although the log shows no other run's write."""

    def __init__(self) -> None:
        self._number = -1
        self._count = 0

    def count(self, log: SegmentLog, error: FencedError) -> None:
        """Count a refusal. Raises StateError once it can no longer be a race with another run."""
        self._count = self._count + 1 if log.head.number == self._number else 1
        self._number = log.head.number
        if self._count == _MOST_REFUSALS:
            raise log.cut_off() from error


def _memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _with_retries(operation: Callable[[], T], *, seconds: float = _PATIENCE_SECONDS) -> T:
    """Carry out an operation; try again where the storage did not answer or the log was being trimmed.

    Gives up after some seconds, but not before the third attempt: one alone may take as long.
    """
    give_up_at = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    for attempt in count(1):
        try:
            return operation()
        except (UnreachableError, MissingSegmentError):
            if attempt >= _LEAST_ATTEMPTS and time.monotonic() + pause >= give_up_at:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    raise AssertionError("count() has no end")
