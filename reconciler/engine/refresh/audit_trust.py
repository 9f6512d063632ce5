"""Decides which scopes need no reading, because the audit log shows no change since they were last read.

The log is queried once for all scopes, from some time before the last query on, because entries can be late. It is
trusted only as long as it still shows the entries that it showed before. If it has a gap, is switched off or contains
an entry of an unknown type, everything is read. Independent of the log, everything is read after some hours or applies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain, islice
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.refresh.affected_scopes import (
    AffectedScopes,
    AttributedLog,
    affected_scopes,
    attributed_log,
    is_reported_in_audit_log,
    project_names,
)
from reconciler.engine.refresh.audit_attribution import Write, family_of, has_type, noted
from reconciler.engine.refresh.audit_window import (
    AuditLog,
    AuditWindow,
    Counted,
    WindowReading,
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
    scope_key,
)
from reconciler.errors import ApiError, CredentialError
from reconciler.model.address import Address
from reconciler.model.change import Change, Plan, RefreshSummary
from reconciler.model.kind import Kind
from reconciler.model.log import AuditEntry, LogQuery
from reconciler.model.values import Unknown, references_in

_FEW_SCOPES = 3
"""The limit for filtered queries. If the newest entries concern more scopes, or more projects of
others, than this, the log is another tool's apply, and a filtered query would be as long."""


_MOST_PROJECTS = 60
"""Projects per query. More would exceed the URL length that servers accept."""


class FullRefreshPolicy(Struct, frozen=True):
    """When to read everything whatever the log says, and how late entries can be."""

    overlap_seconds: float = 900.0
    hours: float = 24.0
    runs: int = 20


class Costs(Struct, frozen=True):
    """Costs of reading in calls, as far as they are known in advance. Both functions are slow, and
    are called only if more than one call is at stake."""

    of: Callable[[Collection[ScopeKey]], int]
    """The cost of reading all scopes except trusted ones."""
    pending: Callable[[], Collection[ScopeKey]]
    """The scopes with changes according to the state alone, which are read in any case."""
    sharers: int = 1
    """How many stacks share the calls for the log."""

    def saved(self, scopes: Collection[ScopeKey]) -> int:
        """The number of calls that trusting these scopes saves, for all who share the log."""
        trusted = set(scopes) - set(self.pending())
        return (self.of(()) - self.of(trusted)) * self.sharers


def decide(
    inputs: PlanInputs,
    checkpoint: RefreshCheckpoint | None,
    log: AuditLog,
    *,
    policy: FullRefreshPolicy,
    costs: Costs,
) -> UnchangedScopes:
    """The unchanged scopes according to the audit log. Spends at most one call more on the log than
    it saves."""
    if checkpoint is None:
        return UnchangedScopes(full_refresh_reason="no earlier reading is remembered")
    # Somebody wrote the state without saving a checkpoint: an import, `state rm`, or a run that
    # died. What was verified then need not be what is recorded now.
    if checkpoint.serial != inputs.state_serial:
        return UnchangedScopes(full_refresh_reason="the state was changed since the last apply")
    if due := _full_refresh_due(checkpoint, policy, inputs.server_time()):
        return due
    # An overview and an adoption concern objects that no record names, a destroy changes every
    # scope, and a new state has to search all lists for its marks: the records cannot answer for
    # any of it.
    options = inputs.options
    if options.unmanaged or options.adopt or options.destroy or inputs.state_is_new:
        return UnchangedScopes(full_refresh_reason="all objects are asked for")
    scopes = _trustworthy(inputs, checkpoint)
    # A query of the log costs a call, as much as reading a single scope.
    if len(scopes) * costs.sharers < 2:
        return UnchangedScopes(reasons=_reasons(inputs, checkpoint, {}))
    try:
        # The log is an optimization. Whatever goes wrong with it costs a full refresh and never the
        # plan.
        proof = _prove(log, checkpoint, scopes, inputs, policy, costs)
    except (ApiError, CredentialError) as error:
        return UnchangedScopes(
            full_refresh_reason=f"the audit log cannot be used: {error}", setback=_in_short(error)
        )
    # Check again: the answer of the log has told the server's time, which was a guess before.
    if due := _full_refresh_due(checkpoint, policy, inputs.server_time()):
        return due
    # A scope with an entry of others is read again. All others keep the time of their own reading,
    # which need not be that of the last apply.
    kept = {
        scope: verified.read_at for scope, verified in scopes.items() if scope not in proof.touched
    }
    return replace(
        proof.unchanged, scopes=kept, reasons=_reasons(inputs, checkpoint, proof.touched)
    )


