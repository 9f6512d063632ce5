"""Reads from an earlier live state instead of the API, for plans without a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.engine.refresh.recorded import StateReader
from reconciler.engine.scope import LiveState, Scope
from reconciler.model.address import Address
from reconciler.model.calls import Parent
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, Record


class ReplayingReader(StateReader):
    """Answers from earlier reads, and from records for lists that were not read.

    A list that was refused raises its error again.
    """

    def __init__(self, live: LiveState, records: Mapping[Address, Record]) -> None:
        super().__init__(records)
        self._live = live

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
        """The objects of a scope, as they were read or else as they were recorded."""
        del only_ids, fresh, is_optional
        scope = Scope(kind.name, project, parent)
        # The failure is an answer too: an empty list instead would make every object in it count as
        # deleted.
        if scope in self._live.failed:
            raise self._live.failed[scope]
        if scope not in self._live.listed:
            return super().list(kind, project, parent)
        # A copy, since a caller may keep the answer while the state of the snapshot is still
        # written.
        return [*self._live.listed[scope].values()]

    def get(
        self, kind: Kind, project: str | None, id: str, *, fresh: bool = False
    ) -> LiveObject | None:
        """The object with an id, as it was read or else as it was recorded."""
        del fresh
        if self._live.scope_of(kind.name, project, id) in self._live.listed:
            return self._live.find(kind.name, project, id)
        # Not through `list`, which raises for a refused list.
        recorded = super().list(kind, project, kind.parent_and_id(id)[0])
        return next((live for live in recorded if live.id == id), None)
