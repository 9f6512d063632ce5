"""The identity of a state: its lineage, and the server and organization of its objects.

The lineage is a random id that the first writer gives to a new file. Two files of one stack and
environment (a deleted state and its successor, the caches of two runners) have different
lineages, so their serials cannot be mistaken for each other.

A reader gives no lineage to a file, because it writes nothing. Until the first write, a new
state has the lineage "".
"""

from __future__ import annotations

import secrets
import sqlite3

from msgspec import Struct

from reconciler.model.organization import comparable


class Identity(Struct, frozen=True):
    """The lineage of a state, and the location of its objects. Unknown parts are empty.

    `server` is the base URL in its normal form. `organization` is what answers of the API named
    in their `openai-organization` header: an id or a short name, as the server chose.
    """

    lineage: str = ""
    server: str = ""
    organization: str = ""

    @property
    def place(self) -> str:
        """The organization and server in words."""
        if not self.organization:
            return self.server or "no server yet"
        organization = f"the organization {self.organization}"
        return f"{organization} at {self.server}" if self.server else organization

    def conflicts_with(self, other: Identity) -> bool:
        """Whether the objects of both certainly live in different places.

        One organization can be reached through several servers (a gateway, a regional address),
        so the organization decides where both are known in the same form. An id and a short name
        cannot be compared; then the servers decide.
        """
        if comparable(self.organization, other.organization):
            return self.organization != other.organization
        return bool(self.server and other.server) and self.server != other.server


def new_lineage() -> str:
    """A lineage that no other state has."""
    return secrets.token_hex(16)


def read(connection: sqlite3.Connection) -> Identity:
    """The identity that is recorded."""
    row = connection.execute("SELECT lineage, server, organization FROM identity").fetchone()
    return Identity(*row) if row else Identity()


def write(connection: sqlite3.Connection, identity: Identity) -> None:
    """Record an identity. The serial does not grow: no record changes."""
    connection.execute(
        "UPDATE identity SET lineage = ?, server = ?, organization = ?",
        (identity.lineage, identity.server, identity.organization),
    )
