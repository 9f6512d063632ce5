"""Which entries of the audit log are our own writes.

An entry does not say which run it is of. So a run remembers its writes, and an entry is taken for one of them where it
is of such a type, names the object, and lies in the seconds in which the write was on its way. Where the log has more
of such entries than there were writes, somebody else wrote as well, and none of them is taken for ours. Entries come
late, so each plan counts anew: one that was taken for ours while ours was still to come is found out when ours comes.

Ids alone do not tell objects apart: those of rate limits are the same in every project. And the project of an entry
may be the organization's default project, whichever the object is in; it counts only where it has proved true.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.consistency import AUDIT_CLOCK_SECONDS
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.log import REMOVING, AuditEntry
from reconciler.model.values import texts_in

_ROUNDING_SECONDS = 0.01

_ORGANIZATION = "organization"


class Write(Struct, frozen=True, rename={"reported_id": "about"}):
    """One write of a run: of which kind, in which project (its name in the configuration, its id), and when.

    `id` is the object's own. `about` is what its entry names: the object, what it belongs to, or its project; None
    where that is the organization, whose id nobody tells us. `removes` where the object was gone afterwards. Times are
    unix seconds of the server. `noted_after` is how many seconds after its beginning the log has an entry that was
    taken for it; None as long as it shows none.
    """

    kind: str
    project: str | None
    project_id: str | None
    id: str
    reported_id: str | None
    began_at: float
    ended_at: float
    removes: bool = False
    noted_after: float | None = None

    def is_told_since(self, since: float) -> bool:
        """Whether its entry is surely among those from a time on, if the log has it.

        Where it may be older, another entry could be taken for it in its absence.
        """
        if self.noted_after is None:
            return self.began_at - AUDIT_CLOCK_SECONDS >= since
        return self.began_at + self.noted_after >= since - _ROUNDING_SECONDS

    def was_in_flight(self, at: float) -> bool:
        """Whether an entry of that time can tell of it."""
        return self.began_at - AUDIT_CLOCK_SECONDS <= at <= self.ended_at + AUDIT_CLOCK_SECONDS

    def may_be_reported_late(self, since: float) -> bool:
        """Whether its entry may be of that time or later."""
        return self.ended_at + AUDIT_CLOCK_SECONDS >= since

    @classmethod
    def of(
        cls,
        kind: Kind,
        project: str | None,
        project_id: str | None,
        id: str,
        *,
        times: tuple[float, float],
        removes: bool,
    ) -> Write:
        """A write of an object with this id."""
        within, own_id = kind.parent_and_id(id)
        about: str | None = within[0][1] if within else own_id
        if kind.calls.singleton:
            about = project_id
        return cls(kind.name, project, project_id, own_id, about, *times, removes)


EntryKey = tuple[str, str | None, str | None]
"""What is counted together: the family of entries, what they are about, and the project where all of them have one."""

Name = tuple[str, str | None]
"""How an entry tells of an object: as its own ("id"), or as one that has to do with it ("about")."""

WritesByEntry = Mapping[str, Sequence[Write]]
"""For the ids of entries that are ours, the writes that they may tell of."""


def has_type(entry: AuditEntry, beginnings: Sequence[str]) -> bool:
    """Whether an entry is of one of some types, given by what they begin with; of none where there are none."""
    return entry.type.startswith(tuple(beginnings))


def is_removal(entry: AuditEntry) -> bool:
    """Whether an entry tells that something is gone, and maybe others with it."""
    return entry.type.endswith(REMOVING)


def attribute(
    entries: Iterable[AuditEntry],
    writes: Sequence[Write],
    kinds: Mapping[str, Kind],
    *,
    places_told: bool,
) -> WritesByEntry:
    """Which entries are ours, and the writes that each may tell of."""
    indexed = _WriteIndex(writes, kinds, places_told=places_told)
    by_bucket: dict[EntryKey, list[tuple[AuditEntry, Sequence[Write]]]] = defaultdict(list)
    for entry in entries:
        hits = indexed.of(entry)
        if len(hits) == 1:
            ((bucket, hit),) = hits.items()
            by_bucket[bucket].append((entry, hit))
    ours = [
        pair
        for bucket, pairs in by_bucket.items()
        if len(pairs) <= indexed.counts[bucket]
        for pair in pairs
    ]
    # A run works with one key, so of entries that have several makers we do not know which are ours.
    one_maker = len({entry.actor for entry, _ in ours}) == 1
    return {entry.id: hit for entry, hit in ours} if one_maker else {}


def noted(
    entries: Iterable[AuditEntry],
    writes: Sequence[Write],
    kinds: Mapping[str, Kind],
    *,
    places_told: bool,
) -> list[Write]:
    """The writes, each with the time of the entry that may be its own, one entry for each write.

    A later reading that begins after such an entry must not take another one for the write.
    """
    indexed = _WriteIndex(
        [write for write in writes if write.noted_after is None], kinds, places_told=places_told
    )
    delays: dict[int, float] = {}
    for entry in sorted(entries, key=lambda entry: entry.at):
        for hits in indexed.of(entry).values():
            free = next((write for write in hits if id(write) not in delays), None)
            if free is not None:
                delays[id(free)] = entry.at - free.began_at
    return [
        replace(write, noted_after=delays.get(id(write), write.noted_after)) for write in writes
    ]


def reports_projects(
    entries: Sequence[AuditEntry], writes: Sequence[Write], kinds: Mapping[str, Kind]
) -> bool | None:
    """Whether entries name the projects that their objects are in; None where these ones leave that open.

    What is done with admin keys may be noted under the default project, whatever it was done to. So only what we wrote
    in two projects can prove that it is not, and one entry that names another project that it is.
    """
    mine = [write for write in writes if write.project_id and not kinds[write.kind].unique_key]
    written = _WriteIndex(mine, kinds, places_told=False)
    pairs = {
        (write.project_id, entry.project_id)
        for entry in entries
        for hit in written.of(entry).values()
        for write in hit
        if entry.resource_id == write.id
    }
    projects = (entry for entry in entries if entry.type.startswith("project."))
    strays = any(entry.project_id not in (None, entry.resource_id) for entry in projects)
    if strays or any(real != named for real, named in pairs):
        return False
    return True if len(pairs) > 1 else None


class _WriteIndex:
    """Writes, by what the entries name that may tell of them."""

    def __init__(
        self, writes: Sequence[Write], kinds: Mapping[str, Kind], *, places_told: bool
    ) -> None:
        self.counts: dict[EntryKey, int] = defaultdict(int)
        self._kinds = kinds
        self._places_told = places_told
        scopes: dict[str, set[ScopeType]] = defaultdict(set)
        for kind in kinds.values():
            for type in kind.audit_event_types:
                scopes[family_of(type)].add(kind.scope)
        self._of_projects = {
            family for family, scope_types in scopes.items() if scope_types == {ScopeType.PROJECT}
        }
        self._by_name: dict[tuple[str, Name], list[tuple[EntryKey, Write]]] = defaultdict(list)
        for write in writes:
            self._add(write, kinds[write.kind])

    def of(self, entry: AuditEntry) -> Mapping[EntryKey, Sequence[Write]]:
        """The writes that an entry may tell of, as they are counted."""
        hits: dict[EntryKey, list[Write]] = defaultdict(list)
        for name in _names(entry):
            for bucket, write in self._by_name.get((family_of(entry.type), name), ()):
                if self._may_tell_of(entry, write):
                    hits[bucket].append(write)
        return hits

    def _may_tell_of(self, entry: AuditEntry, write: Write) -> bool:
        kind = self._kinds[write.kind]
        is_elsewhere = (
            self._places_told
            and kind.scope is ScopeType.PROJECT
            and entry.project_id not in (None, write.project_id)
        )
        return (
            has_type(entry, kind.audit_event_types)
            and write.was_in_flight(entry.at)
            and not is_elsewhere
        )

    def _add(self, write: Write, kind: Kind) -> None:
        for family in {family_of(type) for type in kind.audit_event_types}:
            # Of the organization's own settings nothing is named; it must not be taken for any project.
            if (write.reported_id is None) is (family == _ORGANIZATION):
                is_placed = self._places_told and family in self._of_projects
                bucket = family, write.reported_id, write.project_id if is_placed else None
                self.counts[bucket] += 1
                for name in {("about", write.reported_id), ("id", write.id)}:
                    self._by_name[family, name].append((bucket, write))


def _names(entry: AuditEntry) -> set[Name]:
    about = {entry.resource_id, None, *texts_in(entry.details)}
    return {("id", entry.resource_id), *(("about", name) for name in about)}


def family_of(type: str) -> str:
    """What a type of entries begins with: entries of one family are counted together."""
    return type.partition(".")[0]
