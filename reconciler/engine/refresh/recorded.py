"""Reads from the state instead of the API, for plans without a refresh.

Every object counts as we left it, so such a plan shows the changes of the manifests and no drift.
It is a preview and cannot be applied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.model.address import Address
from reconciler.model.calls import Parent
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, Record, without_seen


class StateReader:
    """A reader that answers from records and makes no call."""

    calls = 0

    def __init__(self, records: Mapping[Address, Record]) -> None:
        # By scope once, because every scope of a large state is asked for.
        self._scopes: dict[tuple[str, str | None], list[Record]] = defaultdict(list)
        for address, record in records.items():
            self._scopes[address.kind, address.project].append(record)

    def bind_project(self, name: str, project_id: str) -> None:
        """Do nothing: records are found by the project's name."""

    def can_read(self, _kind: Kind, _project: str | None) -> bool:
        """Always: the state needs no key."""
        return True

    def announce(self, *_: Any, **__: Any) -> None:
        """Do nothing: no call is made."""

    def list(
        self,
        kind: Kind,
        project: str | None,
        parent: Parent = (),
        *,
        only_ids: frozenset[str] | None = None,
        fresh: bool = False,
        is_optional: bool = False,
    ) -> Sequence[LiveObject]:
        """The recorded objects of a kind in a project and parent. They cost no calls, so none is
        left out."""
        del only_ids, fresh, is_optional
        records = self._scopes.get((kind.name, project), ())
        return [_as_live(kind, record) for record in records if _parent(kind, record.id) == parent]

    def get(
        self, kind: Kind, project: str | None, id: str, *, fresh: bool = False
    ) -> LiveObject | None:
        """The recorded object with an id."""
        del fresh
        listed = self.list(kind, project, _parent(kind, id))
        return next((live for live in listed if live.id == id), None)

    def read_own_calls(self, live: LiveObject, _names: Iterable[str]) -> LiveObject:
        """The object itself: its fields with calls of their own are in the record."""
        return live


def _parent(kind: Kind, id: str) -> Parent:
    parent, _ = kind.parent_and_id(id)
    return parent


def _as_live(kind: Kind, record: Record) -> LiveObject:
    # A field with calls of its own is no attribute of an answer, so it is kept apart here too.
    own_calls: dict[str, Any] = {}
    for field in kind.own_calls:
        if field.name in record.applied:
            own_calls[field.name] = record.applied[field.name]
    # The answers come last: where the API stored another value than was sent, a live object would
    # show the stored one.
    attributes = {**record.applied, **without_seen(record.answered)}
    return LiveObject(kind, record.id, attributes, record.address.project, own_calls)
