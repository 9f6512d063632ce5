"""The lock: one run at a time writes, and all others learn which run it is.

A claim is a row in the database, written in a transaction like everything else. Its holder also holds a kernel lock
on a file beside the database. A holder that was killed leaves its row, and its kernel lock is free at once: the next
run takes over, also in another container of the host. If the holder was on another host, or had no kernel lock, the
next run takes over only if that process is provably dead.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import Struct, convert, to_builtins

from reconciler.errors import LockedError, StateError
from reconciler.model.run_origin import RunOrigin
from reconciler.state.database import Database
from reconciler.state.file_lock import FileLock
from reconciler.state.origin import current_origin
from reconciler.state.process import Process
from reconciler.state.rows import readable

_POLL_SECONDS = 0.5


class Holder(Struct, frozen=True):
    """The run that holds the lock. `since` is in unix seconds; `since_utc` is the same for people."""

    user: str
    command: str
    since: float
    process: Process
    has_file_lock: bool = False
    """Whether it also holds the kernel lock, which the kernel frees when it dies."""
    origin: RunOrigin = RunOrigin()
    """The origin of the run. Holders of earlier versions have no origin."""

    @property
    def host(self) -> str:
        """The machine's name."""
        return self.process.host

    @property
    def pid(self) -> int:
        """The process's number on that machine."""
        return self.process.pid

    @property
    def since_utc(self) -> str:
        """ISO 8601 in UTC, to the second."""
        return datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def __str__(self) -> str:
        person = f"{self.user}@{self.host} (pid {self.pid})"
        # The account and the machine of a CI job are gone once it has ended; its page remains.
        if self.origin.ci:
            person = self.origin.describe()
        return f"{person}, running `{self.command}` since {self.since_utc}"


class StateLock(Protocol):
    """Excludes other runs that write to the same state."""

    def hold(
        self,
        holder: Holder,
        *,
        wait_seconds: float,
        on_wait: Callable[[str], None],
        on_takeover: Callable[[Holder], None],
        on_lost: Callable[[], None],
        pause: Callable[[float], None],
    ) -> AbstractContextManager[Holder]:
        """Hold the lock for the block, and refuse every write once another run has taken it.

        Where another run holds it, call `on_wait` once with a description of its holder, and wait up to
        `wait_seconds`; then raise LockedError. `on_takeover` gets a dead holder that was replaced. `on_lost`
        is called, from any thread, once this run has lost the lock. `pause` waits some seconds before the
        next try; what it raises ends the wait.
        """

    def permit(self) -> None:
        """Return if this run still holds the lock, or needs none; raise LeaseLostError otherwise."""

    def holder(self) -> Holder | None:
        """The present holder, dead or alive."""

    def release(self) -> Holder | None:
        """Release the lock of any holder, and return that holder."""


def present_holder(command: str, since: float) -> Holder:
    """This process as a holder. `since` is in unix seconds."""
    origin = current_origin()
    return Holder(
        user=origin.user,
        command=command,
        since=since,
        process=Process.current(),
        has_file_lock=True,
        origin=origin,
    )


