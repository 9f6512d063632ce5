"""Connections to Postgres that can break without harm and never hang.

libpq limits neither the time of a name lookup nor that of an answer, and PgBouncer does not pass
`statement_timeout` on. So lookup and connect run in a thread that can be abandoned, and a watchdog
closes the connection to a server that does not answer.
"""

from __future__ import annotations

import math
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.errors import StateError
from reconciler.state.remote.postgres import address as postgres_address
from reconciler.state.remote.postgres import errors as postgres_errors
from reconciler.state.remote.postgres import sql as postgres_sql
from reconciler.state.remote.postgres.address import PostgresAddress
from reconciler.state.remote.storage import UnreachableError

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

T = TypeVar("T")

CONNECT_SECONDS = 10
ATTEMPTS = 3
"""How often an operation is tried if its connection breaks. Often only the answer was lost."""
IDLE_CONNECTIONS = 3
OLDEST_SERVER = 120000
"""PostgreSQL 12, as libpq writes it: the first with `AS MATERIALIZED`."""


class Connections:
    """Connections to one database, opened when needed and used by one thread at a time."""

    def __init__(self, address: PostgresAddress, patience: float) -> None:
        """`patience` is in seconds. Raises StateError without psycopg."""
        try:
            import psycopg  # noqa: F401
        except ImportError:
            raise postgres_errors.missing_extra() from None
        self._address = address
        self._patience = patience
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._is_closed = False
        self._watchdog = _Watchdog()

    def run(
        self,
        operation: str,
        work: Callable[[Connection], T],
        *,
        deadline: float,
        privileges: Sequence[str] = ("SELECT",),
    ) -> T:
        """Do `work`, again if the connection breaks: the work must be safe to repeat.

        Raises StateError in terms of `operation`; where a permission is missing, with the grants of
        `privileges` that would cure it. At the latest, it does so at the `deadline`.
        """
        import psycopg

        attempts_left = ATTEMPTS
        while True:
            attempts_left -= 1
            try:
                with self._lend(operation, deadline) as connection:
                    return work(connection)
            except psycopg.errors.InsufficientPrivilege as error:
                raise self._permission_error(operation, str(error), privileges, deadline) from error
            except psycopg.Error as error:
                problem = self._problem(operation, error, deadline)
                may_repeat = _may_repeat(error) and isinstance(problem, UnreachableError)
                if not may_repeat or not attempts_left or time.monotonic() >= deadline:
                    raise problem from error

    @property
    def lock_timeout(self) -> str:
        """How long a statement waits for a lock, as Postgres writes it."""
        # Shorter than the time limit, so that the server gives up before the watchdog hangs up.
        return f"{int(self._patience * 800)}ms"

    def deadline(self) -> float:
        """When an operation that begins now must have ended, on the monotonic clock."""
        return time.monotonic() + self._patience

    def close(self) -> None:
        """Close idle connections now, and those in use when their work ends."""
        with self._lock:
            self._is_closed = True
        self._close_idle()

    @contextmanager
    def _lend(self, operation: str, deadline: float) -> Iterator[Connection]:
        import psycopg

        connection = self._take(operation, deadline)
        try:
            with self._watchdog.watch(connection, deadline):
                yield connection
        except psycopg.Error as error:
            if connection.closed or _is_lost(error):
                connection.close()
                # The others are as old, and most likely broken too.
                self._close_idle()
            raise
        # An interrupted statement leaves the connection in an unknown state.
        except BaseException:
            connection.close()
            raise
        finally:
            self._give_back(connection)

    def _take(self, operation: str, deadline: float) -> Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        seconds = max(0.0, deadline - time.monotonic())
        return self._connect(operation, min(CONNECT_SECONDS, seconds))

    def _give_back(self, connection: Connection) -> None:
        if connection.closed:
            return
        with self._lock:
            is_kept = not self._is_closed and len(self._idle) < IDLE_CONNECTIONS
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self, operation: str, seconds: float) -> Connection:
        import psycopg

        outcome: Future[Connection] = Future()

        def connect() -> None:
            try:
                connection = self._open()
            except BaseException as error:  # noqa: BLE001 — raised again in the caller's thread
                if outcome.set_running_or_notify_cancel():
                    outcome.set_exception(error)
                return
            # Cancelled means that the caller gave up and nobody else closes the connection.
            if outcome.set_running_or_notify_cancel():
                outcome.set_result(connection)
            else:
                connection.close()

        threading.Thread(target=connect, name="connect to Postgres", daemon=True).start()
        try:
            return self._result(outcome, seconds)
        except TimeoutError:
            raise postgres_errors.silent_error(self._address, operation, seconds) from None
        except (psycopg.ProgrammingError, ValueError):
            # libpq could not parse the address, or the host is not a valid name (a UnicodeError). The
            # message may quote a part of the password.
            raise postgres_address.invalid_address() from None
        except psycopg.Error as error:
            raise postgres_errors.connection_error(
                self._address, str(error), seconds=seconds
            ) from None

    @staticmethod
    def _result(outcome: Future[Connection], seconds: float) -> Connection:
        try:
            return outcome.result(seconds)
        except TimeoutError:
            if outcome.cancel():
                raise
        # It arrived between the time-out and the cancellation.
        return outcome.result()

    def _open(self) -> Connection:
        import psycopg

        settings: dict[str, Any] = {
            "application_name": "reconciler",
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 5,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "tcp_user_timeout": int(self._patience * 1000),
        }
        # Of several hosts, libpq would also use a standby, which refuses writes.
        if self._address.has_several_hosts:
            settings["target_session_attrs"] = "read-write"
        # The address of the user has precedence.
        for name in self._address.options:
            settings.pop(name, None)
        # Prepared statements belong to a session, and PgBouncer may use another one each time.
        connection = psycopg.connect(
            self._address.connection_url, autocommit=True, prepare_threshold=None, **settings
        )
        if 0 < connection.info.server_version < OLDEST_SERVER:
            connection.close()
            raise postgres_errors.old_server_error(self._address)
        return connection

    def _problem(self, operation: str, error: psycopg.Error, deadline: float) -> StateError:
        sqlstate = error.sqlstate or ""
        if time.monotonic() >= deadline:
            return postgres_errors.silent_error(self._address, operation, self._patience)
        if _is_lost(error):
            return postgres_errors.lost_error(
                self._address, operation, sqlstate, str(error), seconds=self._patience
            )
        return postgres_errors.statement_error(self._address, operation, sqlstate, str(error))

    def _permission_error(
        self, operation: str, words: str, privileges: Sequence[str], deadline: float
    ) -> StateError:
        query = postgres_sql.MISSING_PRIVILEGES.encode()
        values = {"schema": self._address.schema, "privileges": list(privileges)}

        def look(connection: Connection) -> list[Any]:
            with unless(postgres_errors.ANY):
                return connection.execute(query, values).fetchall()
            return []

        missing: list[Any] = []
        # Without an answer, the hint is only less precise.
        with suppress(StateError):
            missing = self.run("look up permissions", look, deadline=deadline)
        return postgres_errors.permission_error(self._address, operation, words, missing)