def _full_refresh_due(
    checkpoint: RefreshCheckpoint, policy: FullRefreshPolicy, now: float
) -> UnchangedScopes | None:
    # The distance, since the clock of a checkpoint may have been ahead: a negative age must not
    # count as fresh for ever.
    if abs(now - checkpoint.full_at) > policy.hours * 3600:
        every = f"{policy.hours:g} hours"
    elif checkpoint.runs >= policy.runs:
        every = f"{policy.runs} applies"
    else:
        return None
    reason = f"everything is read every {every}, and it is due"
    return UnchangedScopes(
        full_refresh_reason=reason, setback=f"that is due every {every}, until an apply does it"
    )


def _in_short(error: ApiError | CredentialError) -> str:
    status = error.status if isinstance(error, ApiError) else None
    return f"the audit log answers {status}" if status else f"the audit log cannot be used: {error}"


def _trustworthy(
    inputs: PlanInputs, checkpoint: RefreshCheckpoint
) -> Mapping[ScopeKey, VerifiedScope]:
    """The verified scopes of kinds that the log reports, without new declarations."""
    unbound = _unbound(inputs)
    recorded = {scope_key(address) for address in inputs.records}
    trustworthy = {}
    for scope, verified in checkpoint.by_scope.items():
        # The records answer for a trusted scope, so a scope without any cannot be trusted.
        has_records_only = scope in recorded and scope not in unbound
        if has_records_only and is_reported_in_audit_log(inputs.kinds.get(scope[0])):
            trustworthy[scope] = verified
    return trustworthy


def _unbound(inputs: PlanInputs) -> set[ScopeKey]:
    return {
        scope_key(resource.address)
        for resource in inputs.resources
        if resource.address not in inputs.records
    }


def _reasons(
    inputs: PlanInputs, checkpoint: RefreshCheckpoint, touched: Mapping[ScopeKey, str]
) -> Mapping[ScopeKey, str]:
    """Why each untrusted scope is read."""
    reasons = {}
    unbound, scopes = _unbound(inputs), checkpoint.by_scope
    declared = (resource.address for resource in inputs.resources)
    for scope in set(map(scope_key, chain(inputs.records, declared))):
        # In this order, because a kind that the log does not report is read whatever else is true
        # of it.
        if not is_reported_in_audit_log(inputs.kinds.get(scope[0])):
            reasons[scope] = "the audit log does not tell of every change there"
        elif scope in unbound:
            reasons[scope] = "something new is declared there"
        elif scope not in scopes:
            reasons[scope] = "the last apply did not leave it in order"
        elif scope in touched:
            reasons[scope] = f"the audit log has {touched[scope]}"
    return reasons


class _Proof(Struct, frozen=True):
    """The answer of the log: the scopes that may have changed, each with the type of an entry, and
    the result without scopes."""

    touched: Mapping[ScopeKey, str]
    unchanged: UnchangedScopes


def _prove(
    log: AuditLog,
    checkpoint: RefreshCheckpoint,
    scopes: Mapping[ScopeKey, VerifiedScope],
    inputs: PlanInputs,
    policy: FullRefreshPolicy,
    costs: Costs,
) -> _Proof:
    """Query the log about scopes. Raises ApiError if it is unreliable, or longer than it is worth."""
    # An empty log may be one that is switched off. It has to show one of our writes before its
    # silence counts as a proof.
    if not checkpoint.newest_entries and not checkpoint.writes:
        raise ApiError("it has not shown any change of ours so far")
    window = _window(checkpoint, scopes.values(), policy)
    # At most one call more than reading everything: what a full first page costs if it is of no use.
    worth = cache(lambda: costs.saved(scopes) + 1)
    if window.pages > 1 and window.pages > worth():
        raise ApiError(
            f"about {window.expected:,} entries are expected, which costs more than it saves"
        )
    reading = read_window(log, window, worth=worth, is_bold=costs.sharers > 1)
    # A log that lost entries was switched off, truncated or replaced: its silence proves nothing.
    # The filter knows whole seconds, hence `int`.
    known = {entry.id for entry in reading.entries}
    if any(
        at >= int(reading.shown_from) and id not in known
        for id, at in checkpoint.newest_entries.items()
    ):
        raise ApiError("it does not show any more what it showed before")
    # Entries of older writes may lie outside of what was read. Another entry must not be taken for
    # them, so these writes are left out of the attribution.
    complete = checkpoint
    checkpoint = _with_writes_since(
        checkpoint, int(window.needed_from) if reading.is_complete else reading.shown_from
    )
    attributed = attributed_log(reading.entries, checkpoint, inputs)
    # The first reading of the log does not show our own writes: it is late, switched off, or the
    # log of another organization.
    if not checkpoint.newest_entries and not attributed.ours:
        raise ApiError("it has not shown any change of ours so far")
    touched = affected_scopes(scopes.values(), attributed, inputs, policy.overlap_seconds)
    # An empty reading proves nothing new about the log, so the known entries remain the test.
    newest_entries = newest_entries_of(reading.entries) or checkpoint.newest_entries
    writes = noted(
        reading.entries,
        checkpoint.writes,
        inputs.kinds,
        projects_reported=attributed.projects_reported,
    )
    unchanged = UnchangedScopes(
        newest_entries=newest_entries, projects_reported=attributed.projects_reported, writes=writes
    )
    newest = max(newest_entries.values(), default=window.needed_from)
    if reading.is_complete:
        # The reading can begin earlier, so that a known entry shows again. What is older than
        # needed was judged before.
        judged = [entry for entry in reading.entries if entry.at >= int(window.needed_from)]
        counted = Counted.of(
            judged, newest, since=window.needed_from if window.is_shortened else None
        )
        return _Proof(touched, replace(unchanged, counted=counted))
    touched = _touched_by_type(log, window, reading, complete, scopes, inputs, policy, costs)
    return _Proof(
        touched,
        replace(unchanged, counted=Counted.of(reading.entries, newest, since=reading.shown_from)),
    )


