"""Searches for objects during an apply: before a change, and after a create without an answer.

Lists lag behind writes. So after a create whose outcome is unknown the search goes on for the
consistency window before the create is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Lock

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.ownership import Ownership
from reconciler.errors import ApiError
from reconciler.model.address import Address
from reconciler.model.calls import Parent
from reconciler.model.consistency import SHARED_LIST_SECONDS
from reconciler.model.kind import Kind, TerminalState
from reconciler.model.provider import IdReservations, LiveReader
from reconciler.model.resource import LiveObject
from reconciler.model.values import Spec

_READ_TIMES = 10
"""A list is shared for at least this many times the seconds that its read took."""


class SearchCriteria(Struct, frozen=True):
    """How to recognize the object of an address."""

    address: Address
    kind: Kind
    spec: Spec
    is_marked: bool
    """Whether a create of ours leaves our mark on the object."""
    is_known: Callable[[str], bool]
    """Whether an id belongs to an object that cannot be the one."""
    attempts: tuple[CreateAttempt, ...] = ()
    """The creates without an answer that can have created it."""
    inputs: str | None = None
    """The digest of a job's inputs."""

    @property
    def is_unidentifiable(self) -> bool:
        """Whether no object could be recognized: no mark, no attempt, and possible lookalikes."""
        return not self.is_marked and not self.attempts and not self.kind.unique_key

    def can_be_ours(self, live: LiveObject) -> bool:
        """Whether one of the attempts can have created an object."""
        return any(attempt.can_have_made(live) for attempt in self.attempts)


class ObjectSearch:
    """Reads and searches for objects, for the changes of one apply. Safe to use from threads."""

    def __init__(
        self,
        reader: LiveReader,
        reservations: IdReservations,
        ownership: Ownership,
        consistency: ConsistencyWindow,
    ) -> None:
        self._reader = reader
        self._reservations = reservations
        self._ownership = ownership
        self._consistency = consistency
        self._lists = _ApplyLists(reader, consistency.clock)

    def read(self, address: Address, kind: Kind, id: str) -> LiveObject | None:
        """The present object; None if it is gone."""
        if kind.readable_singly:
            live = self._reader.get(kind, address.project, id)
        # For other kinds the API has no call for one object, such as a rate limit.
        else:
            parent, _ = kind.parent_and_id(id)
            listed = self._lists.read(kind, address.project, parent)
            live = next((candidate for candidate in listed if candidate.id == id), None)
        if live is None:
            return None
        return replace(live, project=address.project)

    def read_together(
        self, address: Address, kind: Kind, id: str, *, wanted: frozenset[str]
    ) -> LiveObject | None:
        """The object from a list of its scope, at most a minute old; None if it is gone.

        `wanted` are the ids of all objects of the scope that are read like this.
        """
        parent, _ = kind.parent_and_id(id)
        # For one object a list costs as much as a read, or more.
        if len(wanted) < 2 or not kind.calls.listable or not kind.readable_singly:
            return self.read(address, kind, id)
        live = self._lists.find(kind, address.project, parent, id, only_ids=wanted)
        if live is None:
            # It may only be missing from the pages that were read.
            return self.read(address, kind, id)
        return replace(live, project=address.project)

    def find(self, criteria: SearchCriteria) -> LiveObject | None:
        """The object that always exists, or that an attempt can have created.

        Recognized by our mark, else by natural key among the objects without an owner that are as
        old as an attempt. It is reserved for its address. Raises ApiError where several match.
        """
        # Any match could be somebody else's object, so there is nothing to search for.
        if criteria.is_unidentifiable:
            return None
        live = self._match(criteria, self._candidates(criteria))
        # No other address can take an object with a unique key, so it needs no reservation.
        if live is None or criteria.kind.unique_key:
            return live
        # Another thread may have reserved the same object since the list was filtered.
        if not self._reservations.reserve(live.id, criteria.address):
            return None
        return live

    def find_until_settled(
        self, criteria: SearchCriteria, *, by_earlier_run: bool = False
    ) -> LiveObject | None:
        """Repeat `find` until the object shows, or until it would have to.

        The time since an attempt of an earlier run counts.
        """
        seconds = self._consistency.seconds
        if by_earlier_run:
            seconds = self._remaining_seconds(criteria)
        # Lists and single reads lag behind writes by seconds, so absence proves nothing before the
        # window ends.
        reason = f"looking for {criteria.address}, whose create had no clear answer"
        for _ in self._consistency.poll(reason, seconds):
            live = self.find(criteria)
            # Without a list there is nothing to poll.
            if live is not None or not criteria.kind.calls.listable:
                return live
        return None

    def _remaining_seconds(self, criteria: SearchCriteria) -> float:
        """How long an object of an earlier run's attempt may still be missing from lists."""
        seconds, now = self._consistency.seconds, self._consistency.clock()
        # The latest attempt decides: an object of an earlier one would have shown by then.
        return max(
            (attempt.seconds_to_show(seconds, now=now) for attempt in criteria.attempts),
            default=0.0,
        )

    def learn_time(self, criteria: SearchCriteria) -> None:
        """Send a request if possible, so that the server's time is known before a create."""
        kind, parent = criteria.kind, criteria.kind.parent_of(criteria.spec)
        if parent is not None and kind.calls.listable:
            self._lists.read(kind, criteria.address.project, parent, share=True)

    def lookalikes(
        self, criteria: SearchCriteria, *, but: Collection[str | None]
    ) -> list[LiveObject]:
        """Objects with the natural key of the criteria and without an owner.

        Their list is shared for a minute.
        """
        kind, identity = criteria.kind, criteria.kind.identity(criteria.spec)
        parent = kind.parent_of(criteria.spec)
        if identity is None or parent is None or kind.unique_key or not kind.calls.listable:
            return []
        listed = self._lists.read(kind, criteria.address.project, parent, share=True)
        # Objects of creates in flight may be listed before their ids are reserved.
        self._reservations.wait_for_creates(kind.collection, identity)
        alike = []
        for live in listed:
            is_gone = kind.terminal_state(live.attributes) is TerminalState.GONE
            if is_gone or live.id in but or identity not in kind.identities(live.attributes):
                continue
            is_ours = self._ownership.address(live.mark) is not None
            if not is_ours and self._has_no_owner(live, criteria):
                alike.append(live)
        return alike

    def _candidates(self, criteria: SearchCriteria) -> list[LiveObject]:
        """The objects that exist and have no owner, as far as this run knows."""
        kind = criteria.kind
        parent = kind.parent_of(criteria.spec) or ()
        if not kind.calls.listable:
            return []
        # Only the results of attempts are newer than this apply. For all else one list serves all
        # creates of a scope.
        share = not criteria.attempts
        listed = self._lists.read(kind, criteria.address.project, parent, share=share)
        # Lists keep objects that have ended, and none of them is the result of a new create.
        existing = [live for live in listed if kind.terminal_state(live.attributes) is None]
        if kind.unique_key:
            return existing
        # Objects of creates in flight may be listed before their ids are reserved.
        self._reservations.wait_for_creates(kind.collection, kind.identity(criteria.spec))
        return [live for live in existing if self._has_no_owner(live, criteria)]

    def _has_no_owner(self, live: LiveObject, criteria: SearchCriteria) -> bool:
        is_free = self._reservations.is_free(live.id, criteria.address)
        return is_free and not criteria.is_known(live.id)

    def _match(
        self, criteria: SearchCriteria, candidates: Sequence[LiveObject]
    ) -> LiveObject | None:
        kind = criteria.kind
        mark = self._ownership.mark(criteria.address)
        # The mark is part of the create request, so it identifies the object of our create.
        marked = [live for live in candidates if live.mark == mark]
        if kind.job is not None:
            # Earlier jobs of the address keep its mark, so inputs and age have to match too.
            marked = [live for live in marked if live.inputs == criteria.inputs]
            if criteria.attempts:
                marked = [live for live in marked if criteria.can_be_ours(live)]
        if marked:
            return marked[0]
        # Our create would have left a mark, so an object without one is somebody else's.
        if criteria.is_marked:
            return None
        identity = kind.identity(criteria.spec)
        if identity is None:
            return None
        # Natural keys come last, because they are the weakest evidence: anyone can create a second
        # object of the same name.
        alike = [live for live in candidates if identity in kind.identities(live.attributes)]
        if not kind.unique_key:
            alike = [live for live in alike if criteria.can_be_ours(live)]
        if len(alike) > 1:
            ids = ", ".join(sorted(live.id for live in alike))
            # Nothing shows which one is ours, and a guess could delete another's object later.
            raise ApiError(
                f"{ids} could each be the result of an unfinished create",
                hint="Keep one and delete the rest.",
            )
        return alike[0] if alike else None


