"""The tables of states in Postgres, and every statement that reads or writes them.

Each write is one statement: it takes the row of the state only if the epoch (the fencing token) and
the head are as expected, and writes only if it got the row. A run that was replaced gets no row
back and has written nothing. One statement is also one transaction, so this works behind PgBouncer in
transaction mode, where nothing of a session survives.
"""

# ruff: noqa: S608 — statements are composed of parts of this module, and of a checked schema name

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from reconciler.errors import StateError
from reconciler.state.remote.postgres.history_sql import HISTORY_GRANTS, HISTORY_MIGRATION
from reconciler.state.remote.postgres.pace_sql import PACE_GRANTS, PACE_MIGRATION

DEFAULT_SCHEMA = "reconciler"

_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

MIGRATIONS: Sequence[str] = (
    """\
CREATE TABLE SCHEMA.schema_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL
);

-- One row per state. A writer must present the epoch of the last claim and the last number.
CREATE TABLE SCHEMA.states (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stack text NOT NULL,
    environment text NOT NULL,
    head bigint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0,
    renewals bigint NOT NULL DEFAULT 0,
    renewed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (stack, environment)
);

-- The log. Bodies are compressed or encrypted already, so the server need not try to.
CREATE TABLE SCHEMA.segments (
    state bigint NOT NULL REFERENCES SCHEMA.states ON DELETE CASCADE,
    number bigint NOT NULL,
    epoch bigint NOT NULL,
    body bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (state, number)
);
ALTER TABLE SCHEMA.segments ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE SCHEMA.snapshots (
    state bigint NOT NULL REFERENCES SCHEMA.states ON DELETE CASCADE,
    number bigint NOT NULL,
    epoch bigint NOT NULL,
    body bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (state, number)
);
ALTER TABLE SCHEMA.snapshots ALTER COLUMN body SET STORAGE EXTERNAL;
""",
    HISTORY_MIGRATION,
    PACE_MIGRATION,
)
"""The migrations; index n migrates from version n to n + 1. Released entries never change."""

NEEDED_VERSION = 1
"""The oldest version of the tables that can hold a state. Later additions are optional."""

GRANTS = f"""\
GRANT USAGE ON SCHEMA SCHEMA TO ROLE;
GRANT SELECT ON SCHEMA.schema_version TO ROLE;
GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA.states, SCHEMA.segments, SCHEMA.snapshots TO ROLE;
{HISTORY_GRANTS}{PACE_GRANTS}"""
"""The grants for a role that applies, without the right to create or alter anything."""

READ_GRANTS = f"""\
GRANT USAGE ON SCHEMA SCHEMA TO ROLE;
GRANT SELECT ON SCHEMA.schema_version, SCHEMA.states, SCHEMA.segments, SCHEMA.snapshots TO ROLE;
{HISTORY_GRANTS}{PACE_GRANTS}"""
"""The grants for a role that only reads: plan, drift and show."""

CREATE_SCHEMA = "CREATE SCHEMA SCHEMA"

SCHEMA_EXISTS = "SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s"

READ_VERSION = "SELECT version FROM SCHEMA.schema_version"

LOCK_VERSION = "LOCK TABLE SCHEMA.schema_version IN EXCLUSIVE MODE"

WRITE_VERSION = """
INSERT INTO SCHEMA.schema_version (version) VALUES (%(version)s)
ON CONFLICT (only_row) DO UPDATE SET version = excluded.version
"""

LIMIT_LOCK_WAIT = "SELECT set_config('lock_timeout', %(lock_timeout)s, true)"

# These settings last for the transaction of the statement. Joining `settings` applies them before
# the row is locked. A database can have `synchronous_commit = off` as its default: a crash of the
# server could then lose a segment that it had accepted, and two runs could take one number.
_SETTINGS = """
WITH settings AS MATERIALIZED (
    SELECT
        set_config('lock_timeout', %(lock_timeout)s, true),
        set_config(
            'synchronous_commit',
            replace(current_setting('synchronous_commit'), 'off', 'on'),
            true
        )
),"""

