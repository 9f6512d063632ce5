"""Stored chat completions: responses to calls made with `store: true`.

Manifests cannot declare this kind; it exists so that retention rules can remove stored completions.
"""

from __future__ import annotations

from reconciler.kinds.parts import metadata
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="ChatCompletion",
    doc="A stored chat completion.",
    scope=ScopeType.PROJECT_KEY,
    collection="/chat/completions",
    natural_key=(),
    destroys="the stored messages are deleted",
    fields=(
        Field("model", Text(), "The model that answered.", mutability=Mutability.REPLACES),
        Field(
            "metadata", metadata(), "The metadata that the caller set.", default={}, nullable=True
        ),
    ),
    example="",
)
