"""Failures of Postgres as one sentence each, with a hint.

libpq gives no SQLSTATE for a failed connection, so the text of the server tells those apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.errors import StateError
from reconciler.state.remote.postgres.address import PostgresAddress
from reconciler.state.remote.storage import UnreachableError, UnusedStorageError

LOST_CONNECTION = re.compile(r"08...|57P0[123]")
"""SQLSTATEs after which the connection is gone: broken, or ended by a server that shuts down."""
CONFLICT = re.compile(r"40001|40P01")
"""Serialization failures and deadlocks: nothing was written, and the statement can run again."""
COLLISION = re.compile(r"23505|42P0[67]|42710|40001|40P01")
"""SQLSTATEs of the loser of two transactions that create the same schema and tables at once."""
CREATE_TABLES = "create the tables of states"
CLAIM = "claim the state"
NO_TABLES = re.compile(r"42P01|3F000")
TAKEN = re.compile(r"23505")
ANY = re.compile(r".*")
_READ_ONLY = "25006"
_CANNOT_SERVE = re.compile(r"53...|55P03|57014|40...|58...")


class MissingPermissionError(StateError):
    """The role lacks a permission. A new attempt would not help."""


def connection_error(address: PostgresAddress, words: str, *, seconds: float) -> StateError:
    """The error of a failed attempt to connect. `words` is the text of libpq or of the server."""
    for pattern, sentence, hint, may_pass in _CONNECTION_ERRORS:
        if re.search(pattern, words):
            kind = UnreachableError if may_pass else StateError
            values = {
                "address": address.shown,
                "database": address.database,
                "seconds": f"{seconds:.2g}",
            }
            return kind(sentence.format(**values), hint=hint.format(**values))
    return UnreachableError(
        f"cannot connect to {address.shown}: {_first_line(address.redact(words))}",
        hint="check the address and the server, then run the command again",
    )


_CONNECTION_ERRORS: Sequence[tuple[str, str, str, bool]] = (
    (
        r"resolve host|translate host name",
        "the host name in {address} cannot be resolved",
        "check the spelling of the host, and the DNS of this machine",
        True,
    ),
    (
        r"[Cc]onnection refused|No such file or directory",
        "nothing answers at {address}: the connection was refused",
        "check host and port, and that the server runs and listens there",
        True,
    ),
    (
        r"timeout expired|timed out",
        "{address} did not answer within {seconds} seconds",
        "check host and port, and that no firewall drops the connection",
        True,
    ),
    (
        r'database ".*" does not exist|no such database',
        "there is no database {database!r} at {address}",
        'check the name, or create the database: CREATE DATABASE "{database}";',
        False,
    ),
    (
        r"no password supplied",
        "{address} asks for a password, and the address has none",
        "put the password into the address, or set PGPASSWORD or PGPASSFILE",
        False,
    ),
    (
        r"pg_hba\.conf",
        "{address} admits no connection of this user from this machine",
        "add sslmode=require to the address if the server wants TLS, or a line to its pg_hba.conf",
        False,
    ),
    (
        r'authentication failed|no such user|role ".*" does not exist|SASL',
        "{address} does not accept the user name or the password",
        "check both in the address; special characters in the password are written as %40 for @",
        False,
    ),
    (
        r"permission denied for database",
        "the user may not connect to the database of {address}",
        'as its owner: GRANT CONNECT ON DATABASE "{database}" TO the user',
        False,
    ),
    (
        r"too many connections|connection slots|no more connections",
        "{address} has no connection left",
        "wait for other clients to end, raise max_connections, or connect through PgBouncer",
        True,
    ),
    (
        r"starting up|shutting down|recovery mode|not accept|server login has been failing",
        "the server at {address} is starting, stopping or recovering",
        "run the command again in a moment",
        True,
    ),
    (
        r"support SSL|SSL required|SSL error|certificate|sslmode",
        "no TLS connection to {address} could be set up",
        "check sslmode and sslrootcert in the address",
        False,
    ),
)
"""Pattern of the text, sentence, hint, and whether another attempt may help. The first match counts."""


def statement_error(
    address: PostgresAddress, operation: str, sqlstate: str, words: str
) -> StateError:
    """The error of a failed statement. `operation` completes "cannot …"."""
    if sqlstate == _READ_ONLY:
        # At its start, a run has the wrong address. Later, it may see the middle of a failover.
        kind = StateError if operation in (CREATE_TABLES, CLAIM) else UnreachableError
        return kind(
            f"cannot {operation}: the server at {address.shown} is read-only, such as a standby is",
            hint="use the address of the primary, or list all hosts, of which the primary is used: "
            "postgresql://user:password@one,two/database",
        )
    if NO_TABLES.fullmatch(sqlstate):
        return UnusedStorageError(
            f"cannot {operation}: the schema {address.schema!r} of {address.shown} "
            "lacks the tables of states",
            hint="create them: reconciler state migrate --print-sql",
        )
    if _CANNOT_SERVE.fullmatch(sqlstate):
        return UnreachableError(
            f"cannot {operation} in {address.shown} now: {_first_line(address.redact(words))}",
            hint="run the command again; if that repeats, see the log of the server",
        )
    return StateError(
        f"cannot {operation} in {address.shown}: {_first_line(address.redact(words))} "
        f"(SQLSTATE {sqlstate})",
        hint="see the log of the server",
    )


def permission_error(
    address: PostgresAddress, operation: str, words: str, missing: Sequence[tuple[str, str, str]]
) -> MissingPermissionError:
    """A permission is missing: `missing` has the role, privileges and the object of each."""
    grants = []
    for role, privileges, target in missing:
        grants.append(f'GRANT {privileges} ON {target} TO "{role}";')
    if operation == CREATE_TABLES or not grants:
        grants.append("For all that is needed: reconciler state migrate --print-sql")
    return MissingPermissionError(
        f"cannot {operation} in {address.shown}: {_first_line(address.redact(words))}",
        hint=" ".join(grants),
    )


def silent_error(address: PostgresAddress, operation: str, seconds: float) -> UnreachableError:
    """The server did not answer in time. Whether it did what was asked is unknown."""
    return UnreachableError(
        f"cannot {operation}: {address.shown} did not answer within {seconds:.2g} seconds",
        hint="check the server and the network, then run the command again",
    )


def lost_error(
    address: PostgresAddress, operation: str, sqlstate: str, words: str, *, seconds: float
) -> StateError:
    """The connection broke; the server, or a pooler in front of it, may have said why."""
    known = connection_error(address, words, seconds=seconds) if sqlstate else None
    if known is not None and not isinstance(known, UnreachableError):
        return known
    return UnreachableError(
        f"cannot {operation}: {address.shown} closed the connection "
        f"({_first_line(address.redact(words))})",
        hint="check the server and the network, then run the command again",
    )


def incomplete_error(address: PostgresAddress) -> StateError:
    """Some tables exist, and they are not those of a version."""
    return StateError(
        f"the schema {address.schema!r} of {address.shown} has tables of states without a version",
        hint="drop what is left of an earlier attempt there, or name another ?schema=",
    )


def newer_error(address: PostgresAddress, version: int, known: int) -> StateError:
    """The tables were made by a later version of the program."""
    return StateError(
        f"the tables in the schema {address.schema!r} of {address.shown} have version {version}, "
        f"and this version of reconciler knows version {known}",
        hint="Use a newer version of reconciler.",
    )


def old_server_error(address: PostgresAddress) -> StateError:
    """The server lacks what the statements need."""
    return StateError(
        f"the server at {address.shown} is older than PostgreSQL 12",
        hint="upgrade the server, or keep the state elsewhere",
    )


def missing_extra() -> StateError:
    """psycopg is not installed."""
    return StateError(
        "a state in Postgres needs psycopg, which is not installed",
        hint="Install reconciler with its extra `postgres`.",
    )


def _first_line(words: str) -> str:
    return words.strip().partition("\n")[0]