# Locks the row until the snapshot or the trim is done, so that a claim waits for it. NO KEY, because
# inserts of rows that refer to the state must not wait.
_LEASE = """
lease AS (
    SELECT states.id FROM SCHEMA.states, settings
    WHERE stack = %(stack)s AND environment = %(environment)s AND epoch = %(epoch)s::bigint
    FOR NO KEY UPDATE OF states
)"""

_INSERT_SEGMENT = """
INSERT INTO SCHEMA.segments (state, number, epoch, body)
SELECT id, %(number)s::bigint, %(epoch)s::bigint, %(body)b FROM lease
RETURNING number
"""

# Checked before the insert: ON CONFLICT alone would use up a number of the identity column with
# each claim.
ENSURE_STATE = """
INSERT INTO SCHEMA.states (stack, environment)
SELECT %(stack)s, %(environment)s WHERE NOT EXISTS (
    SELECT 1 FROM SCHEMA.states WHERE stack = %(stack)s AND environment = %(environment)s
)
ON CONFLICT (stack, environment) DO NOTHING
"""

# `renewals` is compared too: a sign of life that came after the claimant's read defeats the claim.
CLAIM = f"""{_SETTINGS}
lease AS (
    UPDATE SCHEMA.states
    SET head = %(number)s::bigint, epoch = %(epoch)s::bigint, renewed_at = clock_timestamp()
    FROM settings
    WHERE stack = %(stack)s AND environment = %(environment)s
        AND epoch = %(epoch)s::bigint - 1
        AND head = %(number)s::bigint - 1
        AND renewals = %(renewals)s::bigint
    RETURNING id
){_INSERT_SEGMENT}"""

# The head decides before the primary key of the segments does, so that a refused run gets no row and
# no error.
APPEND = f"""{_SETTINGS}
lease AS (
    UPDATE SCHEMA.states
    SET head = %(number)s::bigint, renewed_at = clock_timestamp()
    FROM settings
    WHERE stack = %(stack)s AND environment = %(environment)s
        AND epoch = %(epoch)s::bigint
        AND head = %(number)s::bigint - 1
    RETURNING id
){_INSERT_SEGMENT}"""

# Tells an own append whose answer was lost from one of another run.
LOOK = """
SELECT states.epoch, states.head, sha256(segments.body)
FROM SCHEMA.states LEFT JOIN SCHEMA.segments ON state = states.id AND number = %(number)s::bigint
WHERE stack = %(stack)s AND environment = %(environment)s
"""

RENEW = f"""{_SETTINGS.rstrip(",")}
UPDATE SCHEMA.states
SET renewals = renewals + 1, renewed_at = clock_timestamp()
FROM settings
WHERE stack = %(stack)s AND environment = %(environment)s AND epoch = %(epoch)s::bigint
RETURNING renewals
"""

PUT_SNAPSHOT = f"""{_SETTINGS}{_LEASE}
INSERT INTO SCHEMA.snapshots (state, number, epoch, body)
SELECT id, %(number)s::bigint, %(epoch)s::bigint, %(body)b FROM lease
ON CONFLICT (state, number) DO UPDATE
SET body = excluded.body, epoch = excluded.epoch, written_at = clock_timestamp()
RETURNING number
"""

# Removes nothing that no snapshot covers, whatever the caller asks.
TRIM = f"""{_SETTINGS}{_LEASE},
covered AS (
    SELECT id FROM lease WHERE EXISTS (
        SELECT 1 FROM SCHEMA.snapshots WHERE state = id AND number >= %(through)s::bigint
    )
),
old_segments AS (
    DELETE FROM SCHEMA.segments USING covered
    WHERE state = id AND number <= %(through)s::bigint AND number <> ALL (%(keep)s::bigint[])
),
old_snapshots AS (
    DELETE FROM SCHEMA.snapshots USING covered WHERE state = id AND number < %(through)s::bigint
)
SELECT id FROM lease
"""

SNAPSHOT = """
SELECT number, body
FROM SCHEMA.snapshots JOIN SCHEMA.states ON state = states.id
WHERE stack = %(stack)s AND environment = %(environment)s
ORDER BY number DESC LIMIT 1
"""