class LocalLock:
    """The lock of a state in a file on this machine."""

    def __init__(self, database: Database, file_lock: FileLock) -> None:
        self._database = database
        self._file_lock = file_lock

    @contextmanager
    def hold(
        self,
        holder: Holder,
        *,
        wait_seconds: float = 0.0,
        on_wait: Callable[[str], None] = lambda _: None,
        on_takeover: Callable[[Holder], None],
        on_lost: Callable[[], None] = lambda: None,  # noqa: ARG002 - a write notices the loss
        pause: Callable[[float], None] = time.sleep,
    ) -> Iterator[Holder]:
        """Hold the lock; see `StateLock`."""
        token = secrets.token_hex(16)
        dead = self._claim_or_wait(holder, token, wait_seconds, on_wait, pause)
        database = self._database
        try:
            # From here on each write checks that the lock is still ours: `state unlock` may have
            # released it.
            database.fence = lambda connection: _require(connection, token)
            try:
                if dead is not None:
                    on_takeover(dead)
                yield holder
            finally:
                database.fence = None
                with database.write() as connection:
                    # By token, so that the lock of a run that has taken over stays.
                    connection.execute("DELETE FROM lock WHERE token = ?", (token,))
        finally:
            # After the row is gone: a run that got the kernel lock first would announce a takeover.
            self._file_lock.release()

    def permit(self) -> None:
        """Return: each write checks the lock, and each call follows a write."""

    def holder(self) -> Holder | None:
        """The present holder, dead or alive."""
        with self._database.read() as connection:
            return read_holder(connection)

    def release(self) -> Holder | None:
        """Release the lock of any holder, and return that holder."""
        # Not fenced, because the caller does not hold the lock.
        with self._database.write(fenced=False) as connection:
            holder = release(connection)
        # After the row: the next run needs the kernel lock first, and must then find no claim.
        self._file_lock.break_lock()
        return holder

    def _claim_or_wait(
        self,
        holder: Holder,
        token: str,
        wait_seconds: float,
        on_wait: Callable[[str], None],
        pause: Callable[[float], None],
    ) -> Holder | None:
        """Claim the lock, and return the dead holder that had it."""
        give_up_at = time.monotonic() + wait_seconds
        is_announced = False
        while True:
            try:
                return self._claim(holder, token)
            except LockedError as error:
                if time.monotonic() >= give_up_at:
                    raise
                if not is_announced:
                    on_wait(str(error))
                    is_announced = True
            pause(_POLL_SECONDS)

    def _claim(self, holder: Holder, token: str) -> Holder | None:
        if not self._file_lock.acquire():
            raise _held(self.holder(), holder)
        try:
            # The kernel lock first: it tells at once whether a holder on this machine is alive. The
            # row tells which run it is.
            return _claim(self._database, holder, token)
        except BaseException:
            self._file_lock.release()
            raise


def read_holder(connection: sqlite3.Connection) -> Holder | None:
    """The present holder, dead or alive."""
    row = connection.execute("SELECT holder FROM lock").fetchone()
    if row is None:
        return None
    with readable():
        return holder_from(json.loads(row[0]))


def holder_from(data: Mapping[str, Any]) -> Holder:
    """A holder from its JSON. Raises ValueError where the data is not one."""
    return convert(data, Holder)


def release(connection: sqlite3.Connection) -> Holder | None:
    """Release the lock of any holder, and return that holder."""
    holder = read_holder(connection)
    connection.execute("DELETE FROM lock")
    return holder


def _claim(database: Database, holder: Holder, token: str) -> Holder | None:
    with database.write(fenced=False) as connection:
        earlier = read_holder(connection)
        if earlier is not None and not _is_dead(earlier, holder):
            raise _held(earlier, holder)
        row = (token, json.dumps(to_builtins(holder)))
        connection.execute(
            "INSERT OR REPLACE INTO lock (only_row, token, holder) VALUES (1, ?, ?)", row
        )
    return earlier


def _require(connection: sqlite3.Connection, token: str) -> None:
    if connection.execute("SELECT 1 FROM lock WHERE token = ?", (token,)).fetchone() is None:
        raise StateError(
            "this run has lost the lock, so it must not write to the state",
            hint="find out who unlocked it, then run again",
        )


def _is_dead(earlier: Holder, here: Holder) -> bool:
    """Whether the process of an earlier holder has ended. The caller holds the kernel lock."""
    # We hold the kernel lock, so a holder that had it on this boot of this machine has released it.
    shares_kernel = bool(here.process.boot) and earlier.process.boot == here.process.boot
    return (earlier.has_file_lock and shares_kernel) or here.process.proves_dead(earlier.process)


def _held(earlier: Holder | None, here: Holder) -> LockedError:
    # Between taking the kernel lock and writing the row, a run holds the lock without a name.
    if earlier is None:
        return LockedError(
            "another run is taking the lock right now", hint="wait for it to end, then run again"
        )
    return LockedError(f"another run holds the lock: {earlier}", hint=_hint(earlier, here))


def _hint(earlier: Holder, here: Holder) -> str:
    where = ""
    if earlier.host != here.host:
        where = f" on {earlier.host}, which this machine cannot check"
    return f"wait for it to end; if you are certain that it is no longer running{where}: reconciler state unlock"
