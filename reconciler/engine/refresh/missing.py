"""Known objects that their lists lack: reads them by id, and waits for very recent ones.

Lists and single reads lag behind writes by seconds. Absence therefore proves nothing about an
object that was created a moment ago, and planning a second create from it would duplicate the
object.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.refresh.reader import Reader
from reconciler.engine.refresh.targets import ReadTargets
from reconciler.engine.scope import Scope
from reconciler.model.address import Address

_Awaited = tuple[Scope, str, float]
"""Scope and id of a missing object, and the time by which it must appear."""


class MissingObjects:
    """Confirms that known objects exist or are gone."""

    def __init__(self, inputs: PlanInputs, targets: ReadTargets, reader: Reader) -> None:
        self._inputs = inputs
        self._targets = targets
        self._reader = reader
        self._removed: set[str] = set()
        """Ids of recent objects that were deleted again according to the audit log."""

    def confirm(self, scopes: Collection[Scope]) -> None:
        """Read by id the objects that lists lack, and wait for objects that are too recent to be
        listed.
        """
        self._reader.confirm(self._targets.known_ids(scopes))
        self._ask_whether_removed(scopes)
        window = self._inputs.consistency
        deadlines = [until for *_, until in self._recent(scopes)]
        longest = max(deadlines, default=0.0) - window.clock()
        attempts = window.poll("new objects do not appear in lists yet", longest)
        next(attempts)  # the first attempt was the reading above
        while (missing := self._recent(scopes)) and next(attempts, None) is not None:
            self._reader.list_again([(scope, id) for scope, id, _ in missing])

    def _recent(self, scopes: Collection[Scope]) -> list[_Awaited]:
        """Missing objects that are recent enough to be missing."""
        missing = self._missing(scopes)
        # Usually nothing is missing. Then the journal need not be asked for recent writes.
        if not missing:
            return []
        now, deadlines = self._inputs.consistency.clock(), self._deadlines()
        recent = []
        for scope, id in missing:
            # The reading at the end of the wait counts, so an object is given up only after its
            # deadline.
            if deadlines.get(id, 0.0) > now and id not in self._removed:
                recent.append((scope, id, deadlines[id]))
        return recent

    def _missing(self, scopes: Collection[Scope]) -> list[tuple[Scope, str]]:
        return self._reader.state.lacking(self._targets.known_ids(scopes))

    def _deadlines(self) -> dict[str, float]:
        """By id of a recently written object: the time by which it must appear."""
        records, seconds = self._inputs.records, self._inputs.consistency.seconds
        deadlines = {}
        for address, created_by in self._recently_written.items():
            # A write without a record created an object whose id nobody knows.
            if address in records:
                deadlines[records[address].id] = created_by + seconds
        return deadlines

    def _ask_whether_removed(self, scopes: Collection[Scope]) -> None:
        """Find missing objects that the audit log reports as deleted. They are not waited for."""
        own_ids: dict[str, str] = {}
        for scope, id, _ in self._recent(scopes):
            kind = self._inputs.kinds[scope.kind]
            # Ids of unique-key kinds repeat in every project, so a log entry would not identify the
            # object.
            if kind.audit_event_types and not kind.unique_key:
                own_ids[kind.parent_and_id(id)[1]] = id
        if own_ids:
            for own_id in self._inputs.removed(own_ids.keys()):
                if own_id in own_ids:
                    self._removed.add(own_ids[own_id])

    @cached_property
    def _recently_written(self) -> Mapping[Address, float]:
        """Evaluated after the first answers, once the server's time is known."""
        return self._inputs.recently_written()