TAIL = """
SELECT extract(epoch FROM renewed_at)::float8, renewals, number, body
FROM SCHEMA.states LEFT JOIN SCHEMA.segments ON state = states.id AND number > %(after)s::bigint
WHERE stack = %(stack)s AND environment = %(environment)s
ORDER BY number
"""

NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"

REMOVE_STATE = """
DELETE FROM SCHEMA.states WHERE stack = %(stack)s AND environment = %(environment)s
"""

MISSING_PRIVILEGES = """
SELECT current_user::text, string_agg(privilege, ', ' ORDER BY privilege), object
FROM (
    SELECT 'CREATE' AS privilege, 'DATABASE ' || quote_ident(current_database()) AS object
    WHERE 'CREATE' = ANY (%(privileges)s::text[])
        AND NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s)
        AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT 'CREATE', 'SCHEMA ' || nspname FROM pg_namespace
    WHERE 'CREATE' = ANY (%(privileges)s::text[])
        AND nspname = %(schema)s AND NOT has_schema_privilege(oid, 'CREATE')
    UNION ALL
    SELECT 'USAGE', 'SCHEMA ' || nspname FROM pg_namespace
    WHERE nspname = %(schema)s AND NOT has_schema_privilege(oid, 'USAGE')
    UNION ALL
    SELECT wanted, nspname || '.' || relname
    FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        CROSS JOIN unnest(array_remove(%(privileges)s::text[], 'CREATE')) AS wanted
    WHERE nspname = %(schema)s
        AND relname IN ('states', 'segments', 'snapshots', 'schema_version')
        AND (relname <> 'schema_version' OR wanted = 'SELECT')
        AND NOT has_table_privilege(pg_class.oid, wanted)
) AS missing
GROUP BY object ORDER BY object
"""


_PLACEHOLDER = re.compile(r"(?<=\bSCHEMA )SCHEMA\b|\bSCHEMA(?=\.)")
"""`SCHEMA` where it is a name: before a dot, and after the keyword `SCHEMA`."""


def checked_schema(name: str) -> str:
    """The name, if it needs no quotes in SQL. Raises StateError for any other."""
    if not _SCHEMA_NAME.fullmatch(name):
        raise StateError(
            f"the Postgres schema {name!r} is not a plain name",
            hint="use lower-case letters, digits and underscores, as in ?schema=reconciler",
        )
    return name


@cache
def in_schema(statement: str, schema: str) -> bytes:
    """A statement of this module for the tables of one schema."""
    return _PLACEHOLDER.sub(schema, statement).encode()


def print_sql(schema: str = DEFAULT_SCHEMA, *, role: str = "") -> str:
    """The SQL that a database administrator runs where reconciler may not create tables itself.

    With `role`, that role is granted what applying needs; without, the grants are comments.
    """
    checked_schema(schema)
    statements = [
        "-- The tables in which reconciler keeps shared states.",
        "-- Run this once, as the owner of the database.",
        "BEGIN;",
        f"CREATE SCHEMA IF NOT EXISTS {schema};",
        "",
    ]
    for version, migration in enumerate(MIGRATIONS, start=1):
        note = f", from here on for tables of version {version - 1}" if version > 1 else ""
        statements += [f"-- Version {version}{note}.", in_schema(migration, schema).decode()]
    statements += [
        f"INSERT INTO {schema}.schema_version (version) VALUES ({len(MIGRATIONS)})",
        "ON CONFLICT (only_row) DO UPDATE SET version = excluded.version;",
        "",
        "-- For a role that applies: it reads and writes rows, and cannot create or alter tables.",
        _grants(GRANTS, schema, role),
        "-- For a role that only plans, looks for drift and shows:",
        _grants(READ_GRANTS, schema, ""),
        "COMMIT;",
        "",
    ]
    return "\n".join(statements)


def _grants(grants: str, schema: str, role: str) -> str:
    quoted = '"' + role.replace('"', '""') + '"' if role else "your_role"
    text = in_schema(grants, schema).decode().replace("ROLE", quoted)
    if role:
        return text
    return re.sub("^(?=.)", "-- ", text, flags=re.MULTILINE)
