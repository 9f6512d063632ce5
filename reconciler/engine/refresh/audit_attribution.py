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
        # An entry about a part of an object names that object, such as the group of a membership.
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
    by_key: dict[EntryKey, list[AuditEntry]] = defaultdict(list)
    writes_of: dict[str, Sequence[Write]] = {}
    for entry in entries:
        matches = indexed.of(entry)
        # An entry that fits writes of several keys is ambiguous and counts as someone else's.
        if len(matches) == 1:
            # Group by key, because the comparison of counts decides whether a group is ours.
            ((key, own_writes),) = matches.items()
            by_key[key].append(entry)
            writes_of[entry.id] = own_writes
    ours: list[AuditEntry] = []
    for key, group in by_key.items():
        # Fewer entries than writes is normal, since entries can be late. More means that somebody
        # else wrote the same object, and then none of them is trusted.
        if len(group) <= indexed.counts[key]:
            ours += group
    # A run works with one API key. With several makers, nothing tells which of them is the run.
    if len({entry.actor for entry in ours}) != 1:
        return {}
    return {entry.id: writes_of[entry.id] for entry in ours}


def with_entry_delays(
    entries: Iterable[AuditEntry],
    writes: Sequence[Write],
    kinds: Mapping[str, Kind],
    *,
    projects_reported: bool,
) -> list[Write]:
    """The writes, each with the delay of the entry that may be its own; one entry per write.

    A later reading that starts after this entry must not take another one for the write.
    """
    waiting = [write for write in writes if write.noted_after is None]
    indexed = _WriteIndex(waiting, kinds, projects_reported=projects_reported)
    # By identity, because two writes of one object can be equal in every field.
    delays: dict[int, float] = {}
    for entry in sorted(entries, key=lambda entry: entry.at):
        for matches in indexed.of(entry).values():
            # Oldest entry to first free write: equal writes are interchangeable, so the order is
            # irrelevant.
            free = next((write for write in matches if id(write) not in delays), None)
            if free is not None:
                delays[id(free)] = entry.at - free.began_at
    result: list[Write] = []
    for write in writes:
        delay = delays.get(id(write))
        result.append(write if delay is None else replace(write, noted_after=delay))
    return result


def reports_projects(
    entries: Sequence[AuditEntry], writes: Sequence[Write], kinds: Mapping[str, Kind]
) -> bool | None:
    """Whether entries report the projects of their objects; None if these entries do not tell.

    Calls with admin keys may be logged under the default project, whatever they changed. Only own
    writes in two projects can prove the opposite, or in one that we have just created, because that
    is not the default project. One wrong project refutes it.
    """
    # Project events name the project twice, which tests the log for free: an event that is logged
    # under another project shows that the field has another meaning here.
    for entry in entries:
        is_project_event = entry.type.startswith("project.")
        if is_project_event and entry.project_id not in (None, entry.resource_id):
            return False
    projects = _reported_projects(entries, writes, kinds)
    if projects is None:
        return False
    # One project may be the default one, under which everything would be logged anyway.
    if len(projects) > 1 or projects & _created_projects(entries, writes, kinds):
        return True
    return None


def _reported_projects(
    entries: Sequence[AuditEntry], writes: Sequence[Write], kinds: Mapping[str, Kind]
) -> set[str | None] | None:
    """The projects of own writes that entries report correctly; None if one reports another project."""
    # Ids of unique-key kinds repeat in every project, so a match by id alone would prove nothing.
    placed = [write for write in writes if write.project_id and not kinds[write.kind].unique_key]
    indexed = _WriteIndex(placed, kinds, projects_reported=False)
    projects: set[str | None] = set()
    for entry in entries:
        for write in chain.from_iterable(indexed.of(entry).values()):
            if entry.resource_id != write.id:
                continue
            if entry.project_id != write.project_id:
                return None
            projects.add(write.project_id)
    return projects


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
        shared: set[str] = set()
        self._of_projects: set[str] = set()
        for kind in kinds.values():
            is_placed = kind.scope is ScopeType.PROJECT
            families = self._of_projects if is_placed else shared
            families.update(map(family_of, kind.audit_event_types))
        self._of_projects -= shared
        self._by_name: dict[tuple[str, Name], list[tuple[EntryKey, Write]]] = defaultdict(list)
        for write in writes:
            self._add(write, kinds[write.kind])

    def of(self, entry: AuditEntry) -> Mapping[EntryKey, Sequence[Write]]:
        """The writes that an entry may report, by the key under which they are counted."""
        matches: dict[EntryKey, list[Write]] = defaultdict(list)
        for name in _names(entry):
            for key, write in self._by_name.get((family_of(entry.type), name), ()):
                if self._may_report(entry, write):
                    matches[key].append(write)
        return matches

    def _may_report(self, entry: AuditEntry, write: Write) -> bool:
        kind = self._kinds[write.kind]
        if not has_type(entry, kind.audit_event_types) or not write.was_in_flight(entry.at):
            return False
        # A rate limit id exists in every project, so only the project tells them apart.
        is_placed = self._projects_reported and kind.scope is ScopeType.PROJECT
        return not is_placed or entry.project_id in (None, write.project_id)

    def _add(self, write: Write, kind: Kind) -> None:
        for family in set(map(family_of, kind.audit_event_types)):
            # Settings of the organization are reported without an id, and no other event is.
            # Without this test, an entry of theirs could count as one of any project.
            if (write.reported_id is None) is not (family == _ORGANIZATION):
                continue
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
    names: set[Name] = {("id", entry.resource_id)}
    for id in (entry.resource_id, None, *texts_in(entry.details)):
        names.add(("about", id))
    return names


def family_of(type: str) -> str:
    """The first word of an event type. Entries are counted by family."""
    return type.partition(".")[0]
