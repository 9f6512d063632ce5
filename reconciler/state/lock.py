"""The lock: one run at a time writes, and every other run learns which one.

The claim is a row in the database, so it is taken and seen in the same transaction as everything else. Its holder also
holds the kernel's lock on a file beside the database. A holder that was killed leaves its row behind, and the kernel's
lock is free at once: the next run takes over, also in another container of the host. On another host, or where the
holder had no such lock, it takes over only from a process that is provably dead.
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
    """Who holds the lock. `since` is in unix seconds; `since_utc` is the same for people."""

    user: str
    command: str
    since: float
    process: Process
    has_file_lock: bool = False
    """Whether it holds the kernel's lock too, so that its death frees that."""
    origin: RunOrigin = RunOrigin()
    """Where it was started. Holders of earlier versions have none."""

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
        who = f"{self.user}@{self.host} (pid {self.pid})"
        # The account and the machine of a CI job are gone once it has ended; its page remains.
        if self.origin.ci:
            who = self.origin.describe()
        return f"{who}, running `{self.command}` since {self.since_utc}"


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
        """Who holds the lock now, dead or alive."""

    def release(self) -> Holder | None:
        """Take the lock away from whoever holds it; gives who that was."""


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
            # Each write from here on checks that the lock is still ours: somebody may have unlocked
            # it.
            database.fence = lambda connection: _require(connection, token)
            try:
                if dead is not None:
                    on_takeover(dead)
                yield holder
            finally:
                database.fence = None
                with database.write() as connection:
                    # By token, so that the lock of a run that took over stays.
                    connection.execute("DELETE FROM lock WHERE token = ?", (token,))
        finally:
            self._file_lock.release()

    def permit(self) -> None:
        """Return: each write checks the lock, and each call follows a write."""

    def holder(self) -> Holder | None:
        """Who holds the lock now, dead or alive."""
        with self._database.read() as connection:
            return read_holder(connection)

    def release(self) -> Holder | None:
        """Take the lock away from whoever holds it; gives who that was."""
        # Not fenced, since whoever unlocks does not hold the lock.
        with self._database.write(fenced=False) as connection:
            holder = release(connection)
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
        """Claim the lock, and give the dead holder that had it."""
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
            # The kernel's lock first: it tells at once whether a holder on this machine lives, and
            # the row tells who it is.
            return _claim(self._database, holder, token)
        except BaseException:
            self._file_lock.release()
            raise


def read_holder(connection: sqlite3.Connection) -> Holder | None:
    """Who holds the lock now, dead or alive."""
    row = connection.execute("SELECT holder FROM lock").fetchone()
    if row is None:
        return None
    with readable():
        return holder_from(json.loads(row[0]))


def holder_from(data: Mapping[str, Any]) -> Holder:
    """A holder from its JSON. Raises ValueError where the data is not one."""
    return convert(data, Holder)


def release(connection: sqlite3.Connection) -> Holder | None:
    """Take the lock away from whoever holds it; gives who that was."""
    holder = read_holder(connection)
    connection.execute("DELETE FROM lock")
    return holder


def _claim(database: Database, holder: Holder, token: str) -> Holder | None:
    with database.write(fenced=False) as connection:
        found = read_holder(connection)
        if found is not None and not _is_dead(found, holder):
            raise _held(found, holder)
        row = (token, json.dumps(to_builtins(holder)))
        connection.execute(
            "INSERT OR REPLACE INTO lock (only_row, token, holder) VALUES (1, ?, ?)", row
        )
    return found


def _require(connection: sqlite3.Connection, token: str) -> None:
    if connection.execute("SELECT 1 FROM lock WHERE token = ?", (token,)).fetchone() is None:
        raise StateError(
            "this run has lost the lock, so it must not write to the state",
            hint="find out who unlocked it, then run again",
        )


def _is_dead(found: Holder, here: Holder) -> bool:
    """Whether an earlier holder runs no more. The caller holds the kernel's lock."""
    # We hold the kernel's lock, so a holder that had it on this boot of this machine has let go of
    # it.
    shares_kernel = bool(here.process.boot) and found.process.boot == here.process.boot
    return (found.has_file_lock and shares_kernel) or here.process.proves_dead(found.process)


def _held(found: Holder | None, here: Holder) -> LockedError:
    if found is None:
        return LockedError(
            "another run is taking the lock right now", hint="wait for it to end, then run again"
        )
    return LockedError(f"another run holds the lock: {found}", hint=_hint(found, here))


def _hint(found: Holder, here: Holder) -> str:
    where = "" if found.host == here.host else f" on {found.host}, which this machine cannot check"
    return f"wait for it to end; if you are certain that it is no longer running{where}: reconciler state unlock"
