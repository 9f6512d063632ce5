"""States in PostgreSQL 12 or later, also behind PgBouncer in transaction mode.

Nothing here depends on a session: each operation is one statement (see `sql`) in autocommit,
without prepared statements, advisory locks or settings that outlive a transaction. So a connection
may break at any time, and the operation continues with a new one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reconciler.errors import StateError
from reconciler.state.remote.postgres import address as postgres_address
from reconciler.state.remote.postgres import errors as postgres_errors
from reconciler.state.remote.postgres import sql as postgres_sql
from reconciler.state.remote.postgres.connections import Connections, unless
from reconciler.state.remote.postgres.sql import in_schema, print_sql
from reconciler.state.remote.postgres.tables import prepare_tables
from reconciler.state.remote.proof import prove
from reconciler.state.remote.storage import FencedError, StorageFinding, StoredBody, Tail

if TYPE_CHECKING:
    from reconciler.state.remote.postgres.connections import Connection

__all__ = ["PATIENCE", "PostgresStorage", "print_sql"]

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
        """Create or migrate the tables; see `tables.prepare_tables`."""
        prepare_tables(self._connections, self._target)

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
            "lock_timeout": self._connections.lock_timeout,
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
