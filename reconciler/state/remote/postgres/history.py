"""The history of a fleet in the Postgres database that holds its states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.state.fleet_history import Change
from reconciler.state.remote.postgres import address as postgres_address
from reconciler.state.remote.postgres import errors as postgres_errors
from reconciler.state.remote.postgres import history_sql
from reconciler.state.remote.postgres.connections import Connections, unless
from reconciler.state.remote.postgres.sql import in_schema
from reconciler.state.remote.postgres.storage import PATIENCE
from reconciler.state.remote.postgres.tables import prepare_tables

if TYPE_CHECKING:
    from reconciler.state.remote.postgres.connections import Connection

Row = tuple[Any, ...]
_WRITE = ("SELECT", "INSERT", "UPDATE")


class PostgresHistory:
    """Implements `HistoryStorage`: a row for each stack."""

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        """Nothing is connected yet. Raises StateError for an address that cannot be understood."""
        self._target = postgres_address.parse(url)
        self._connections = Connections(self._target, patience)
        self._is_prepared = False

    @property
    def address(self) -> str:
        """The database, without credentials."""
        return self._target.shown

    def update(self, stack: str, environment: str, change: Change) -> None:
        """Change a row in one transaction, which locks it."""
        self._prepare()
        names = {"stack": stack, "environment": environment}

        def work(connection: Connection) -> None:
            with connection.transaction():
                self._execute(connection, history_sql.ENSURE_HISTORY, names)
                [(body,)] = self._execute(connection, history_sql.LOCK_HISTORY, names)
                values = {**names, "body": change(body or None)}
                self._execute(connection, history_sql.WRITE_HISTORY, values)

        self._connections.run(
            "write the history of the fleet",
            work,
            deadline=self._connections.deadline(),
            privileges=_WRITE,
        )

    def read_all(self) -> Iterator[bytes]:
        """All documents; none if the database has no such table yet."""

        def work(connection: Connection) -> Sequence[Row]:
            with unless(postgres_errors.NO_TABLES):
                return self._execute(connection, history_sql.READ_HISTORIES, {})
            return []

        rows = self._connections.run(
            "read the history of the fleet", work, deadline=self._connections.deadline()
        )
        for (body,) in rows:
            yield bytes(body)

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()

    def _prepare(self) -> None:
        """Create the tables once; states share them."""
        if not self._is_prepared:
            prepare_tables(self._connections, self._target)
            self._is_prepared = True

    def _execute(
        self, connection: Connection, statement: str, values: dict[str, Any]
    ) -> Sequence[Row]:
        query = in_schema(statement, self._target.schema)
        cursor = connection.execute(query, values or None, binary=True)
        return cursor.fetchall() if cursor.description else []
