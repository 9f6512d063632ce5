"""Live state that was read before, in place of the API: plans from it make no call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reconciler.engine.refresh.recorded import StateReader
from reconciler.engine.scope import LiveState, Scope
from reconciler.model.calls import Parent
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject


class ReplayingReader:
    """A `LiveReader` that answers from what was read, and from records for lists that were not.

    A list that was refused raises its error again.
    """

    calls = 0

    def __init__(self, live: LiveState, recorded: StateReader) -> None:
        self._live = live
        self._recorded = recorded

    def bind_project(self, name: str, project_id: str) -> None:
        """Nothing to remember: objects are found by the name of their project."""

    def can_read(self, _kind: Kind, _project: str | None) -> bool:
        """Whether a list can be asked for: always."""
        return True

    def announce(self, *_: Any, **__: Any) -> None:
        """Nothing will be called."""

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
        if scope in self._live.failed:
            raise self._live.failed[scope]
        if scope not in self._live.listed:
            return self._recorded.list(kind, project, parent)
        return list(self._live.listed[scope].values())

    def get(
        self, kind: Kind, project: str | None, id: str, *, fresh: bool = False
    ) -> LiveObject | None:
        """The object with an id, as it was read or else as it was recorded."""
        del fresh
        if self._live.scope_of(kind.name, project, id) not in self._live.listed:
            return self._recorded.get(kind, project, id)
        return self._live.find(kind.name, project, id)

    def read_own_calls(self, live: LiveObject, _names: Iterable[str]) -> LiveObject:
        """The object itself: its fields with calls of their own came with it."""
        return live
