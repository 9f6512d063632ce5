"""A reader that answers for unchanged scopes from the state, and sends every other request once.

It logs for each scope how it is read, and why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeVar

from reconciler.engine.refresh.checkpoint import UnchangedScopes
from reconciler.engine.refresh.recorded import StateReader
from reconciler.engine.scope import Scope
from reconciler.model.calls import Parent
from reconciler.model.kind import Kind
from reconciler.model.provider import LiveReader
from reconciler.model.resource import LiveObject

T = TypeVar("T")
LOG = logging.getLogger("reconciler.engine")


class CachedReader:
    """Reads for planning.

    Scopes in `unchanged` are answered from the records. Other answers are cached unless `fresh` is
    requested.

    `pages` is the length of lists at the last reading, if more than a page. Thread-safe. It never
    writes; apply uses the provider itself.
    """

    def __init__(
        self,
        provider: LiveReader,
        recorded: StateReader,
        unchanged: UnchangedScopes,
        pages: Mapping[Scope, int] | None = None,
    ) -> None:
        self._provider = provider
        self._recorded = recorded
        self._unchanged = unchanged
        self._pages = pages or {}
        self._logged: set[str] = set()
        self._answers: dict[Hashable, Any] = {}
        self.has_read = False
        """Whether any request was sent to the API."""
        self._lock = Lock()

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._provider.calls

    def set_unchanged(self, unchanged: UnchangedScopes) -> None:
        """Replace the set of unchanged scopes."""
        self._unchanged = unchanged

    def bind_project(self, name: str, project_id: str) -> None:
        """Set the API project of a project name in the configuration."""
        self._provider.bind_project(name, project_id)

    def can_read(self, kind: Kind, project: str | None) -> bool:
        """Whether objects of the kind can be read now."""
        return self._provider.can_read(kind, project)

    def announce(self, kind: Kind, project: str | None, *calls: str, parent: Parent = ()) -> None:
        """Announce calls, if they will be made."""
        self._log(kind, project, calls, parent)
        if (kind.name, project) not in self._unchanged.scopes:
            # A scope answered from the records makes no call, and an announced call that never
            # comes would make the estimated time wrong.
            self._provider.announce(kind, project, *calls, parent=parent)

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
        """All objects of a kind in a scope and parent. A `fresh` answer replaces the cached one."""
        if (kind.name, project) in self._unchanged.scopes:
            return self._recorded.list(kind, project, parent)
        # A partial list must not answer a request for the whole one, so the wanted ids are part of
        # the key.
        key = ("list", kind.name, project, parent, only_ids)

        def ask() -> Sequence[LiveObject]:
            return self._provider.list(
                kind, project, parent, only_ids=only_ids, fresh=fresh, is_optional=is_optional
            )

        return self._once(key, ask, fresh=fresh)

    def get(
        self, kind: Kind, project: str | None, id: str, *, fresh: bool = False
    ) -> LiveObject | None:
        """One object. A caller that polls needs `fresh`, because absence is cached as well."""
        # The records answer in full: a scope without changes in the log is as we left it.
        if (kind.name, project) in self._unchanged.scopes:
            return self._recorded.get(kind, project, id)
        key = ("get", kind.name, project, id)
        return self._once(
            key, lambda: self._provider.get(kind, project, id, fresh=fresh), fresh=fresh
        )

    def read_own_calls(self, live: LiveObject, names: Iterable[str]) -> LiveObject:
        """The object with the live values of fields that have calls of their own."""
        wanted = frozenset(names)
        key = ("own calls", live.kind.name, live.project, live.id, wanted)
        return self._once(key, lambda: self._provider.read_own_calls(live, wanted))

    def _log(self, kind: Kind, project: str | None, calls: Sequence[str], parent: Parent) -> None:
        """Log how a scope is read, and why, unless the log has it already."""
        scope, unchanged = (kind.name, project), self._unchanged
        where = kind.name
        if project:
            where += f" of project {project}"
        for _, id in parent:
            where += f" in {id}"
        if scope in unchanged.scopes:
            # The age of the values counts from the reading of the scope, not of the log.
            read_at = datetime.fromtimestamp(unchanged.scopes[scope], UTC)
            sentence = f"{where}: unchanged since {read_at:%Y-%m-%d %H:%M UTC} by the audit log"
        elif "list" in calls:
            sentence = f"{where}: read in full"
        elif "read" in calls:
            pages = self._pages.get(Scope(kind.name, project, parent))
            length = f"has had {pages} pages" if pages else "may be long"
            sentence = f"{where}: read singly, as few objects are wanted and the list {length}"
        else:
            return
        reason = unchanged.full_refresh_reason or unchanged.reasons.get(scope)
        if reason and scope not in unchanged.scopes:
            sentence += f": {reason}"
        # A scope is announced again each time that something in it is read.
        if sentence not in self._logged:
            self._logged.add(sentence)
            LOG.info("%s", sentence)

    def _once(self, key: Hashable, ask: Callable[[], T], *, fresh: bool = False) -> T:
        with self._lock:
            # The lock protects the dictionary only. Two threads can ask twice for the same key,
            # which is harmless.
            if key in self._answers and not fresh:
                known: T = self._answers[key]
                return known
            self.has_read = True
        # Outside of the lock, or one slow list would hold up all others.
        answer = ask()
        with self._lock:
            self._answers[key] = answer
        return answer