_ListKey = tuple[str, str | None, Parent, frozenset[str] | None]


class _SharedList(Struct, frozen=True):
    """A list, and when it was read and expires, in unix seconds."""

    read_at: float
    expires_at: float
    objects: Sequence[LiveObject]
    by_id: Mapping[str, LiveObject]


class _ApplyLists:
    """Lists that the changes of one apply share.

    Kinds whose objects always exist and cannot be read one by one share one list for all changes of
    a project within a minute. Such objects are never created or deleted, and no two changes concern
    the same one, so the list is current for each. Other kinds are listed again unless the caller
    accepts a list of that age.
    """

    max_age_seconds = SHARED_LIST_SECONDS

    def __init__(self, reader: LiveReader, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._clock = clock
        self._guard = Lock()
        self._locks: dict[_ListKey, Lock] = {}
        self._lists: dict[_ListKey, _SharedList] = {}

    def read(
        self, kind: Kind, project: str | None, parent: Parent = (), *, share: bool = False
    ) -> Sequence[LiveObject]:
        """All objects of a kind in a scope and parent; `share` accepts a shared list."""
        if not share and (kind.readable_singly or not kind.always_exists):
            return self._reader.list(kind, project, parent)
        return self._shared(kind, project, parent).objects

    def find(
        self, kind: Kind, project: str | None, parent: Parent, id: str, *, only_ids: frozenset[str]
    ) -> LiveObject | None:
        """One of some objects from a shared list, which may end once it has shown `only_ids`."""
        return self._shared(kind, project, parent, only_ids).by_id.get(id)

    def _shared(
        self,
        kind: Kind,
        project: str | None,
        parent: Parent,
        only_ids: frozenset[str] | None = None,
    ) -> _SharedList:
        key = (kind.name, project, parent, only_ids)
        # One lock for each list: threads that need the same list wait for one read of it.
        with self._guard:
            # The outer lock only guards the table. Held during a read, it would make all lists of
            # an apply wait for each other.
            lock = self._locks.setdefault(key, Lock())
        with lock:
            shared = self._lists.get(key)
            if shared is None or not shared.read_at <= self._clock() <= shared.expires_at:
                began = self._clock()
                objects = self._reader.list(kind, project, parent, only_ids=only_ids)
                now = self._clock()
                # Rate limits can stretch a list to minutes. It must not expire as it arrives.
                expires_at = now + max(self.max_age_seconds, _READ_TIMES * (now - began))
                by_id = {live.id: live for live in objects}
                shared = _SharedList(now, expires_at, objects, by_id)
                self._lists[key] = shared
            return shared
