"""Creates and migrates the tables that states, fleet histories and paces share.

Several programs may do that at the same time. Each tries its migration in one transaction, and looks
at the version again if another was faster.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from reconciler.state.remote.postgres import errors as postgres_errors
from reconciler.state.remote.postgres import sql as postgres_sql
from reconciler.state.remote.postgres.address import PostgresAddress
from reconciler.state.remote.postgres.connections import ATTEMPTS, Connections, unless
from reconciler.state.remote.postgres.sql import in_schema

if TYPE_CHECKING:
    from reconciler.state.remote.postgres.connections import Connection

LOG = logging.getLogger("reconciler.state")

Row = tuple[Any, ...]


def prepare_tables(connections: Connections, address: PostgresAddress) -> None:
    """Bring the tables of a schema to this version. Raises StateError.

    Older tables that can hold a state are used unchanged if the role may not alter them.
    """
    deadline = connections.deadline()
    for _ in range(ATTEMPTS):
        version = _read_version(connections, address, deadline)
        if version == len(postgres_sql.MIGRATIONS):
            return
        try:
            if _migrate(connections, address, version, deadline):
                return
        except postgres_errors.MissingPermissionError as error:
            if version is None or version < postgres_sql.NEEDED_VERSION:
                raise
            LOG.info("The tables keep their version %d: %s.", version, error)
            return
    raise postgres_errors.incomplete_error(address)


def _read_version(
    connections: Connections, address: PostgresAddress, deadline: float
) -> int | None:
    """The version of the tables; None if there are none. Raises StateError for a newer version."""
    query = in_schema(postgres_sql.READ_VERSION, address.schema)

    def work(connection: Connection) -> list[Row]:
        with unless(postgres_errors.NO_TABLES):
            return connection.execute(query).fetchall()
        return []

    rows = connections.run("read the version of the tables", work, deadline=deadline)
    if not rows:
        return None
    version: int = rows[0][0]
    if version > len(postgres_sql.MIGRATIONS):
        raise postgres_errors.newer_error(address, version, len(postgres_sql.MIGRATIONS))
    return version


def _migrate(
    connections: Connections, address: PostgresAddress, version: int | None, deadline: float
) -> bool:
    """Migrate the tables in one transaction; False if another program was faster."""

    def work(connection: Connection) -> bool:
        with unless(postgres_errors.COLLISION), connection.transaction():
            _migrate_within(connection, address.schema, version, connections.lock_timeout)
            return True
        return False

    return connections.run(
        postgres_errors.CREATE_TABLES, work, deadline=deadline, privileges=("CREATE",)
    )


def _migrate_within(
    connection: Connection, schema: str, version: int | None, lock_timeout: str
) -> None:
    def execute(statement: str, **parameters: object) -> list[Row]:
        # Without parameters psycopg accepts several statements at once.
        cursor = connection.execute(in_schema(statement, schema), parameters or None)
        return cursor.fetchall() if cursor.description else []

    execute(postgres_sql.LIMIT_LOCK_WAIT, lock_timeout=lock_timeout)
    if version is not None:
        # Read again under the lock: another program may have migrated while we waited for it.
        execute(postgres_sql.LOCK_VERSION)
        version = execute(postgres_sql.READ_VERSION)[0][0]
    elif not execute(postgres_sql.SCHEMA_EXISTS, schema=schema):
        execute(postgres_sql.CREATE_SCHEMA)
    for migration in postgres_sql.MIGRATIONS[version or 0 :]:
        execute(migration)
    execute(postgres_sql.WRITE_VERSION, version=len(postgres_sql.MIGRATIONS))
