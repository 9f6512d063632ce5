"""What files of manifests came to, by their digest. Every function works inside the caller's
transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping


def find(connection: sqlite3.Connection, digest: str) -> bytes | None:
    """What is kept of a file; None where nothing is."""
    row = connection.execute("SELECT documents FROM parsed WHERE digest = ?", (digest,)).fetchone()
    return None if row is None or not isinstance(row[0], bytes) else row[0]


def digests(connection: sqlite3.Connection) -> Collection[str]:
    """The files of which anything is kept."""
    return {digest for (digest,) in connection.execute("SELECT digest FROM parsed")}


def keep(connection: sqlite3.Connection, files: Mapping[str, bytes]) -> None:
    """Keep these files, and no others."""
    known = digests(connection)
    connection.executemany(
        "DELETE FROM parsed WHERE digest = ?", [(one,) for one in known - files.keys()]
    )
    rows = [(one, documents) for one, documents in files.items() if one not in known]
    connection.executemany("INSERT INTO parsed VALUES (?, ?)", rows)
