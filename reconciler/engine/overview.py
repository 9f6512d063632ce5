"""Overviews of an organization: every object that was read, and every list that was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from reconciler.engine.scope import Scope
from reconciler.model.change import Unmanaged
from reconciler.model.inventory import InventoryObject, ObjectRelation, UnreadList


class Survey(Struct, frozen=True):
    """The lists that were read for an overview alone."""

    scopes: frozenset[Scope] = frozenset()
    """The lists that neither a manifest nor a record needs."""
    unread: Mapping[Scope, str] = field(default_factory=dict)
    """The reason for each list that could not be read."""
    project_ids: Mapping[str, str] = field(default_factory=dict)
    """The API's id of each project, by the project's name in scopes."""
    settings: frozenset[Scope] = frozenset()
    """The scopes of settings that were not read. A setting always exists, once per scope."""
    project_names: Mapping[str, str] = field(default_factory=dict)
    """The names of projects that the configuration does not name, by their name in scopes."""


class Overview(Struct, frozen=True):
    """Every object that was read, and the unread lists, both in order of project and kind."""

    objects: Sequence[InventoryObject] = ()
    unread: Sequence[UnreadList] = ()

    @property
    def unmanaged(self) -> list[Unmanaged]:
        """The objects that neither a manifest nor the state knows, without ignored ones."""
        return [
            Unmanaged(entry.kind, entry.id, entry.label, entry.project)
            for entry in self.objects
            if entry.relation is ObjectRelation.UNMANAGED
        ]
