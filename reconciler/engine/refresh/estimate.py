"""Estimates the calls of a refresh, so that a plan over the budget is refused before its first call.

The estimate is a lower bound. A list has as many pages as at the last reading, and no fewer than
our own objects fill. Scopes that the audit log shows unchanged cost nothing. Objects that others
have created since are unknown, so the client counts its calls as well and stops at the budget.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Set
from functools import cached_property
from math import ceil
from typing import NamedTuple

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.refresh.checkpoint import ScopeKey
from reconciler.engine.refresh.targets import ReadTargets, before_reading
from reconciler.engine.scope import Scope
from reconciler.engine.selection import select
from reconciler.errors import UsageError
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.provider import LiveReader
from reconciler.model.resource import by_address
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet

_MEMBERS_PAGE = 100


def check_budget(
    inputs: PlanInputs,
    provider: LiveReader,
    unchanged: Collection[ScopeKey] = (),
    *,
    log_calls: int = 0,
    is_shared: Callable[[Scope], bool] = lambda _: False,
) -> None:
    """Raise UsageError if reading is expected to take more calls than the budget allows.

    `unchanged` scopes need no read. `log_calls` is the number of calls for the audit log.
    `is_shared` is as in `Estimate`.
    """
    budget = inputs.options.budget_calls
    if budget is None:
        return
    least = log_calls + Estimate(inputs, provider, unchanged, is_shared=is_shared).calls
    if least > budget:
        plural = "" if least == 1 else "s"
        raise UsageError(
            f"reading live state needs at least {least} call{plural}, over the budget of {budget}",
            hint="Raise --budget, or narrow the plan with --target.",
        )


class ExpectedRead(NamedTuple):
    """The calls for one scope: of `list`, or of `read` for objects one by one."""

    scope: Scope
    call: str
    calls: int


class Estimate:
    """The calls of a full refresh, without making one.

    `is_shared` returns whether another stack has read a list or is reading it, so that it takes no
    call.
    """

    def __init__(
        self,
        inputs: PlanInputs,
        provider: LiveReader,
        unchanged: Collection[ScopeKey],
        *,
        is_shared: Callable[[Scope], bool] = lambda _: False,
    ) -> None:
        self._inputs = inputs
        self._targets = ReadTargets(inputs, select(inputs))
        self._resources = by_address(inputs.resources)
        self._provider = provider
        self._unchanged = frozenset(unchanged)
        self._is_shared = is_shared

    @property
    def calls(self) -> int:
        """The least number of calls."""
        calls = sum(self._calls_inside())
        for read in self.reads():
            # Only lists are shared: an object is read by id for the stack that records it.
            if read.call != "list" or not self._is_shared(read.scope):
                calls += read.calls
        return calls

    def reads(self) -> Iterator[ExpectedRead]:
        """The reads of scopes; without those of the members of collections."""
        scopes = set()
        for scope in self._scopes():
            if (scope.kind, scope.project) not in self._unchanged:
                scopes.add(scope)
        known: dict[Scope, set[str]] = defaultdict(set)
        # By scope, because the pages of a list depend on how many of its objects are ours.
        # A set, because records and manifests can name the same object.
        for scope, id in self._targets.known_ids(scopes):
            known[scope].add(id)
        only_ids = self._targets.only_ids(scopes)
        for scope in scopes:
            if self._is_open(scope):
                yield self._read_of(scope, known[scope], only_ids.get(scope))

    def _scopes(self) -> Set[Scope]:
        # Parents are unknown before the first reading, so of the lists inside them only those are
        # counted that a record or a literal id names.
        scopes = self._targets.outer | self._targets.nested(before_reading)
        if self._inputs.state_is_new:
            return scopes.union(self._targets.marked(scopes))
        return scopes

    def _read_of(
        self, scope: Scope, known: Collection[str], only_ids: Collection[str] | None
    ) -> ExpectedRead:
        """Calls for a list, or instead of it. With `only_ids`, the list may end early."""
        kind = self._kind(scope)
        # Without a list, each known object is read by its id.
        if not kind.calls.listable:
            return ExpectedRead(scope, "read", len(known) if kind.readable_singly else 0)
        if only_ids and self._targets.reads_singly(scope, len(only_ids)):
            return ExpectedRead(scope, "read", len(only_ids))
        # The state has the number of our objects. The list can be longer, as the last reading
        # showed. It is not read to its end for known objects alone.
        pages = max(1, ceil(len(known) / kind.page_limit))
        if not only_ids:
            pages = max(pages, self._inputs.pages.get(scope, 1))
        return ExpectedRead(scope, "read" if kind.calls.singleton else "list", pages)

    def _calls_inside(self) -> Iterator[int]:
        """Calls for the members of collections, which are listed one collection at a time."""
        wanted = self._targets.recorded_own_calls()
        for address, record in self._inputs.records.items():
            resource = self._resources.get(address)
            names = wanted.get((Scope(address.kind, address.project), record.id))
            if resource is None or not names:
                continue
            for field in resource.kind.own_calls:
                if field.name in names and isinstance(field.type, FileSetType):
                    applied = record.applied.get(field.name)
                    members = applied.members if isinstance(applied, FileSet) else ()
                    # An empty collection takes a call too.
                    yield max(1, ceil(len(members) / _MEMBERS_PAGE))

    def _is_open(self, scope: Scope) -> bool:
        """Whether a scope can be read, as far as that is known in advance: its project and a key
        exist."""
        kind, project = self._kind(scope), scope.project
        # Admin routes need no project key; the default scope needs the default key.
        if project is None or kind.scope is ScopeType.ORGANIZATION:
            return kind.scope.needs_admin_key or "" in self._inputs.keyed_projects
        # The provider knows every project but those that only the records name.
        if project not in self._recorded_projects:
            return self._provider.can_read(kind, project)
        return kind.scope.needs_admin_key or not {"", project}.isdisjoint(
            self._inputs.keyed_projects
        )

    @cached_property
    def _recorded_projects(self) -> frozenset[str]:
        """The projects that exist according to the records. The provider does not know them yet."""
        kinds = self._inputs.kinds
        names: set[str | None] = set()
        for address in self._inputs.records:
            kind = kinds.get(address.kind)
            defines_project = kind is not None and kind.defines_project
            names.add(address.name if defines_project else address.project)
        return frozenset(filter(None, names - self._inputs.projects.keys()))

    def _kind(self, scope: Scope) -> Kind:
        return self._inputs.kinds[scope.kind]
