"""Reads live state through the provider: each list once, several scopes at a time.

A known object that its list lacks is read by its id before it counts as gone, because lists lag
behind writes. Fields with calls of their own are read only for objects whose resources manage them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

from reconciler.engine.pool import WorkerPools
from reconciler.engine.refresh.targets import reads_singly
from reconciler.engine.refresh.tolerant import TolerantReader
from reconciler.engine.scope import LiveState, OwnCallFields, Scope
from reconciler.model.kind import Kind, TerminalState
from reconciler.model.provider import LiveReader
from reconciler.model.resource import LiveObject

LOG = logging.getLogger("reconciler.engine")

_Part = tuple[Scope, str | None]
"""A part of a scope that takes a call: one object by its id, or None for the whole list."""
_Answer = tuple[Collection[LiveObject], list[Future[LiveObject | None]]]
"""The objects of one part, and the reads of their fields with calls of their own."""
_SingleRead = Callable[[], LiveObject | None]


class Reader:
    """Reads through a provider, several scopes at a time, into a LiveState.

    `revoked` are projects whose key no longer works. `pages` is as in `PlanInputs`. `sharers_of`
    returns how many stacks may read a list. With `survey`, a list that cannot be read is noted as
    unread: it neither counts as empty nor raises an error.
    """

    def __init__(
        self,
        provider: LiveReader,
        kinds: Mapping[str, Kind],
        *,
        parallelism: int,
        pages: Mapping[Scope, int],
        survey: bool = False,
        sharers_of: Callable[[Scope], int] = lambda _: 1,
    ) -> None:
        self.provider = provider
        self.state = LiveState(kinds)
        self.revoked: set[str] = set()
        self._single = TolerantReader(provider, self.state, survey=survey)
        self._kinds = kinds
        self._parallelism = parallelism
        self._pages = pages
        self._sharers_of = sharers_of

    def start_survey(self) -> None:
        """From now on, note a list that cannot be read as unread."""
        self._single.survey = True

    def read_lists(
        self,
        scopes: Iterable[Scope],
        *,
        optional: Collection[Scope] = (),
        only_ids: Mapping[Scope, frozenset[str]] | None = None,
        own_calls: OwnCallFields | None = None,
        on_wait: Callable[[], None] | None = None,
        fresh: bool = False,
    ) -> None:
        """List every scope that was not listed yet. Refusals are recorded in the state and raise
        nothing.

        `optional` scopes are only searched: a failed one counts as empty. `only_ids` limits scopes
        to known objects. Fields in `own_calls` are read as soon as their object was seen, while
        other lists are in flight. `on_wait` runs while answers are awaited. `fresh` bypasses a
        cache.
        """
        readable = self._readable(scopes)
        # The scopes of one call are independent of each other; parents were read by an earlier
        # call, because their ids are part of the paths.
        ids = only_ids or {}
        parts = [(scope, id) for scope in readable for id in self._parts(scope, ids)]
        self._announce(parts)

        def read(scope: Scope, id: str | None, pools: WorkerPools) -> _Answer:
            objects = self._single.objects(
                scope, id, only_ids=ids.get(scope), is_optional=scope in optional, fresh=fresh
            )
            further = []
            # On the worker of the list, so that the members of the first store are read while the
            # second page of another list is under way.
            for live, names in self._own_calls_of(scope, objects, own_calls or {}):
                further.append(pools.submit(live.kind, self._single.own_calls, scope, live, names))
            return objects, further

        # A pool per call, so that no thread of a plan outlives it.
        with WorkerPools(self._parallelism) as pools:
            begun = []
            for scope, id in parts:
                kind = self._kinds[scope.kind]
                begun.append((scope, pools.submit(kind, read, scope, id, pools)))
            # The requests are in flight now; use the time for local work.
            if on_wait is not None:
                on_wait()
            self._store(readable, begun)

    def _readable(self, scopes: Iterable[Scope]) -> list[Scope]:
        """The scopes that were not read yet and that a key opens."""
        state, readable, unreadable = self.state, [], set()
        # A refused list counts as read too: asking again would meet the same refusal.
        known = (state.listed, state.failed, state.unsearched, state.unread)
        for scope in dict.fromkeys(scopes):
            # Every list is read at most once per plan, so that all decisions see the same state.
            if any(scope in seen for seen in known):
                continue
            if self._is_readable(scope):
                readable.append(scope)
            else:
                # No error yet: the scope may turn out to be irrelevant.
                unreadable.add(scope)
        state.mark_unreadable(unreadable)
        return readable

    def _announce(self, parts: Iterable[_Part]) -> None:
        """Announce all calls before the first one, so that the estimate of the time is right."""
        for scope, id in parts:
            call = "list" if id is None else "read"
            kind = self._kinds[scope.kind]
            self.provider.announce(kind, scope.project, call, parent=scope.parent)

    def _store(
        self, scopes: Iterable[Scope], begun: Iterable[tuple[Scope, Future[_Answer]]]
    ) -> None:
        """Store the results of all parts. Only this thread stores objects; workers note refusals."""
        # A scope of which single objects were read counts as listed with these objects, and the
        # selection made sure that nothing else of it is needed.
        objects_of: dict[Scope, list[LiveObject]] = {scope: [] for scope in scopes}
        pending: list[Future[LiveObject | None]] = []
        for scope, answer in begun:
            objects, further = answer.result()
            objects_of[scope] += objects
            pending += further
        for scope, objects in objects_of.items():
            # If one part of a scope was refused, the rest would look like a complete list.
            if scope not in self.state.failed and scope not in self.state.unread:
                # Empty lists are stored as well, since they are what proves an absence.
                self.state.list(scope, objects)
        # After the lists, which hold the same objects without these fields.
        for future in pending:
            live = future.result()
            if live is not None:
                self.state.put(live)

    def confirm(self, wanted: Iterable[tuple[Scope, str]], *, fresh: bool = False) -> None:
        """Read objects by id that their lists lacked, and add those that exist to the state."""
        reads: list[tuple[Kind, _SingleRead]] = []
        for scope, id in self.state.lacking(dict.fromkeys(wanted)):
            kind = self._kinds[scope.kind]
            # A kind that cannot be read singly stays missing here. `list_again` lists it once more.
            if kind.readable_singly:
                LOG.info("get %s %s, which is not among what was listed", scope.kind, id)
                reads.append((kind, partial(self._single.object, scope, id, fresh=fresh)))
        self._put_all(reads)

    def list_again(self, wanted: Collection[tuple[Scope, str]]) -> None:
        """Read missing objects again: by id where the kind can be read singly, else by listing again."""
        # One list answers for all missing objects of the scope.
        by_list = {scope for scope, _ in wanted if not self._kinds[scope.kind].readable_singly}
        # Forget the first reading, or `read_lists` would skip the scope.
        for scope in by_list:
            self.state.forget(scope)
        # Past the cache, whose answer is the one that lacked the object.
        self.read_lists(by_list, fresh=True)
        self.confirm(wanted, fresh=True)

    def read_own_calls(self, wanted: Mapping[tuple[Scope, str], Collection[str]]) -> None:
        """Read the named fields that have calls of their own, for objects that were seen."""
        reads: list[tuple[Kind, _SingleRead]] = []
        for (scope, id), names in wanted.items():
            live = self.state.find(scope.kind, scope.project, id)
            if live is None or (scope, id) in self.state.failed_objects:
                continue
            # Fields that were read beside the list are there already.
            if set(names) - set(live.own_calls):
                self.provider.announce(live.kind, live.project, *names)
                reads.append((live.kind, partial(self._single.own_calls, scope, live, names)))
        self._put_all(reads)

    def _own_calls_of(
        self, scope: Scope, objects: Iterable[LiveObject], wanted: OwnCallFields
    ) -> Iterator[tuple[LiveObject, Collection[str]]]:
        """The fields to read of objects that were just listed. Announces the calls."""
        for live in objects:
            names = wanted.get((scope, live.id))
            # Reads inside a removed object answer 404.
            if names and live.kind.terminal_state(live.attributes) is not TerminalState.GONE:
                self.provider.announce(live.kind, live.project, *names)
                yield live, names

    def reread(self, only_ids: Mapping[Scope, frozenset[str]]) -> None:
        """List scopes in full if a wanted object is missing: its successor may be outside of what
        was read."""
        short: list[Scope] = []
        for scope, ids in only_ids.items():
            if self.state.lacking((scope, id) for id in ids):
                self.state.forget(scope)
                short.append(scope)
        self.read_lists(short)

    def _is_readable(self, scope: Scope) -> bool:
        kind = self._kinds[scope.kind]
        # Admin routes work without the project's key.
        closed = scope.project in self.revoked and not kind.scope.needs_admin_key
        return not closed and self.provider.can_read(kind, scope.project)

    def _parts(
        self, scope: Scope, only_ids: Mapping[Scope, frozenset[str]]
    ) -> Sequence[str | None]:
        """The ids to read one by one, if that takes fewer calls than the list; else None, for the
        list."""
        ids = only_ids.get(scope, frozenset())
        kind, pages = self._kinds[scope.kind], self._pages.get(scope, 1)
        is_single = reads_singly(kind, len(ids), pages, self._sharers_of(scope))
        return sorted(ids) if is_single else (None,)

    def _put_all(self, reads: Collection[tuple[Kind, _SingleRead]]) -> None:
        """Make single reads at the same time, and store the objects that exist."""
        with WorkerPools(self._parallelism if len(reads) > 1 else 1) as pools:
            # All of them before the first result, or they would run one after the other.
            futures = [pools.submit(kind, read) for kind, read in reads]
            objects = [future.result() for future in futures]
        for live in filter(None, objects):
            self.state.put(live)
