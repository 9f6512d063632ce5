"""Vaults: named sets of credentials that agents work with (beta). What is in them is `Credential`."""

from __future__ import annotations

from reconciler.kinds.parts import metadata
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import Text

NAME = Text(min_length=1, max_length=256, pattern=r"\S", fold=str.strip)
"""What people see, in at most 256 bytes of UTF-8; the API takes off the blanks around it."""

KIND = Kind(
    name="Vault",
    doc="A set of credentials for the servers and environments of agents (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/vaults",
    natural_key=("name",),
    list_query={"status": "active"},
    mark="metadata",
    beta="agents=v1",
    destroys="every credential in it goes with it",
    fields=(
        Field("name", NAME, "The name people see, at most 256 bytes.", default=None, nullable=True),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, reset={}),
    ),
    example="""\
kind: Vault
metadata:
  name: tools
spec:
  name: Tools of the agents
  metadata: {team: cx}
""",
)