def _window(
    checkpoint: RefreshCheckpoint, verified: Collection[VerifiedScope], policy: FullRefreshPolicy
) -> AuditWindow:
    newest = newest_of(checkpoint.newest_entries)
    # The scope that was settled first decides where reading begins: one query answers for all.
    since = min(scope.settled_before(policy.overlap_seconds) for scope in verified)
    # Entries of our own writes that no reading has shown yet are still to come, so they count among
    # those to expect.
    late = [
        write.ended_at
        for write in checkpoint.writes
        if write.noted_after is None and (newest is None or write.ended_at > newest)
    ]
    return window_of(since, newest=newest, counted=checkpoint.counted, late=late)


def _touched_by_type(
    log: AuditLog,
    window: AuditWindow,
    reading: WindowReading,
    checkpoint: RefreshCheckpoint,
    scopes: Mapping[ScopeKey, VerifiedScope],
    inputs: PlanInputs,
    policy: FullRefreshPolicy,
    costs: Costs,
) -> Mapping[ScopeKey, str]:
    """The scopes that may have changed, if the first page of the log is full of new entries.

    Filtered queries replace the remaining pages. Raises ApiError if they are too long as well, or
    not worth it.
    """
    # 1. The first page alone: give up if it is mixed, because filtered queries would be long too.
    recent = _with_writes_since(checkpoint, reading.shown_from)
    sample = attributed_log(reading.entries, recent, inputs)
    touched = dict(affected_scopes(scopes.values(), sample, inputs, policy.overlap_seconds))
    since = window.filter_start
    is_mixed = len(touched) > _FEW_SCOPES or _projects_of_others(sample, inputs) > _FEW_SCOPES
    # Filtered queries replace the pages after the first. With more pages read, they would come on
    # top.
    if since is None or reading.calls > 1 or is_mixed:
        raise too_long(reading)
    # 2. Kinds without an entry on the page are settled by one query that excludes the page's types.
    kinds = [inputs.kinds[name] for name in sorted({kind for kind, _ in scopes})]
    common = {entry.type for entry in reading.entries}
    settled = set()
    for kind in kinds:
        if not any(has_type(entry, kind.audit_events) for entry in reading.entries):
            settled.add(kind.name)
    proved = {scope for scope in scopes if scope[0] in settled} - touched.keys()
    if costs.saved(proved) < _FEW_SCOPES:
        raise too_long(reading)
    # Types on the first page are left out of the query, since they alone would fill its page again.
    rest = read_filtered(log, LogQuery(since, types=types_of(kinds, but=common)))
    if rest is None:
        raise too_long(reading)
    # 3. Scopes in projects that the page does not name are settled by a query for these projects.
    elsewhere, ids = _scopes_elsewhere(scopes.keys() - proved - touched.keys(), sample, inputs)
    in_projects: Sequence[AuditEntry] | None = None
    # With this query there are two on top of the window, and the bound is one call more than is
    # saved.
    if elsewhere and reading.calls + 2 <= costs.saved(proved) + 1:
        types = tuple(name for name in types_of(kinds) if name in common)
        in_projects = read_filtered(log, LogQuery(since, types=types, project_ids=ids))
    if in_projects is not None:
        proved |= elsewhere
    # The queries overlap. An entry that counts twice would be one more than there were writes, and
    # then none of them would count as ours.
    by_id = {entry.id: entry for entry in (*reading.entries, *rest, *(in_projects or ()))}
    attributed = _attribute_parts(
        list(by_id.values()),
        common,
        ids if in_projects is not None else (),
        recent=recent,
        earlier=_with_writes_since(checkpoint, int(since)),
        inputs=inputs,
    )
    touched |= affected_scopes(scopes.values(), attributed, inputs, policy.overlap_seconds)
    many = f"more than {len(reading.entries):,} new entries"
    # Whatever no query has settled is read, and an entry is the better reason where there is one.
    return {**dict.fromkeys(scopes.keys() - proved, many), **touched}


