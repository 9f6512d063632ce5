"""Live state, read through the provider: each list once, shared by all who need it, scopes side by side.

An object that we know and that its list lacks is asked for by its id before it is called gone, since lists lag behind
writes. Fields that have calls of their own are read only for objects whose resources manage them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeGuard, TypeVar

from msgspec.structs import replace

from reconciler.engine.pool import WorkerPools
from reconciler.engine.refresh.targets import reads_singly
from reconciler.engine.scope import LiveState, OwnCallFields
from reconciler.engine.scope import Scope as Scope
from reconciler.errors import ApiError, CredentialError, RetiredError
from reconciler.model.kind import Kind, TerminalState
from reconciler.model.provider import LiveReader
from reconciler.model.resource import LiveObject

LOG = logging.getLogger("reconciler.engine")

Item = TypeVar("Item")
Result = TypeVar("Result")


class Reader:
    """Reads through a provider, a number of places at a time. `closed` are projects whose key is dead.

    `pages` is how long lists were when they were read last, where that was more than a page.
    """

    def __init__(
        self,
        provider: LiveReader,
        kinds: Mapping[str, Kind],
        *,
        parallelism: int,
        pages: Mapping[Scope, int],
    ) -> None:
        self.provider = provider
        self._pages = pages
        self.state = LiveState(kinds)
        self.revoked: set[str] = set()
        self._kinds = kinds
        self._parallelism = parallelism

    def read_lists(
        self,
        places: Iterable[Scope],
        *,
        optional: Collection[Scope] = (),
        enough: Mapping[Scope, frozenset[str]] | None = None,
        carried: OwnCallFields | None = None,
        meanwhile: Callable[[], None] | None = None,
        anew: bool = False,
    ) -> None:
        """List every place that was not listed yet. Refusals are noted in the state, and raise nothing.

        `optional` places are only searched: one that fails is as good as empty.

        `enough` are the ids of all that is wanted of a place, where nothing else is. What is wanted of `carried` fields
        is asked for as soon as the object was seen, while other lists are still to come. What is to be done `meanwhile`
        is done while the answers are awaited. What is listed `anew` is asked for even if an answer is remembered.
        """
        state = self.state
        known = (state.listed, state.failed, state.unsearched)
        wanted = [place for place in dict.fromkeys(places) if not any(place in seen for seen in known)]
        readable = [place for place in wanted if self._is_readable(place)]
        self.state.mark_unreadable(set(wanted) - set(readable))
        ids = enough or {}
        parts = [(place, single) for place in readable for single in self._parts(place, ids)]
        for place, single in parts:
            call = "list" if single is None else "read"
            self.provider.announce(self._kinds[place.kind], place.project, call, within=place.parent)

        def listed(
            place: Scope, single: str | None, crews: WorkerPools
        ) -> tuple[Collection[LiveObject], list[Future[LiveObject | None]]]:
            objects = self._list(place, place in optional, ids.get(place), single, anew=anew)
            return objects, [
                crews.submit(live.kind, self._carried, place, live, names)
                for live, names in self._carrying(place, objects, carried or {})
            ]

        with WorkerPools(self._parallelism) as crews:
            begun = [
                (place, crews.submit(self._kinds[place.kind], listed, place, single, crews)) for place, single in parts
            ]
            if meanwhile is not None:
                meanwhile()
            found: dict[Scope, list[LiveObject]] = {place: [] for place in readable}
            inside: list[Future[LiveObject | None]] = []
            for place, answer in begun:
                objects, further = answer.result()
                found[place] += objects
                inside += further
            for place, objects in found.items():
                if place not in self.state.failed:
                    self.state.list(place, objects)
            for live in filter(None, (read.result() for read in inside)):
                self.state.put(live)

    def confirm(self, wanted: Iterable[tuple[Scope, str]], *, anew: bool = False) -> None:
        """Ask by id for objects that their lists lacked; found ones join the state."""
        missing = [
            (place, id)
            for place, id in dict.fromkeys(wanted)
            if place in self.state.listed
            and id not in self.state.listed[place]
            and self._kinds[place.kind].readable_singly
        ]
        for place, id in missing:
            LOG.info("get %s %s, which is not among what was listed", place.kind, id)
        ask = partial(self._get, anew=anew)
        for live in self._map(lambda item: ask(*item), missing, lambda item: self._kinds[item[0].kind]):
            if live is not None:
                self.state.put(live)

    def list_again(self, wanted: Collection[tuple[Scope, str]]) -> None:
        """Ask anew for objects that were not there, each in the way that its kind can be asked for."""
        by_list = {place for place, _ in wanted if not self._kinds[place.kind].readable_singly}
        for place in by_list:
            self.state.forget(place)
        self.read_lists(by_list, anew=True)
        self.confirm(wanted, anew=True)

    def read_carried(self, wanted: Mapping[tuple[Scope, str], Collection[str]]) -> None:
        """Read the named fields that have calls of their own, for objects that were seen."""
        known = [
            (place, live, names)
            for (place, id), names in wanted.items()
            if (live := self.state.find(place.kind, place.project, id)) is not None
            and (place, id) not in self.state.failed_objects
        ]
        todo = [item for item in known if set(item[2]) - set(item[1].own_calls)]
        for _, live, names in todo:
            self.provider.announce(live.kind, live.project, *names)
        for read in self._map(lambda item: self._carried(*item), todo, lambda item: item[1].kind):
            if read is not None:
                self.state.put(read)

    def _carrying(
        self, place: Scope, objects: Iterable[LiveObject], wanted: OwnCallFields
    ) -> Iterator[tuple[LiveObject, Collection[str]]]:
        """What is to be read inside objects that were just listed, announced."""
        for live in objects:
            names = wanted.get((place, live.id))
            if names and live.kind.terminal_state(live.attributes) is not TerminalState.GONE:
                self.provider.announce(live.kind, live.project, *names)
                yield live, names

    def reread(self, enough: Mapping[Scope, frozenset[str]]) -> None:
        """List in full where something that was wanted is nowhere: another like it may be, outside what was read."""
        short = [at for at, ids in enough.items() if at in self.state.listed and ids - self.state.listed[at].keys()]
        for place in short:
            self.state.forget(place)
        self.read_lists(short)

    def _is_readable(self, place: Scope) -> bool:
        kind = self._kinds[place.kind]
        closed = place.project in self.revoked and not kind.scope.needs_admin_key
        return not closed and self.provider.can_read(kind, place.project)

    def _parts(self, place: Scope, enough: Mapping[Scope, frozenset[str]]) -> Sequence[str | None]:
        """What a place is read by: ids, where asking for each of them takes fewer calls; else None, for its list."""
        ids = enough.get(place, frozenset())
        is_single = reads_singly(self._kinds[place.kind], len(ids), self._pages.get(place, 1))
        return sorted(ids) if is_single else (None,)

    def _list(
        self,
        place: Scope,
        optional: bool,
        enough: frozenset[str] | None,
        single: str | None,
        *,
        anew: bool,
    ) -> Collection[LiveObject]:
        try:
            if single is not None:
                live = self._get(place, single)
                return (live,) if live is not None else ()
            return self.provider.list(
                self._kinds[place.kind],
                place.project,
                place.parent,
                enough=enough,
                anew=anew,
                is_optional=optional,
            )
        except (ApiError, CredentialError) as error:
            if optional:
                self.state.unsearched[place] = error
                return ()
            if not is_refusal(error):
                raise
            self.state.fail(place, error)
            return ()

    def _get(self, place: Scope, id: str, *, anew: bool = False) -> LiveObject | None:
        """An object by its id; None where there is none, and where the API refuses to tell."""
        try:
            live = self.provider.get(self._kinds[place.kind], place.project, id, anew=anew)
        except ApiError as error:
            if not is_refusal(error) or isinstance(error, RetiredError):
                raise
            self.state.failed_objects[place, id] = error
            return None
        self.state.failed_objects.pop((place, id), None)
        return replace(live, project=place.project) if live is not None else None

    def _carried(self, place: Scope, live: LiveObject, names: Collection[str]) -> LiveObject | None:
        """The object with its fields that have calls of their own; None where the API refuses to tell."""
        try:
            return self.provider.read_own_calls(live, names)
        except ApiError as error:
            if not is_refusal(error):
                raise
            self.state.failed_objects[place, live.id] = error
            return None

    def _map(
        self,
        work: Callable[[Item], Result],
        items: Collection[Item],
        kind_of: Callable[[Item], Kind],
    ) -> list[Result]:
        with WorkerPools(self._parallelism if len(items) > 1 else 1) as crews:
            return [answer.result() for answer in [crews.submit(kind_of(item), work, item) for item in items]]


def is_refusal(error: ApiError | CredentialError) -> TypeGuard[ApiError]:
    """Whether the API itself answered, so that the error says something about one route and not about the connection.

    Where nothing answers at all, no other request would fare better.
    """
    return isinstance(error, ApiError) and error.status is not None
