"""How many calls reading takes, told before the first is made, so that a plan over the budget is refused for nothing.

It is the least that is to be expected, by what is recorded: a list has as many pages as when it was read last, and no
fewer than our own objects fill; what the audit log shows to be unchanged is not asked for. Nobody can tell how much
others have made since, so the client counts as well and stops at the budget.
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
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet

_MEMBERS_PAGE = 100


def check_budget(
    inputs: PlanInputs,
    provider: LiveReader,
    trusted: Collection[ScopeKey] = (),
    *,
    beside: int = 0,
    is_shared: Callable[[Scope], bool] = lambda _: False,
) -> None:
    """Raise UsageError where reading is expected to take more calls than it may.

    What is `trusted` need not be read. `beside` calls have to be added, for asking the log.
    `is_shared` is as in `Estimate`.
    """
    budget = inputs.options.budget_calls
    if budget is None:
        return
    least = beside + Estimate(inputs, provider, trusted, is_shared=is_shared).calls
    if least > budget:
        raise UsageError(
            f"reading live state needs at least {least} call{'s' if least != 1 else ''}, over the budget of {budget}",
            hint="Raise --budget, or narrow the plan with --target.",
        )


class ExpectedRead(NamedTuple):
    """What one scope takes: calls of `list`, or calls of `read` for objects one by one."""

    scope: Scope
    call: str
    calls: int


class Estimate:
    """The calls of a full refresh, without making one.

    `is_shared` tells which lists another stack has read or is reading, so that they take no call.
    """

    def __init__(
        self,
        inputs: PlanInputs,
        provider: LiveReader,
        trusted: Collection[ScopeKey],
        *,
        is_shared: Callable[[Scope], bool] = lambda _: False,
    ) -> None:
        self._inputs = inputs
        self._targets = ReadTargets(inputs, select(inputs))
        self._resources = {resource.address: resource for resource in inputs.resources}
        self._provider = provider
        self._trusted = frozenset(trusted)
        self._is_shared = is_shared

    @property
    def calls(self) -> int:
        """How many there are at least."""
        own = (
            read for read in self.reads() if read.call != "list" or not self._is_shared(read.scope)
        )
        return sum(read.calls for read in own) + sum(self._calls_inside())

    def reads(self) -> Iterator[ExpectedRead]:
        """The reads of scopes; without those of the members of collections."""
        scopes = {
            scope for scope in self._places() if (scope.kind, scope.project) not in self._trusted
        }
        known: dict[Scope, set[str]] = defaultdict(set)
        # A set, because records and manifests can name the same object.
        for scope, id in self._targets.known_ids(scopes):
            known[scope].add(id)
        only_ids = self._targets.only_ids(scopes)
        for scope in scopes:
            if self._is_open(scope):
                yield self._read_of(scope, known[scope], only_ids.get(scope))

    def _places(self) -> Set[Scope]:
        scopes = self._targets.outer | self._targets.nested(before_reading)
        # Parents are unknown before the first reading, so of the lists inside them only those are
        # counted that a record or a literal id names.
        return scopes | set(self._targets.marked(scopes) if self._inputs.state_is_new else ())

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
        # The state tells how many objects we own. The list can be longer, as the last reading
        # showed.
        pages = ceil(len(known) / kind.page_limit)
        least = 1 if only_ids else max(1, self._inputs.pages.get(scope, 1))
        call = "read" if kind.calls.singleton else "list"
        return ExpectedRead(scope, call, max(least, pages))

    def _calls_inside(self) -> Iterator[int]:
        """Calls for the members of collections, which are listed one collection at a time."""
        wanted = self._targets.recorded_own_calls()
        for address, record in self._inputs.records.items():
            resource = self._resources.get(address)
            names = wanted.get((Scope(address.kind, address.project), record.id), ())
            for field in resource.kind.own_calls if resource is not None else ():
                if field.name in names and isinstance(field.type, FileSetType):
                    members = record.applied.get(field.name)
                    count = len(members.members) if isinstance(members, FileSet) else 0
                    # An empty collection takes a call too.
                    yield max(1, ceil(count / _MEMBERS_PAGE))

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
        names = set()
        for address in self._inputs.records:
            kind = kinds.get(address.kind)
            defines_project = kind is not None and kind.defines_project
            names.add(address.name if defines_project else address.project)
        return frozenset(name for name in names if name and name not in self._inputs.projects)

    def _kind(self, scope: Scope) -> Kind:
        return self._inputs.kinds[scope.kind]
