"""Looking for objects while a plan is carried out: right before they are changed, and after doubtful creates.

After a create whose outcome is unknown the object is looked for, again and again for a settle time, before anything is
sent a second time: lists lag behind writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from threading import Lock

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.matcher import Ownership
from reconciler.errors import ApiError
from reconciler.model.address import Address
from reconciler.model.calls import Parent
from reconciler.model.consistency import FIRST_PAUSE_SECONDS, SETTLE_SECONDS, SHARED_LIST_SECONDS, pauses
from reconciler.model.kind import Kind, TerminalState
from reconciler.model.provider import ExpectedValue, IdReservations, Provider
from reconciler.model.resource import LiveObject
from reconciler.model.values import Spec

_WORTH = 10
"""How many times as long as reading a list took it is shared at least."""


class ConsistencyWindow(Struct, frozen=True):
    """How long an object is looked for after a doubtful create, and with what clock. Seconds.

    `clock` gives the server's time, once an answer has told it: see `is_time_known`. `pause` waits for a number of
    seconds, tells the reason if that takes long, and may raise to end the search.
    """

    seconds: float = SETTLE_SECONDS
    first_pause: float = FIRST_PAUSE_SECONDS
    clock: Callable[[], float] = time.time
    is_time_known: Callable[[], bool] = lambda: True
    pause: Callable[[float, str], None] = lambda seconds, _: time.sleep(seconds)

    def attempts(self, reason: str, seconds: float | None = None) -> Iterator[None]:
        """Yield for each look at something that may not show yet: now, and after pauses of so many seconds in all.

        Each look has to send a request: nothing changes while nobody asks.
        """
        yield
        for pause in pauses(self.seconds if seconds is None else seconds, first=self.first_pause):
            self.pause(pause, reason)
            yield


class SearchCriteria(Struct, frozen=True):
    """What is looked for: the object of an address. `is_marked` where a create of ours would have left our mark.

    `is_known` says of an id whether the object is somebody's already. `attempts` are the creates that may have made it.
    `inputs` is the digest of what a job is started with.
    """

    address: Address
    kind: Kind
    spec: Spec
    is_marked: bool
    is_known: Callable[[str], bool]
    attempts: tuple[CreateAttempt, ...] = ()
    inputs: str | None = None

    @property
    def is_unidentifiable(self) -> bool:
        """Whether nothing that exists could be told to be it: no mark, no attempt, and others may look the same."""
        return not self.is_marked and not self.attempts and not self.kind.unique_key

    def may_be(self, live: LiveObject) -> bool:
        """Whether one of the attempts can have made an object."""
        return any(attempt.can_have_made(live) for attempt in self.attempts)


class ObjectSearch:
    """Finds objects through a provider, for the changes of one apply."""

    def __init__(
        self, provider: Provider, claims: IdReservations, ownership: Ownership, settling: ConsistencyWindow
    ) -> None:
        self._provider = provider
        self._claims = claims
        self._ownership = ownership
        self._settling = settling
        self._lists = _SharedLists(provider, settling.clock)

    def read(
        self, address: Address, kind: Kind, id: str, *, expected: Mapping[str, ExpectedValue] | None = None
    ) -> LiveObject | None:
        """An object as it is now, with the fields that have calls of their own and are expected; None if it is gone."""
        if kind.readable_singly:
            live = self._provider.get(kind, address.project, id)
        else:
            within = kind.parent_and_id(id)[0]
            live = next((item for item in self._lists.read(kind, address.project, within) if item.id == id), None)
        if live is None:
            return None
        return self.read_touched(replace(live, project=address.project), expected or {})

    def read_together(self, address: Address, kind: Kind, id: str, *, wanted: frozenset[str]) -> LiveObject | None:
        """An object as it is now or was a minute ago at most, from a list of its scope; None if it is gone.

        `wanted` are all objects of the scope that are asked for like this. What the list does not show is read singly,
        as it may only be missing from that page.
        """
        within = kind.parent_and_id(id)[0]
        if len(wanted) < 2 or not kind.calls.listable or not kind.readable_singly:
            return self.read(address, kind, id)
        live = self._lists.find(kind, address.project, within, id, enough=wanted)
        return self.read(address, kind, id) if live is None else replace(live, project=address.project)

    def read_touched(self, live: LiveObject, expected: Mapping[str, ExpectedValue]) -> LiveObject:
        """The object, with the fields that have calls of their own and are expected."""
        return self._provider.read_before_write(live, expected) if expected else live

    def find(self, wanted: SearchCriteria) -> LiveObject | None:
        """The object that exists by itself, or that an earlier attempt may have made.

        By our mark, else by natural key among those that nobody knows and that are as old as an attempt. It is
        claimed for its address. Raises ApiError where more than one could be it.
        """
        if wanted.is_unidentifiable:
            return None
        live = self._matching(wanted, self._candidates(wanted))
        if live is None or wanted.kind.unique_key or self._claims.reserve(live.id, wanted.address):
            return live
        return None

    def learn_time(self, wanted: SearchCriteria) -> None:
        """Send a request, so that the server's time is known before something is created that is told by its age."""
        within = wanted.kind.parent_of(wanted.spec)
        if within is not None and wanted.kind.calls.listable:
            self._lists.read(wanted.kind, wanted.address.project, within, share=True)

    def lookalikes(self, wanted: SearchCriteria, *, but: Collection[str | None]) -> list[LiveObject]:
        """Objects with the natural key of what is wanted that nobody has: it would be a second one of these.

        The list is shared by all that is looked for within a minute.
        """
        kind, identity = wanted.kind, wanted.kind.identity(wanted.spec)
        within = kind.parent_of(wanted.spec)
        if identity is None or within is None or kind.unique_key or not kind.calls.listable:
            return []
        listed = self._lists.read(kind, wanted.address.project, within, share=True)
        self._claims.wait_for_creates(kind.collection, identity)
        return [
            live
            for live in listed
            if identity in kind.identities(live.attributes)
            and live.id not in but
            and not wanted.is_known(live.id)
            and self._claims.is_free(live.id, wanted.address)
            and self._ownership.address(live.mark) is None
            and kind.terminal_state(live.attributes) is not TerminalState.GONE
        ]

    def _candidates(self, wanted: SearchCriteria) -> list[LiveObject]:
        """What exists and is nobody else's, as far as anybody knows.

        Only what an attempt may have made has to be looked for in a new list. All else was there before the first
        change of this apply, so that one look serves all that is made in a scope within a minute.
        """
        kind = wanted.kind
        within = kind.parent_of(wanted.spec) or ()
        share = not wanted.attempts
        listed = self._lists.read(kind, wanted.address.project, within, share=share) if kind.calls.listable else ()
        if kind.unique_key:
            return [live for live in listed if kind.terminal_state(live.attributes) is None]
        # What others are making right now may be listed before its id is known to be theirs.
        self._claims.wait_for_creates(kind.collection, kind.identity(wanted.spec))
        return [
            live
            for live in listed
            if not wanted.is_known(live.id)
            and self._claims.is_free(live.id, wanted.address)
            and kind.terminal_state(live.attributes) is None
        ]

    def _matching(self, wanted: SearchCriteria, candidates: Sequence[LiveObject]) -> LiveObject | None:
        kind = wanted.kind
        marked = [live for live in candidates if live.mark == self._ownership.mark(wanted.address)]
        if kind.job is not None:  # the mark of what ran before stays
            marked = [live for live in marked if live.inputs == wanted.inputs]
            marked = [live for live in marked if not wanted.attempts or wanted.may_be(live)]
        if marked or wanted.is_marked:
            return marked[0] if marked else None
        identity = kind.identity(wanted.spec)
        alike = [live for live in candidates if identity is not None and identity in kind.identities(live.attributes)]
        if not kind.unique_key:
            alike = [live for live in alike if wanted.may_be(live)]
        if len(alike) > 1:
            ids = ", ".join(sorted(live.id for live in alike))
            raise ApiError(f"{ids} could each be what an unfinished create made", hint="Keep one and delete the rest.")
        return alike[0] if alike else None

    def find_until_settled(self, wanted: SearchCriteria, *, by_earlier_run: bool = False) -> LiveObject | None:
        """The same, again and again until it is there or would have to be.

        What an earlier run may have made has had time to show since.
        """
        seconds = self._settling.seconds
        if by_earlier_run:
            now = self._settling.clock()
            seconds = max((attempt.seconds_to_show(seconds, now=now) for attempt in wanted.attempts), default=0.0)
        for _ in self._settling.attempts(f"looking for {wanted.address}, whose create had no clear answer", seconds):
            live = self.find(wanted)
            if live is not None or not wanted.kind.calls.listable:
                return live
        return None