@contextmanager
def unless(sqlstates: re.Pattern[str]) -> Iterator[None]:
    """Suppress errors whose SQLSTATE matches, so that what follows the block runs."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        if not sqlstates.fullmatch(error.sqlstate or ""):
            raise


def _is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone, so that the outcome of the statement is unknown."""
    import psycopg

    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return postgres_errors.LOST_CONNECTION.fullmatch(error.sqlstate) is not None


def _may_repeat(error: psycopg.Error) -> bool:
    return _is_lost(error) or postgres_errors.CONFLICT.fullmatch(error.sqlstate or "") is not None


class _Watchdog:
    """Closes connections that are busy at their deadline, so that their users get errors.

    One thread serves all. It need not wake for each operation: it sleeps until the earliest
    deadline it knows, and ends if nothing is busy then.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: dict[int, float] = {}
        """Deadlines by file descriptor. These are duplicates: libpq may close its own at any time,
        and the number may then belong to something else."""
        self._wakes_at = math.inf
        self._is_awake = False

    @contextmanager
    def watch(self, connection: Connection, deadline: float) -> Iterator[None]:
        """Hang up if the block is not left by the deadline."""
        descriptor = os.dup(connection.fileno())
        with self._changed:
            self._busy[descriptor] = deadline
            if not self._is_awake:
                self._is_awake = True
                self._wakes_at = deadline
                threading.Thread(target=self._run, name="Postgres watchdog", daemon=True).start()
            elif deadline < self._wakes_at:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._busy[descriptor]
                os.close(descriptor)

    def _run(self) -> None:
        with self._changed:
            while self._busy:
                self._wakes_at = min(self._busy.values())
                has_deadline = self._wakes_at < math.inf
                self._changed.wait(self._wakes_at - time.monotonic() if has_deadline else None)
                self._hang_up_where_due()
            self._is_awake = False

    def _hang_up_where_due(self) -> None:
        now = time.monotonic()
        for descriptor, deadline in self._busy.items():
            if deadline <= now:
                self._busy[descriptor] = math.inf
                with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as peer:
                    peer.shutdown(socket.SHUT_RDWR)
