"""A cache of parsed manifest files, by the digest of their content.

Any part of it may be missing: a file that is not in the cache is parsed again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from reconciler.state.database import Transactions


class ParseCache:
    """The parsed files of the last apply. Methods raise StateError."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def find(self, digest: str) -> bytes | None:
        """The parsed documents of a file; None if the cache does not have it."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT documents FROM parsed WHERE digest = ?", (digest,)
            ).fetchone()
        # A column of SQLite can hold any type, and the file may have been edited.
        return None if row is None or not isinstance(row[0], bytes) else row[0]

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Make these files, by digest, the whole content of the cache."""
        # Most applies change no manifest. A write costs a sync of the disk, or a segment of a
        # shared state; this read costs neither.
        with self._database.read() as connection:
            if _digests(connection) == files.keys():
                return
        with self._database.write() as connection:
            known = _digests(connection)
            dropped = [(digest,) for digest in known - files.keys()]
            connection.executemany("DELETE FROM parsed WHERE digest = ?", dropped)
            added = [(digest, files[digest]) for digest in files.keys() - known]
            connection.executemany("INSERT INTO parsed VALUES (?, ?)", added)


def _digests(connection: sqlite3.Connection) -> Collection[str]:
    return {digest for (digest,) in connection.execute("SELECT digest FROM parsed")}
