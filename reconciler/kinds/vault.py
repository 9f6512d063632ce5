"""Vaults: named sets of credentials for agents (beta). Kind `Credential` declares their contents."""

from __future__ import annotations

from reconciler.kinds.parts import metadata
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import Text

NAME = Text(min_length=1, max_length=256, pattern=r"\S", fold=str.strip)
"""A display name of at most 256 bytes of UTF-8; the API strips surrounding whitespace."""

KIND = Kind(
    name="Vault",
    doc="A set of credentials for agents' servers and environments (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/vaults",
    natural_key=("name",),
    # Lists can also have vaults that are no longer active.
    list_query={"status": "active"},
    mark="metadata",
    beta="agents=v1",
    destroys="every credential in it is deleted",
    fields=(
        Field("name", NAME, "The display name, at most 256 bytes.", default=None, nullable=True),
        Field(
            "metadata",
            metadata(),
            "Up to 16 key-value pairs; reconciler uses one for its ownership mark.",
            default={},
            # An update replaces all metadata and keeps omitted metadata, so removal sends an empty
            # map.
            reset={},
        ),
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
