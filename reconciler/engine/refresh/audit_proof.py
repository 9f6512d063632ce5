"""Asks the audit log which of some scopes may have changed since they were verified.

One query reads the log for all of them. If its first page is full of new entries, filtered queries
replace the remaining pages. The log is trusted only as long as it still shows the entries that it
showed before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.refresh.affected_scopes import (
    AffectedScopes,
    AttributedLog,
    affected_scopes,
    attributed_log,
    project_names,
)
from reconciler.engine.refresh.audit_attribution import (
    Write,
    family_of,
    has_type,
    with_entry_delays,
)
from reconciler.engine.refresh.audit_window import (
    AuditLog,
    AuditWindow,
    Counted,
    WindowReading,
    by_id,
    is_published,
    newest_of,
    read_filtered,
    read_window,
    too_long,
    types_of,
    window_of,
)
from reconciler.engine.refresh.checkpoint import (
    RefreshCheckpoint,
    ScopeKey,
    UnchangedScopes,
    VerifiedScope,
    newest_entries_of,
)
from reconciler.errors import ApiError
from reconciler.model.kind import Kind
from reconciler.model.log import AuditEntry, LogQuery

_FEW_SCOPES = 3
"""The limit for filtered queries. If the newest entries concern more scopes, or more projects of
others, than this, they come from the apply of another tool, and a filtered query would be as long."""

_MOST_PROJECTS = 60
"""Projects per query. More would exceed the URL length that servers accept."""


class Costs(Struct, frozen=True):
    """Costs of reading in calls, as far as they are known in advance. Both functions are slow, and
    are called only if more than one call is at stake."""

    of: Callable[[Collection[ScopeKey]], int]
    """The cost of reading all scopes except unchanged ones."""
    pending: Callable[[], Collection[ScopeKey]]
    """The scopes with changes according to the state alone, which are read in any case."""
    sharers: int = 1
    """How many stacks share the calls for the log."""

    def saved(self, scopes: Collection[ScopeKey]) -> int:
        """The number of calls that trusting these scopes saves, for all who share the log."""
        unchanged = set(scopes) - set(self.pending())
        return (self.of(()) - self.of(unchanged)) * self.sharers


class Proof(Struct, frozen=True):
    """The answer of the log."""

    touched: Mapping[ScopeKey, str]
    """The scopes that may have changed, each with the type of an entry."""
    unchanged: UnchangedScopes
    """The result for the checkpoint, still without scopes."""


class LogExamination:
    """Examines one log for verified scopes.

    `checkpoint` holds what the log showed before, and our own writes.
    """

    def __init__(
        self,
        log: AuditLog,
        checkpoint: RefreshCheckpoint,
        scopes: Mapping[ScopeKey, VerifiedScope],
        inputs: PlanInputs,
        *,
        overlap_seconds: float,
        costs: Costs,
    ) -> None:
        self._log = log
        self._checkpoint = checkpoint
        self._scopes = scopes
        self._inputs = inputs
        self._overlap_seconds = overlap_seconds
        self._costs = costs

    def prove(self) -> Proof:
        """Ask the log. Raises ApiError if it is unreliable, or longer than it is worth."""
        checkpoint = self._checkpoint
        # An empty log may be one that is switched off. It has to show one of our writes before its
        # silence counts as a proof.
        if not checkpoint.newest_entries and not checkpoint.writes:
            raise _shows_nothing()
        window = self._window()
        reading = self._read(window)
        self._require_known_entries(reading)
        # Entries of older writes may lie outside of what was read. Another entry must not be taken
        # for them, so these writes are left out of the attribution.
        since = int(window.needed_from) if reading.is_complete else reading.shown_from
        current = self._with_writes_since(since)
        attributed = attributed_log(reading.entries, current, self._inputs)
        # The first reading of the log does not show our own writes: it is late, switched off, or
        # the log of another organization.
        if not checkpoint.newest_entries and not attributed.ours:
            raise _shows_nothing()
        touched = self._affected(attributed)
        writes = with_entry_delays(
            reading.entries,
            current.writes,
            self._inputs.kinds,
            projects_reported=attributed.projects_reported,
        )
        unchanged = UnchangedScopes(
            # An empty reading proves nothing new about the log, so the known entries remain the
            # test.
            newest_entries=newest_entries_of(reading.entries) or checkpoint.newest_entries,
            projects_reported=attributed.projects_reported,
            writes=writes,
        )
        unchanged = replace(
            unchanged, counted=_counted_entries(window, reading, unchanged.newest_entries)
        )
        if not reading.is_complete:
            touched = self._touched_by_type(window, reading, attributed, touched)
        return Proof(touched, unchanged)

    def _window(self) -> AuditWindow:
        checkpoint = self._checkpoint
        newest = newest_of(checkpoint.newest_entries)
        # The scope that was settled first decides where reading begins: one query answers for all.
        verified = self._scopes.values()
        since = min(scope.settled_before(self._overlap_seconds) for scope in verified)
        # Entries of our own writes that no reading has shown yet are still to come, so they count
        # among those to expect.
        late = [write.ended_at for write in checkpoint.writes if write.noted_after is None]
        if newest is not None:
            late = [ended_at for ended_at in late if ended_at > newest]
        return window_of(since, newest=newest, counted=checkpoint.counted, late=late)

    @cached_property
    def _worth(self) -> int:
        """The most calls that the log may take."""
        # At most one call more than reading everything: the cost of a useless full first page.
        return self._costs.saved(self._scopes) + 1

    def _read(self, window: AuditWindow) -> WindowReading:
        if window.pages > 1 and window.pages > self._worth:
            raise ApiError(
                f"about {window.expected:,} entries are expected, which costs more than it saves"
            )
        is_bold = self._costs.sharers > 1
        return read_window(self._log, window, worth=lambda: self._worth, is_bold=is_bold)

    def _require_known_entries(self, reading: WindowReading) -> None:
        """Raise ApiError if an entry is missing that the log showed before."""
        # A log that lost entries was switched off, truncated or replaced: its silence proves
        # nothing.
        shown = by_id(reading.entries)
        for id, at in self._checkpoint.newest_entries.items():
            # The filter knows whole seconds, hence `int`.
            if at >= int(reading.shown_from) and id not in shown:
                raise ApiError("it no longer shows entries that it showed before")

    def _affected(self, attributed: AttributedLog) -> Mapping[ScopeKey, str]:
        verified = self._scopes.values()
        return affected_scopes(verified, attributed, self._inputs, self._overlap_seconds)

    def _with_writes_since(self, since: float) -> RefreshCheckpoint:
        """The checkpoint with only those writes whose entries a reading from this time on must show."""
        writes = [write for write in self._checkpoint.writes if write.is_shown_since(since)]
        return replace(self._checkpoint, writes=writes)

    # A log whose first page is full of new entries

    def _touched_by_type(
        self,
        window: AuditWindow,
        reading: WindowReading,
        sample: AttributedLog,
        touched: Mapping[ScopeKey, str],
    ) -> Mapping[ScopeKey, str]:
        """The scopes that may have changed, by filtered queries in place of the remaining pages.

        `sample` is the first page, and `touched` are the scopes of its entries. Raises ApiError if
        the queries are too long as well, or not worth their calls.
        """
        since = window.filter_start
        # A page of many scopes speaks for queries that are as long. If more pages were read,
        # filtered queries would come on top of them instead of replacing them.
        if since is None or reading.calls > 1 or self._is_mixed(sample, touched):
            raise too_long(reading)
        # Kinds without an entry on the page are settled by one query that excludes the page's
        # types.
        proved = self._scopes_of_quiet_kinds(reading.entries) - touched.keys()
        if self._costs.saved(proved) < _FEW_SCOPES:
            raise too_long(reading)
        kinds = [self._inputs.kinds[name] for name in sorted(self._kind_names)]
        common = {entry.type for entry in reading.entries}
        # Types on the first page are left out of the query, since they alone would fill its page
        # again.
        rest = read_filtered(self._log, LogQuery(since, types=types_of(kinds, but=common)))
        if rest is None:
            raise too_long(reading)
        # Scopes in projects that the page does not name are settled by a query for these projects.
        undecided = self._scopes.keys() - proved - touched.keys()
        elsewhere, project_ids = _scopes_elsewhere(undecided, sample, self._inputs)
        in_projects: Sequence[AuditEntry] | None = None
        # With this query there are two on top of the window, and the bound is one call more than is
        # saved.
        if elsewhere and reading.calls + 2 <= self._costs.saved(proved) + 1:
            types = tuple(name for name in types_of(kinds) if name in common)
            in_projects = read_filtered(
                self._log, LogQuery(since, types=types, project_ids=project_ids)
            )
        if in_projects is None:
            in_projects, project_ids = (), ()
        else:
            proved |= elsewhere
        # The queries overlap. An entry that counts twice would be one more than there were writes,
        # and then none of them would count as ours.
        entries = list(by_id((*reading.entries, *rest, *in_projects)).values())
        attributed = _attribute_parts(
            entries,
            common,
            project_ids,
            recent=self._with_writes_since(reading.shown_from),
            earlier=self._with_writes_since(int(since)),
            inputs=self._inputs,
        )
        # Scopes that no query has settled are read. An entry is the better reason, if there is one.
        many = f"more than {len(reading.entries):,} new entries"
        unsettled = dict.fromkeys(self._scopes.keys() - proved, many)
        return {**unsettled, **touched, **self._affected(attributed)}

    def _is_mixed(self, sample: AttributedLog, touched: Collection[ScopeKey]) -> bool:
        """Whether entries concern so many scopes or projects that filters would not help."""
        if len(touched) > _FEW_SCOPES:
            return True
        named = {entry.project_id for entry in sample.entries if entry.project_id}
        return len(named - project_names(self._inputs).keys()) > _FEW_SCOPES

    @property
    def _kind_names(self) -> set[str]:
        return {kind for kind, _ in self._scopes}

    def _scopes_of_quiet_kinds(self, entries: Sequence[AuditEntry]) -> set[ScopeKey]:
        """The scopes of the kinds that no entry concerns."""
        quiet: set[str] = set()
        for name in self._kind_names:
            prefixes = self._inputs.kinds[name].audit_events
            if not any(has_type(entry, prefixes) for entry in entries):
                quiet.add(name)
        return {scope for scope in self._scopes if scope[0] in quiet}


def _shows_nothing() -> ApiError:
    return ApiError("it has not shown any change of ours so far")


def _counted_entries(
    window: AuditWindow, reading: WindowReading, newest_entries: Mapping[str, float]
) -> Counted:
    """The entries of a reading, as the next plan expects them again."""
    newest = max(newest_entries.values(), default=window.needed_from)
    if not reading.is_complete:
        return Counted.of(reading.entries, newest, since=reading.shown_from)
    # The reading can begin earlier, so that a known entry shows again. Entries older than needed
    # were judged before.
    needed = [entry for entry in reading.entries if entry.at >= int(window.needed_from)]
    since = window.needed_from if window.is_shortened else None
    return Counted.of(needed, newest, since=since)


def _attribute_parts(
    entries: Sequence[AuditEntry],
    common: Collection[str],
    project_ids: Collection[str],
    *,
    recent: RefreshCheckpoint,
    earlier: RefreshCheckpoint,
    inputs: PlanInputs,
) -> AttributedLog:
    """Attribution of the entries of filtered queries.

    Families that the queries show completely can report any own write since the queries begin.
    Families with `common` types, which the page shows in part, can only report `recent` ones,
    except in the projects that were queried by id.
    """
    # By family rather than by type, because own writes are counted by family: a part of one could
    # hide the entry of somebody else.
    partial = set(map(family_of, common))
    whole: list[AuditEntry] = []
    in_projects: list[AuditEntry] = []
    others: list[AuditEntry] = []
    for entry in entries:
        if family_of(entry.type) not in partial:
            whole.append(entry)
        elif entry.project_id in project_ids:
            in_projects.append(entry)
        else:
            others.append(entry)
    placed = [write for write in earlier.writes if write.project_id in project_ids]
    ours: dict[str, Sequence[Write]] = {}
    projects_reported = True
    # Each part is complete from another time on, so other writes can have caused its entries.
    for part, known in (
        (whole, earlier),
        (in_projects, replace(earlier, writes=placed)),
        (others, recent),
    ):
        attributed = attributed_log(part, known, inputs)
        ours.update(attributed.ours)
        projects_reported = projects_reported and attributed.projects_reported
    return AttributedLog(entries, ours, projects_reported)


def _scopes_elsewhere(
    scopes: Collection[ScopeKey], attributed: AttributedLog, inputs: PlanInputs
) -> tuple[set[ScopeKey], tuple[str, ...]]:
    """Scopes that a query for certain projects can settle, and the ids of these projects.

    No entry names these projects so far, and all entries that may concern the scopes name a
    project.
    """
    if not attributed.projects_reported:
        return set(), ()
    # Ask only for projects without an entry so far: the others would fill the page again.
    quiet = project_names(inputs)
    for entry in attributed.entries:
        quiet.pop(entry.project_id or "", None)
    asked = dict(islice(sorted(quiet.items()), _MOST_PROJECTS))
    projects = set().union(*asked.values())
    affected = AffectedScopes((), inputs, projects_reported=True)
    placed: set[str] = set()
    for kind in {kind for kind, _ in scopes}:
        if _always_names_projects(inputs.kinds[kind], attributed, affected):
            placed.add(kind)
    settled = {scope for scope in scopes if scope[0] in placed and scope[1] in projects}
    return settled, tuple(asked)


def _always_names_projects(kind: Kind, attributed: AttributedLog, affected: AffectedScopes) -> bool:
    """Whether a query by project finds all entries like those that concern the kind so far."""
    for entry in attributed.entries:
        # The filter takes published types only, and entries that concern other kinds name no
        # project.
        is_found = is_published(entry.type) and affected.is_of_one_project(entry)
        if has_type(entry, kind.audit_events) and not is_found:
            return False
    return True
