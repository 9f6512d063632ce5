"""Identifies our own writes in the audit log.

Entries do not name the run that caused them. So a run remembers its writes. An entry counts as ours
if its type and object match a write and its time lies within the call. If the log has more such
entries than there were writes, someone else wrote as well, and none of them counts as ours. Entries
can be late, so every plan counts again: an entry that was mistaken for ours is recognised once ours
arrives.

Ids alone do not identify objects: rate limits have the same ids in every project. The project of an
entry may be the organization's default project instead of the object's. It is used only if it has
proved to be correct.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.consistency import AUDIT_CLOCK_SECONDS
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.log import REMOVING, AuditEntry
from reconciler.model.values import texts_in

_ROUNDING_SECONDS = 0.01

_ORGANIZATION = "organization"


class Write(Struct, frozen=True, rename={"reported_id": "about"}):
    """One write of a run. Times are unix seconds of the server."""

    kind: str
    project: str | None
    """The name in the configuration."""
    project_id: str | None
    id: str
    """The object's own id."""
    reported_id: str | None
    """The id that the entry reports: that of the object, its parent or its project. None for the
    organization, whose id is unknown."""
    began_at: float
    ended_at: float
    removes: bool = False
    """Whether the write removed the object."""
    noted_after: float | None = None
    """The delay in seconds until the entry that counts as this write; None if there is none yet."""

    def is_shown_since(self, since: float) -> bool:
        """Whether a reading from this time on must contain the write's entry, if the log has it.

        If not, another entry could be mistaken for it.
        """
        # The entry has not appeared, so it can have any time that the call allows, the earliest
        # included.
        if self.noted_after is None:
            return self.began_at - AUDIT_CLOCK_SECONDS >= since
        return self.began_at + self.noted_after >= since - _ROUNDING_SECONDS

    def was_in_flight(self, at: float) -> bool:
        """Whether an entry of that time can report the write."""
        return self.began_at - AUDIT_CLOCK_SECONDS <= at <= self.ended_at + AUDIT_CLOCK_SECONDS

    def may_be_reported_late(self, since: float) -> bool:
        """Whether the entry can have that time or a later one."""
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
        parent, own_id = kind.parent_and_id(id)
        # Entries about what is inside an object name that object: the group of a membership, say.
        reported_id: str | None = parent[0][1] if parent else own_id
        # A setting exists once and has no id of its own. Entries name the project it belongs to.
        if kind.calls.singleton:
            reported_id = project_id
        return cls(kind.name, project, project_id, own_id, reported_id, *times, removes)


EntryKey = tuple[str, str | None, str | None]
"""Entries are counted by family, reported id and, if entries of the family report it, project."""

Name = tuple[str, str | None]
"""How an entry names an object: as its subject ("id"), or anywhere ("about")."""

WritesByEntry = Mapping[str, Sequence[Write]]
"""By id of an entry that is ours: the writes that it may report."""


def has_type(entry: AuditEntry, beginnings: Sequence[str]) -> bool:
    """Whether an entry's type has one of some prefixes."""
    return entry.type.startswith(tuple(beginnings))


def is_removal(entry: AuditEntry) -> bool:
    """Whether an entry reports a removal, which may include other objects."""
    return entry.type.endswith(REMOVING)


def attribute(
    entries: Iterable[AuditEntry],
    writes: Sequence[Write],
    kinds: Mapping[str, Kind],
    *,
    projects_reported: bool,
) -> WritesByEntry:
    """The entries that are ours, with the writes that each may report."""
    indexed = _WriteIndex(writes, kinds, projects_reported=projects_reported)
    by_entry_key: dict[EntryKey, list[tuple[AuditEntry, Sequence[Write]]]] = defaultdict(list)
    for entry in entries:
        matches = indexed.of(entry)
        # An entry that fits writes of several keys is ambiguous and counts as someone else's.
        if len(matches) == 1:
            # Group by key, because the comparison of counts decides whether a group is ours.
            ((key, writes_of_entry),) = matches.items()
            by_entry_key[key].append((entry, writes_of_entry))
    ours: list[tuple[AuditEntry, Sequence[Write]]] = []
    for key, pairs in by_entry_key.items():
        # Fewer entries than writes is normal, since entries can be late. More means that somebody
        # else wrote the same object, and then none of them is trusted.
        if len(pairs) <= indexed.counts[key]:
            ours += pairs
    # A run works with one key, so of entries that have several makers we do not know which are ours.
    one_maker = len({entry.actor for entry, _ in ours}) == 1
    return {entry.id: writes_of_entry for entry, writes_of_entry in ours} if one_maker else {}


