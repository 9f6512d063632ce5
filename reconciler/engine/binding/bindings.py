"""The result of binding: a resource with its object, and the evidence for it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from reconciler.model.address import Address
from reconciler.model.resource import LiveObject, Record


class BindingSource(StrEnum):
    """How a resource was bound to its object."""

    NOT = "not found"
    STATE = "by the id in the state"
    MARK = "by our mark"
    JOURNAL = "by an unfinished create"
    NATURAL = "by natural key"
    ADOPTED = "because it is to be adopted"


class Binding(Struct, frozen=True):
    """A resource with its object and its record."""

    live: LiveObject | None = None
    source: BindingSource = BindingSource.NOT
    record: Record | None = None
    renamed_from: Address | None = None
    """The address under which the record is stored, if it differs from that of the resource."""
    ended: LiveObject | None = None
    """The recorded object, if it is still listed but has ended. It is not bound."""
    replacement: LiveObject | None = None
    """The object that an interrupted replacement created: the successor of `live`."""
    left: Address | None = None
    """The recorded address in another project from which the resource was renamed. Objects cannot
    move along."""


Match = tuple[LiveObject, BindingSource]
"""An object of a resource, and the evidence."""
