"""An object that exists, with the declaration that describes it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from reconciler.model.address import Address
from reconciler.model.values import Spec


class ExportedResource(Struct, frozen=True):
    """One object as it will be declared."""

    address: Address
    id: str
    """The id of the object, in the form that a record of the state has."""
    spec: Spec
    """Field values in the API's names. Ids of other exported objects are `Reference`s, long texts may be plain."""
    project_id: str | None = None
    """The id of the project that the object belongs to."""
    comments: Mapping[str, str] = field(default_factory=dict)
    """A comment for a field, by its name; the comment of "" stands above the document."""
    prevent_destroy: bool = False