_ListKey = tuple[str, str | None, Parent, frozenset[str] | None]


class _SharedList(Struct, frozen=True):
    """A list, when it was read and until when it may be used, in unix seconds, and its objects by their ids."""

    read_at: float
    good_until: float
    objects: Sequence[LiveObject]
    by_id: Mapping[str, LiveObject]


class _SharedLists:
    """Lists that the changes of one apply share.

    One list serves all that is changed in a project within a minute, for kinds whose objects cannot be read singly:
    these are never made or deleted, so only their values can be that old, and each is looked at before its own change
    alone. Other kinds are listed anew unless whoever asks can do with a list of that age.
    """

    max_age_seconds = SHARED_LIST_SECONDS

    def __init__(self, provider: Provider, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._clock = clock
        self._guard = Lock()
        self._locks: dict[_ListKey, Lock] = {}
        self._lists: dict[_ListKey, _SharedList] = {}

    def read(
        self, kind: Kind, project: str | None, within: Parent = (), *, share: bool = False
    ) -> Sequence[LiveObject]:
        """All objects of a kind in a scope and surroundings, as they are or were a moment ago."""
        if not share and (kind.readable_singly or not kind.always_exists):
            return self._provider.list(kind, project, within)
        return self._shared(kind, project, within).objects

    def find(
        self, kind: Kind, project: str | None, within: Parent, id: str, *, enough: frozenset[str]
    ) -> LiveObject | None:
        """One of some objects, from a list that may end where it has shown `enough`, and that all of them share."""
        return self._shared(kind, project, within, enough).by_id.get(id)

    def _shared(
        self, kind: Kind, project: str | None, within: Parent, enough: frozenset[str] | None = None
    ) -> _SharedList:
        key = (kind.name, project, within, enough)
        with self._guard:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            known = self._lists.get(key)
            if known is None or not known.read_at <= self._clock() <= known.good_until:
                began = self._clock()
                objects = self._provider.list(kind, project, within, enough=enough)
                now = self._clock()
                # A list that takes minutes at the pace of the API must not be out of date as soon as it is there.
                good_until = now + max(self.max_age_seconds, _WORTH * (now - began))
                known = _SharedList(now, good_until, objects, {live.id: live for live in objects})
                self._lists[key] = known
            return known
