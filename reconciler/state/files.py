"""Opens a state file so that neither a kill, a power cut nor a reader can damage it.

Readers get a copy in memory: the file is locked for milliseconds only, an older version is migrated
in the copy, and nothing is written beside the file.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from reconciler.errors import StateError
from reconciler.state import schema
from reconciler.state.database import BUSY_SECONDS, Database, translated

_COPY_ATTEMPTS = 20


def open_file(path: Path) -> Database:
    """Open for writing; creates the folder (0700) and the file (0600). Raises StateError."""
    with translated(str(path)):
        connection = open_private(path)
        try:
            schema.is_current(connection)
        except BaseException:
            connection.close()
            raise
    return Database(connection, str(path))


def open_private(path: Path) -> sqlite3.Connection:
    """A connection whose commits survive a power cut. Raises OSError and sqlite3.Error."""
    _make_folder(path.parent)
    _make_private(path)
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        # Views and triggers of a file from elsewhere must not call functions with side effects.
        connection.execute("PRAGMA trusted_schema = OFF")
        # A rollback journal instead of WAL: a closed state is a single file that can be copied,
        # readers need no file beside it, and it works on file systems without shared memory.
        connection.execute("PRAGMA journal_mode = DELETE")
        # FULL plus a sync of the folder after each commit. Without it, a power cut can bring back
        # the journal of a committed transaction, and the next open would roll that back.
        connection.execute("PRAGMA synchronous = EXTRA")
    except BaseException:
        connection.close()
        raise
    return connection


def open_copy(path: Path) -> Database:
    """A copy of the file in memory, empty if there is no file. Writes nothing. Raises StateError."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        with translated(str(path)):
            if path.exists():
                _copy_into(memory, path)
            schema.is_current(memory)
    except BaseException:
        memory.close()
        raise
    return Database(memory, str(path))


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    # The backend may be a folder of the user, which git must not ignore. Only a folder without
    # other content is ours. A kill between creating and writing the file leaves it empty.
    others = any(entry.name != ignore.name for entry in folder.iterdir())
    if not others and (not ignore.exists() or ignore.stat().st_size == 0):
        ignore.write_text("*\n", encoding="utf-8")


def _make_private(path: Path) -> None:
    # SQLite would create the file with the mode of the umask, readable by others until a chmod. The
    # journals that it creates take their mode from this file. Links are not followed, because a
    # pull request may contain one to another file.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            path.chmod(0o600)
    finally:
        os.close(descriptor)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Without this, a power cut can remove the name of the new file. Not every system can sync a
    # folder.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _copy_into(memory: sqlite3.Connection, path: Path) -> None:
    try:
        _back_up(path, memory, query="?mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        _copy_interrupted(memory, path)


def _back_up(path: Path, memory: sqlite3.Connection, *, query: str) -> None:
    uri = path.absolute().as_uri() + query
    with closing(
        sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    ) as source:
        # A read transaction obeys the time-out. `backup` alone would wait for a busy file forever.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(memory)


def _copy_interrupted(memory: sqlite3.Connection, path: Path) -> None:
    # A writer was killed during a commit. Its pages are rolled back in a private copy and not in the
    # file, which is left to the next writer. If a writer appears during the copy, the times of the
    # files change and the copy is made again.
    import shutil  # imported late: both load every compression library
    import tempfile

    for _ in range(_COPY_ATTEMPTS):
        with tempfile.TemporaryDirectory(prefix="reconciler-") as folder:
            before = _fingerprint(path)
            for file in (path, _journal_of(path)):
                with suppress(FileNotFoundError):
                    shutil.copyfile(file, Path(folder, file.name))
            if _fingerprint(path) == before:
                _back_up(Path(folder, path.name), memory, query="?mode=rw")
                return
    raise StateError(
        f"the state {path} keeps changing while it is read", hint="wait for the other run to end"
    )


def _journal_of(path: Path) -> Path:
    return path.with_name(path.name + "-journal")


def _fingerprint(path: Path) -> list[tuple[int, int, int] | None]:
    fingerprint: list[tuple[int, int, int] | None] = []
    for file in (path, _journal_of(path)):
        try:
            status = file.stat()
            fingerprint.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            fingerprint.append(None)
    return fingerprint
