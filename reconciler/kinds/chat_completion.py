"""Stored chat completions: what calls with `store: true` leave behind.

They are answers and no things to declare, so no manifest has the kind; rules of retention remove them.
"""

from __future__ import annotations

from reconciler.kinds.parts import metadata
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="ChatCompletion",
    doc="A stored answer of a model.",
    scope=ScopeType.PROJECT_KEY,
    collection="/chat/completions",
    natural_key=(),
    destroys="the stored messages are deleted",
    fields=(
        Field("model", Text(), "The model that answered.", mutability=Mutability.REPLACES),
        Field("metadata", metadata(), "What the caller noted.", default={}, nullable=True),
    ),
    example="",
)