def _with_writes_since(checkpoint: RefreshCheckpoint, since: float) -> RefreshCheckpoint:
    """The checkpoint with only those writes whose entries a reading from this time on must show."""
    return replace(
        checkpoint, writes=[write for write in checkpoint.writes if write.is_shown_since(since)]
    )


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
    partial = {family_of(type) for type in common}
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


def _projects_of_others(attributed: AttributedLog, inputs: PlanInputs) -> int:
    """The number of projects in the entries that are not ours."""
    ours = project_names(inputs)
    return len({entry.project_id for entry in attributed.entries if entry.project_id} - ours.keys())


def _scopes_elsewhere(
    scopes: Collection[ScopeKey], attributed: AttributedLog, inputs: PlanInputs
) -> tuple[set[ScopeKey], tuple[str, ...]]:
    """Scopes that a query for certain projects can settle, and the ids of these projects.

    No entry names these projects so far, and all entries that may concern the scopes name a
    project.
    """
    if not attributed.projects_reported:
        return set(), ()
    named = {entry.project_id for entry in attributed.entries}
    # Ask only for projects without an entry so far: the others would fill the page again.
    quiet = {id: names for id, names in sorted(project_names(inputs).items()) if id not in named}
    asked = dict(islice(quiet.items(), _MOST_PROJECTS))
    projects = set().union(*asked.values())
    affected = AffectedScopes((), inputs, projects_reported=True)
    settled: set[ScopeKey] = set()
    for kind in {kind for kind, _ in scopes}:
        if _always_names_projects(inputs.kinds[kind], attributed, affected):
            settled |= {scope for scope in scopes if scope[0] == kind and scope[1] in projects}
    return settled, tuple(asked)


def _always_names_projects(kind: Kind, attributed: AttributedLog, affected: AffectedScopes) -> bool:
    """Whether a query by project finds all entries like those that concern the kind so far."""
    concerning = [entry for entry in attributed.entries if has_type(entry, kind.audit_events)]
    # The filter takes published types only, and entries that concern other kinds name no project.
    return all(
        affected.is_of_one_project(entry) and is_published(entry.type) for entry in concerning
    )


def scopes_to_reread(
    plan: Plan, unchanged: UnchangedScopes, kinds: Mapping[str, Kind]
) -> set[ScopeKey]:
    """Trusted scopes that have to be read after all, because the plan changes them or depends on
    their live objects."""
    # No change is planned from a record alone: it needs the live object, for the pre-image and to
    # see what others changed.
    due = {scope_key(change.address) for change in (*plan.pending, *plan.blocked)}
    for change in plan.pending:
        due |= set(_looked_into(change, kinds))
    # An output may show a field that only the server sets, which no record holds.
    due |= {scope_key(at) for output in plan.outputs for at in _unknown_in(output.after)}
    return due & unchanged.scopes.keys()


def _looked_into(change: Change, kinds: Mapping[str, Kind]) -> Iterator[ScopeKey]:
    """The scopes of other kinds whose live objects decide a change.

    The state knows neither unmanaged objects nor fields that only the server sets.
    """
    other = kinds[change.address.kind].made_unnecessary_by if change.address.kind in kinds else None
    if other is not None:
        yield other, None
    for reference in references_in(change.desired):
        if reference.path:
            yield scope_key(reference.address)


def _unknown_in(value: Any) -> Iterator[Address]:
    """The address that an output waits for, if it is a single expression."""
    if isinstance(value, Unknown):
        text = value.source.removeprefix("${").removesuffix("}")
        with suppress(ValueError):
            yield Address.parse(text.partition(".")[0])


def refresh_summary(unchanged: UnchangedScopes) -> RefreshSummary:
    """The summary for reports."""
    oldest = min(unchanged.scopes.values(), default=None)
    return RefreshSummary(
        len(unchanged.scopes), oldest, unchanged.full_refresh_reason, setback=unchanged.setback
    )