def noted(
    entries: Iterable[AuditEntry],
    writes: Sequence[Write],
    kinds: Mapping[str, Kind],
    *,
    projects_reported: bool,
) -> list[Write]:
    """The writes, each with the delay of the entry that may be its own; one entry per write.

    A later reading that starts after this entry must not take another one for the write.
    """
    indexed = _WriteIndex(
        [write for write in writes if write.noted_after is None],
        kinds,
        projects_reported=projects_reported,
    )
    delays: dict[int, float] = {}
    for entry in sorted(entries, key=lambda entry: entry.at):
        for matches in indexed.of(entry).values():
            # Oldest entry to first free write: equal writes are interchangeable, so the order is
            # irrelevant.
            free = next((write for write in matches if id(write) not in delays), None)
            if free is not None:
                delays[id(free)] = entry.at - free.began_at
    return [
        replace(write, noted_after=delays.get(id(write), write.noted_after)) for write in writes
    ]


def reports_projects(
    entries: Sequence[AuditEntry], writes: Sequence[Write], kinds: Mapping[str, Kind]
) -> bool | None:
    """Whether entries report the projects of their objects; None if these entries do not tell.

    Calls with admin keys may be logged under the default project, whatever they changed. Only own
    writes in two projects can prove the opposite, or in one that we have just created, because that
    is not the default project. One wrong project refutes it.
    """
    # Ids of unique-key kinds repeat in every project, so a match by id alone would prove nothing.
    own_writes = [
        write for write in writes if write.project_id and not kinds[write.kind].unique_key
    ]
    written = _WriteIndex(own_writes, kinds, projects_reported=False)
    pairs = set()
    for entry in entries:
        for write in chain.from_iterable(written.of(entry).values()):
            if entry.resource_id == write.id:
                pairs.add((write.project_id, entry.project_id))
    projects = (entry for entry in entries if entry.type.startswith("project."))
    # Project events name the project twice, which tests the log for free: an event that is logged
    # under another project tells that the field has another meaning here.
    strays = any(entry.project_id not in (None, entry.resource_id) for entry in projects)
    if strays or any(real != named for real, named in pairs):
        return False
    # One project may be the default one, under which everything would be logged anyway.
    created = _created_projects(entries, writes, kinds)
    return True if len(pairs) > 1 or any(real in created for real, _ in pairs) else None


def _created_projects(
    entries: Sequence[AuditEntry], writes: Sequence[Write], kinds: Mapping[str, Kind]
) -> set[str | None]:
    """The ids of the projects that we created, by our writes and by the log."""
    created = {entry.resource_id for entry in entries if entry.type == "project.created"}
    return created & {write.id for write in writes if kinds[write.kind].defines_project}


class _WriteIndex:
    """Own writes, indexed by what their entries can name."""

    def __init__(
        self, writes: Sequence[Write], kinds: Mapping[str, Kind], *, projects_reported: bool
    ) -> None:
        self.counts: dict[EntryKey, int] = defaultdict(int)
        self._kinds = kinds
        self._projects_reported = projects_reported
        # A family is counted by project only if every kind in it lives in projects: an entry about
        # an organization's object may name none.
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
        """The writes that an entry may report, by the key under which they are counted."""
        matches: dict[EntryKey, list[Write]] = defaultdict(list)
        for name in _names(entry):
            for key, write in self._by_name.get((family_of(entry.type), name), ()):
                if self._may_tell_of(entry, write):
                    matches[key].append(write)
        return matches

    def _may_tell_of(self, entry: AuditEntry, write: Write) -> bool:
        kind = self._kinds[write.kind]
        # A rate limit id exists in every project, so only the project tells them apart.
        is_elsewhere = (
            self._projects_reported
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
                # Families shared by several scopes are counted together: not all their entries name
                # a project.
                is_placed = self._projects_reported and family in self._of_projects
                key = family, write.reported_id, write.project_id if is_placed else None
                self.counts[key] += 1
                for name in {("about", write.reported_id), ("id", write.id)}:
                    self._by_name[family, name].append((key, write))


def _names(entry: AuditEntry) -> set[Name]:
    # Some events name the project or the group as their subject, and the object only in the
    # details.
    about = {entry.resource_id, None, *texts_in(entry.details)}
    return {("id", entry.resource_id), *(("about", name) for name in about)}


def family_of(type: str) -> str:
    """The first word of an event type. Entries are counted by family."""
    return type.partition(".")[0]
