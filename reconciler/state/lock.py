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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from msgspec import Struct, convert, to_builtins

from reconciler.errors import LockedError, StateError
from reconciler.model.run_origin import RunOrigin
from reconciler.state.database import Database
from reconciler.state.file_lock import FileLock
from reconciler.state.origin import current_origin
from reconciler.state.process import Process
from reconciler.state.rows import readable


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


@contextmanager
def hold(
    database: Database,
    file_lock: FileLock,
    *,
    command: str,
    now: float,
    on_takeover: Callable[[Holder], None],
) -> Iterator[Holder]:
    """Hold the lock for the block, and refuse every write of this store once somebody else took it
    away.

    Raises LockedError while a holder lives or may live; calls `on_takeover` with a dead one, once
    the lock is ours.
    """
    origin = current_origin()
    holder = Holder(
        user=origin.user,
        command=command,
        since=now,
        process=Process.current(),
        has_file_lock=True,
        origin=origin,
    )
    token = secrets.token_hex(16)
    if not file_lock.acquire():
        with database.read() as connection:
            raise _held(read_holder(connection), holder)
    try:
        dead = _claim(database, holder, token)
        database.fence = lambda connection: _require(connection, token)
        try:
            if dead is not None:
                on_takeover(dead)
            yield holder
        finally:
            database.fence = None
            with database.write() as connection:
                connection.execute("DELETE FROM lock WHERE token = ?", (token,))
    finally:
        file_lock.release()


def read_holder(connection: sqlite3.Connection) -> Holder | None:
    """Who holds the lock now, dead or alive."""
    row = connection.execute("SELECT holder FROM lock").fetchone()
    if row is None:
        return None
    with readable():
        return convert(json.loads(row[0]), Holder)


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
