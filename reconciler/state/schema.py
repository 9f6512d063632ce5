"""The tables, and the migrations from databases of earlier versions.

A version is a number in the file's header. Each migration takes the database from one version to
the next; they run in one transaction, so that a kill leaves the old version whole. A migration that
has been released is never edited.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence

from reconciler import __version__
from reconciler.errors import StateError
from reconciler.state.rows import plain

Migration = Callable[[sqlite3.Connection], None]

APPLICATION_ID = 0x52434E43
"""Marks an SQLite file as ours, so that another program's database is not taken for an empty state.
"""

_FIRST = """
CREATE TABLE identity (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    stack TEXT NOT NULL,
    environment TEXT NOT NULL,
    serial INTEGER NOT NULL
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE resources (
    address TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    project_id TEXT,
    applied TEXT NOT NULL,
    answered TEXT NOT NULL,
    overwritten TEXT NOT NULL,
    delivered TEXT NOT NULL,
    prevent_destroy INTEGER NOT NULL,
    on_remove TEXT,
    deposed TEXT NOT NULL
);
CREATE TABLE dependencies (
    address TEXT NOT NULL,
    position INTEGER NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (address, position)
) WITHOUT ROWID;
CREATE INDEX dependencies_by_target ON dependencies (target);
CREATE TABLE outputs (position INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value TEXT NOT NULL);
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    change INTEGER, -- null for a change itself, its number for a step inside it
    run INTEGER NOT NULL,
    address TEXT NOT NULL,
    name TEXT NOT NULL,
    intent TEXT NOT NULL,
    status TEXT NOT NULL,
    id TEXT,
    result TEXT NOT NULL DEFAULT '{}',
    message TEXT NOT NULL DEFAULT '',
    began_at REAL NOT NULL,
    ended_at REAL
);
CREATE INDEX journal_by_change ON journal (change);
CREATE INDEX journal_by_address ON journal (address, name);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    command TEXT NOT NULL,
    user TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    plan_digest TEXT NOT NULL,
    began_at REAL NOT NULL,
    ended_at REAL,
    status TEXT,
    counts TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE pre_images (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    id TEXT,
    before TEXT NOT NULL,
    record TEXT
);
CREATE INDEX pre_images_by_run ON pre_images (run);
CREATE TABLE lock (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    token TEXT NOT NULL,
    holder TEXT NOT NULL
)
"""


def _first(connection: sqlite3.Connection) -> None:
    # One by one, because `executescript` would commit the transaction of the migration.
    for statement in _FIRST.split(";\n"):
        connection.execute(statement)


def _second(connection: sqlite3.Connection) -> None:
    # A rollback needs the reason of a change, and whether it went through.
    connection.execute("ALTER TABLE pre_images ADD COLUMN reason TEXT NOT NULL DEFAULT ''")
    connection.execute("ALTER TABLE pre_images ADD COLUMN done INTEGER NOT NULL DEFAULT 0")


def _third(connection: sqlite3.Connection) -> None:
    # A cache of parsed manifests, of which any part may be missing.
    connection.execute("CREATE TABLE parsed (digest TEXT PRIMARY KEY, documents BLOB NOT NULL)")


def _fourth(connection: sqlite3.Connection) -> None:
    # Every id that an address was ever bound to tells a mark of ours from a copied one.
    connection.execute(
        "CREATE TABLE held (address TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (address, id))"
    )
    connection.execute("INSERT INTO held SELECT address, id FROM resources")
    # Earlier versions recorded the default of the kind as if the manifest had set it. For these
    # kinds the default was `retain`, so that a recorded `delete` was set by the manifest.
    retained = ("Project/%", "ProjectKey/%", "User/%", "FineTuningJob/%")
    others = " AND ".join("address NOT LIKE ?" for _ in retained)
    where = f"on_remove = 'delete' AND {others}"
    connection.execute(f"UPDATE resources SET on_remove = NULL WHERE {where}", retained)  # noqa: S608


def _fifth(connection: sqlite3.Connection) -> None:
    # A reader migrates only its own copy, so the result must be the same each time. An older state
    # therefore gets a digest of its first run as its lineage, not a random one.
    for name in ("lineage", "server", "organization"):
        connection.execute(f"ALTER TABLE identity ADD COLUMN {name} TEXT NOT NULL DEFAULT ''")
    row = connection.execute(
        "SELECT command, user, host, pid, plan_digest, began_at FROM runs ORDER BY id LIMIT 1"
    ).fetchone()
    if row is not None:
        lineage = hashlib.sha256(json.dumps(row).encode()).hexdigest()[:32]
        connection.execute("UPDATE identity SET lineage = ?", (lineage,))


def _sixth(connection: sqlite3.Connection) -> None:
    # The CI job that started a run. Older runs have only an account and a machine.
    connection.execute("ALTER TABLE runs ADD COLUMN origin TEXT NOT NULL DEFAULT '{}'")


def _seventh(connection: sqlite3.Connection) -> None:
    # Objects that were bound without a write get their mark with their first change.
    connection.execute("ALTER TABLE resources ADD COLUMN marked_later INTEGER NOT NULL DEFAULT 0")


MIGRATIONS: Sequence[Migration] = (
    _first,
    _second,
    _third,
    _fourth,
    _fifth,
    _sixth,
    _seventh,
)
VERSION = len(MIGRATIONS)
"""The version that this program writes."""


def is_current(
    connection: sqlite3.Connection, *, migrations: Sequence[Migration] = MIGRATIONS
) -> bool:
    """Whether the database needs no migration. Raises StateError for a newer one, and for another
    program's.
    """
    # The tables are read first: another process may be creating them right now, and it marks the
    # file as ours in the same transaction.
    has_tables = _has_tables(connection)
    version = _pragma(connection, "user_version")
    is_ours = _pragma(connection, "application_id") == APPLICATION_ID
    if has_tables and not is_ours:
        raise StateError(
            "it is an SQLite database of another program",
            hint="choose another folder for the state",
        )
    if version > len(migrations):
        raise StateError(
            f"it has version {version}, but this program ({__version__}) supports versions up to {len(migrations)}",
            hint=f"use reconciler {_written_by(connection)} or later",
        )
    return version == len(migrations)


def migrate(
    connection: sqlite3.Connection, *, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Bring the database to this version. Call it within a transaction that holds the write lock."""
    # Checked again under the lock: another process may have migrated while we waited for it.
    if is_current(connection, migrations=migrations):
        return
    for migration in migrations[_pragma(connection, "user_version") :]:
        migration(connection)
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES ('program', ?)", (__version__,)
    )


def name(connection: sqlite3.Connection, stack: str, environment: str) -> None:
    """Write the names of stack and environment into a new database; a named one keeps its names."""
    connection.execute(
        "INSERT OR IGNORE INTO identity (only_row, stack, environment, serial) VALUES (1, ?, ?, 0)",
        (plain(stack), plain(environment)),
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def _written_by(connection: sqlite3.Connection) -> str:
    # Every later version keeps this table, so that an older program can name the newer one.
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = 'program'").fetchone()
    except sqlite3.OperationalError:
        return "of a newer version"
    return str(row[0]) if row else "of a newer version"
