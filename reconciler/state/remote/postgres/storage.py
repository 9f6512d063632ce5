"""States in PostgreSQL 12 or later, also behind PgBouncer in transaction mode.

Nothing here depends on a session: each operation is one statement (see `sql`) in autocommit,
without prepared statements, advisory locks or settings that outlive a transaction. So a connection
may break at any time, and the operation continues with a new one.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reconciler.errors import StateError
from reconciler.state.remote.postgres import address as postgres_address
from reconciler.state.remote.postgres import errors as postgres_errors
from reconciler.state.remote.postgres import sql as postgres_sql
from reconciler.state.remote.postgres.connections import ATTEMPTS, Connections, unless
from reconciler.state.remote.postgres.sql import in_schema, print_sql
from reconciler.state.remote.proof import prove
from reconciler.state.remote.storage import FencedError, StorageFinding, StoredBody, Tail

if TYPE_CHECKING:
    from reconciler.state.remote.postgres.connections import Connection

__all__ = ["PATIENCE", "PostgresStorage", "print_sql"]

LOG = logging.getLogger("reconciler.state")
PATIENCE = 15.0
"""Seconds after which an operation has succeeded or failed, even if the server is silent."""
PRIVILEGES_TO_READ = ("SELECT",)
PRIVILEGES_TO_WRITE = ("SELECT", "INSERT", "UPDATE", "DELETE")

Row = tuple[Any, ...]


def sql_for(url: str) -> str:
    """The SQL that prepares a database, for the schema that an address names, if it is one of Postgres."""
    if not url.startswith(("postgresql://", "postgres://")):
        return print_sql()
    return print_sql(postgres_address.parse(url).schema)


class PostgresStorage:
    """Implements `LogStorage`: the log of one state, in tables that all states of a schema share.

    `url` is a libpq URL; its parameter `schema`, which is ours, names the schema. The storage
    remembers the epoch of the last claim, append or renewal: snapshots and trims, which carry none,
    are fenced with it.
    """

    clock_error = 0.0

    def __init__(
        self, url: str, *, stack: str, environment: str, patience: float = PATIENCE
    ) -> None:
        """Nothing is connected yet. Raises StateError for an address that cannot be understood."""
        self._target = postgres_address.parse(url)
        self._connections = Connections(self._target, patience)
        self._url = url
        self._stack = stack
        self._environment = environment
        self._patience = patience
        self._epoch: int | None = None

    @property
    def address(self) -> str:
        """As in `postgresql://db.example.com:5432/infra (acme/production)`, without credentials."""
        return f"{self._target.shown} ({self._stack}/{self._environment})"

    def prepare(self) -> None:
        """Create or migrate the tables.

        Older tables that can hold a state are used unchanged if the role may not alter them.
        """
        deadline = self._connections.deadline()
        for _ in range(ATTEMPTS):
            version = self._read_version(deadline)
            try:
                if version == len(postgres_sql.MIGRATIONS) or self._migrate(version, deadline):
                    return
            except postgres_errors.MissingPermissionError as error:
                if version is None or version < postgres_sql.NEEDED_VERSION:
                    raise
                LOG.info("The tables keep their version %d: %s.", version, error)
                return
        raise postgres_errors.incomplete_error(self._target)

    def snapshot(self) -> StoredBody | None:
        """The newest snapshot."""
        rows = self._read("read the snapshot", postgres_sql.SNAPSHOT)
        return StoredBody(*rows[0]) if rows else None

    def tail(self, after: int) -> Tail:
        """The segments above `after`."""
        rows = self._read("read the log", postgres_sql.TAIL, {"after": after})
        if not rows:
            return Tail()
        signed_at, renewals, _, _ = rows[0]
        segments = [StoredBody(number, body) for _, _, number, body in rows if number is not None]
        return Tail(tuple(segments), signed_at, renewals)

    def now(self) -> float:
        """The database's clock."""
        seconds: float = self._read("read the clock", postgres_sql.NOW)[0][0]
        return seconds

    def claim(self, segment: StoredBody, *, epoch: int, seen: Tail) -> None:
        """Take the lease if the head, the epoch and the signs of life are still as seen."""
        operation, deadline = postgres_errors.CLAIM, self._connections.deadline()
        self._write(operation, postgres_sql.ENSURE_STATE, deadline=deadline)
        parameters = {"epoch": epoch, "renewals": seen.renewals}
        self._take_number(operation, postgres_sql.CLAIM, segment, parameters, deadline)
        self._epoch = epoch

    def append(self, segment: StoredBody, *, epoch: int) -> None:
        """Append a segment if the epoch holds the lease and the number is the next."""
        self._epoch = epoch
        operation, deadline = "write to the state", self._connections.deadline()
        self._take_number(operation, postgres_sql.APPEND, segment, {"epoch": epoch}, deadline)

    def renew(self, *, epoch: int) -> bool:
        """Give a sign of life; always True, as none of them needs a segment."""
        self._epoch = epoch
        if not self._write("renew the lease", postgres_sql.RENEW, {"epoch": epoch}):
            raise self._fenced("renew the lease")
        return True

    def put_snapshot(self, snapshot: StoredBody) -> None:
        """Store a snapshot. Raises FencedError unless this storage's epoch holds the lease."""
        operation = "write a snapshot"
        parameters = {"number": snapshot.number, "body": snapshot.body, "epoch": self._epoch}
        if not self._write(operation, postgres_sql.PUT_SNAPSHOT, parameters):
            raise self._fenced(operation)

    def trim(self, through: int, *, keep: Collection[int]) -> None:
        """Remove old segments and snapshots; nothing while no snapshot covers `through`.

        Raises FencedError unless this storage's epoch holds the lease.
        """
        operation = "remove old segments"
        parameters = {"through": through, "keep": sorted(keep), "epoch": self._epoch}
        if not self._write(operation, postgres_sql.TRIM, parameters):
            raise self._fenced(operation)

    def probe(self) -> Iterator[StorageFinding]:
        """Race for numbers and leases on a scratch state, which is removed in the end."""
        scratch = f"reconciler probe {secrets.token_hex(8)}"

        def open_scratch() -> PostgresStorage:
            return PostgresStorage(
                self._url, stack=scratch, environment="probe", patience=self._patience
            )

        try:
            yield from prove(open_scratch)
        except BaseException:
            # The first error is the relevant one.
            with suppress(StateError):
                self._remove_state(scratch)
            raise
        self._remove_state(scratch)

    def _remove_state(self, stack: str) -> None:
        names = {"stack": stack, "environment": "probe"}
        self._write("remove the scratch state", postgres_sql.REMOVE_STATE, names)

    def close(self) -> None:
        """Close the idle connections; those in use close when their operation ends."""
        self._connections.close()

    def _take_number(
        self,
        operation: str,
        statement: str,
        segment: StoredBody,
        parameters: Mapping[str, object],
        deadline: float,
    ) -> None:
        values = {"number": segment.number, "body": segment.body, **parameters}
        # No row: another run has the number, or it was written by an attempt whose answer was lost.
        if self._write(operation, statement, values, deadline=deadline):
            return
        values = {"number": segment.number}
        rows = self._read(operation, postgres_sql.LOOK, values, deadline=deadline)
        digest = hashlib.sha256(segment.body).digest()
        if not rows or rows[0][2] != digest:
            raise self._fenced(operation, rows)

    def _fenced(self, operation: str, rows: Sequence[Row] = ()) -> FencedError:
        detail = ""
        if rows:
            epoch, head, _ = rows[0]
            detail = f" (it is at segment {head}, claimed {epoch} times)"
        return FencedError(
            f"cannot {operation}: another run has taken over {self.address}{detail}",
            hint="wait for that run to end, then run the command again",
        )

    def _read(
        self,
        operation: str,
        statement: str,
        parameters: Mapping[str, object] | None = None,
        *,
        deadline: float | None = None,
    ) -> list[Row]:
        return self._execute(operation, statement, parameters, PRIVILEGES_TO_READ, deadline)

    def _write(
        self,
        operation: str,
        statement: str,
        parameters: Mapping[str, object] | None = None,
        *,
        deadline: float | None = None,
    ) -> list[Row]:
        return self._execute(operation, statement, parameters, PRIVILEGES_TO_WRITE, deadline)

    def _execute(
        self,
        operation: str,
        statement: str,
        parameters: Mapping[str, object] | None,
        privileges: Sequence[str],
        deadline: float | None,
    ) -> list[Row]:
        """Run one statement. An empty list says that it found, or wrote, nothing."""
        query = in_schema(statement, self._target.schema)
        values = {
            "stack": self._stack,
            "environment": self._environment,
            "lock_timeout": self._lock_timeout,
            **(parameters or {}),
        }

        def work(connection: Connection) -> list[Row]:
            with unless(postgres_errors.TAKEN):
                cursor = connection.execute(query, values, binary=True)
                return cursor.fetchall() if cursor.description else []
            return []

        return self._connections.run(
            operation,
            work,
            deadline=self._connections.deadline() if deadline is None else deadline,
            privileges=privileges,
        )

    def _read_version(self, deadline: float) -> int | None:
        """The version of the tables; None where there are none. Raises StateError for a newer."""
        query = in_schema(postgres_sql.READ_VERSION, self._target.schema)

        def work(connection: Connection) -> list[Row]:
            with unless(postgres_errors.NO_TABLES):
                return connection.execute(query).fetchall()
            return []

        rows = self._connections.run("read the version of the tables", work, deadline=deadline)
        if not rows:
            return None
        version: int = rows[0][0]
        if version > len(postgres_sql.MIGRATIONS):
            raise postgres_errors.newer_error(self._target, version, len(postgres_sql.MIGRATIONS))
        return version

    def _migrate(self, version: int | None, deadline: float) -> bool:
        """Bring the tables up to date in one transaction; False if another program was faster."""

        def work(connection: Connection) -> bool:
            with unless(postgres_errors.COLLISION), connection.transaction():
                self._migrate_within(connection, version)
                return True
            return False

        return self._connections.run(
            postgres_errors.CREATE_TABLES, work, deadline=deadline, privileges=("CREATE",)
        )

    def _migrate_within(self, connection: Connection, version: int | None) -> None:
        def execute(statement: str, **parameters: object) -> list[Row]:
            query = in_schema(statement, self._target.schema)
            # Without parameters psycopg accepts several statements at once.
            cursor = connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

        execute(postgres_sql.LIMIT_LOCK_WAIT, lock_timeout=self._lock_timeout)
        if version is not None:
            execute(postgres_sql.LOCK_VERSION)
            version = execute(postgres_sql.READ_VERSION)[0][0]
        elif not execute(postgres_sql.SCHEMA_EXISTS, schema=self._target.schema):
            execute(postgres_sql.CREATE_SCHEMA)
        for migration in postgres_sql.MIGRATIONS[version or 0 :]:
            execute(migration)
        execute(postgres_sql.WRITE_VERSION, version=len(postgres_sql.MIGRATIONS))

    @property
    def _lock_timeout(self) -> str:
        """Shorter than the time limit, so that the server gives up before the watchdog hangs up."""
        return f"{int(self._patience * 800)}ms"
