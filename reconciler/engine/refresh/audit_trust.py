"""Reading less: a scope in which the audit log shows no change since it was read is not read again.

What an apply leaves in order is remembered with the time at which it was read. The next plan asks the log, once for
all, what happened since, a while before that included since entries come late. An entry is settled for a scope where
the scope was read after it, or where it is our own write; any other makes the scope be read. The log is believed only
as long as it still shows what it showed before; an entry of a family that we do not know, a gap, a log that is off:
everything is read. So is, after so many hours or runs, everything anyway.

The checkpoint only ever proves that there is nothing to do: a scope in which a plan finds a change is read after
all, and planned again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain, islice
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.refresh.audit_attribution import (
    Write,
    WritesByEntry,
    attribute,
    family_of,
    has_type,
    is_removal,
    noted,
    reports_projects,
)
from reconciler.engine.refresh.audit_window import (
    AuditLog,
    Counted,
    Window,
    WindowReading,
    is_published,
    newest_of,
    read_filtered,
    read_window,
    too_long,
    types_of,
    window_of,
)
from reconciler.errors import ApiError, CredentialError
from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, Change, OutcomeStatus, Plan, RefreshSummary
from reconciler.model.consistency import LIST_BEHIND_LOG_SECONDS
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.log import AuditEntry, LogQuery
from reconciler.model.values import Unknown, references_in

ScopeKey = tuple[str, str | None]
"""A kind's name and a project's name in the configuration: what is listed, and remembered, together."""

_OTHER_FAMILIES = (
    "api_key.", "certificate.", "certificates.", "checkpoint.permission.", "external_key.", "external_storage.",
    "group.", "invite.", "ip_allowlist.", "login.", "logout.", "organization.", "project.", "rate_limit.", "role.",
    "scim.", "service_account.", "tunnel.", "user.", "workload_identity_provider.",
    "workload_identity_provider_mapping.",
)  # fmt: skip
"""Families of entries that are known; which kinds they touch is for the kinds to say."""

_FEW_SEATS = 3
"""A log that is too long is asked once more, by type, where its newest entries touch no more scopes than this, and
come from no more projects of others: many of those are another tool's apply, whose entries come type by type."""

_MOST_PROJECTS = 60
"""How many projects one query names: more would make its address longer than servers take."""

_PROOFS = 20
"""How many of the newest entries are remembered, for the log to show them again."""

_EVERYTHING = "organization."
"""Entries that make everything be read: what they tell of may be the log's own switch."""


class VerifiedScope(Struct, frozen=True, array_like=True):
    """A scope that was in order: when it was read, and until when the log showed no change of it."""

    kind: str
    project: str | None
    read_at: float
    checked_at: float

    @property
    def key(self) -> ScopeKey:
        """What was seen."""
        return self.kind, self.project

    def settled_before(self, overlap_seconds: float) -> float:
        """No entry from before that time can tell anything new of it."""
        return max(self.checked_at - overlap_seconds, self.read_at - LIST_BEHIND_LOG_SECONDS)


class RefreshCheckpoint(
    Struct,
    frozen=True,
    # The state keeps checkpoints under these names.
    rename={"verified": "seen", "newest_entries": "shown", "projects_reported": "places_told"},
):
    """What is known from earlier runs: what they left in order, what they wrote lately, what the log showed last.

    `places_told` where the log has proved to name the projects of objects. `serial` is the state's that this is about.
    `full_at` is when everything was read last, `runs` counts the applies since. Times are unix seconds of the server.
    `counted` are the entries that were judged last, the newest of `shown` among them; None where some were not judged.
    """

    verified: Sequence[VerifiedScope] = ()
    writes: Sequence[Write] = ()
    newest_entries: Mapping[str, float] = field(default_factory=dict)
    projects_reported: bool = False
    serial: int = 0
    full_at: float = 0.0
    runs: int = 0
    counted: Counted | None = None

    @property
    def by_scope(self) -> Mapping[ScopeKey, VerifiedScope]:
        """What was left in order, by where it is."""
        return {seen.key: seen for seen in self.verified}

    def dump(self) -> str:
        """The checkpoint as text, to keep beside the state."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def load(cls, text: str | None) -> RefreshCheckpoint | None:
        """The checkpoint of a text; None for no text, and for text that cannot be used."""
        try:
            return msgspec.json.decode(text or "null", type=cls | None)
        except msgspec.DecodeError:
            return None


class FullRefreshPolicy(Struct, frozen=True):
    """When everything is read whatever the log says, and how late its entries may come."""

    overlap_seconds: float = 900.0
    hours: float = 24.0
    runs: int = 20


class UnchangedScopes(Struct, frozen=True):
    """Which scopes need no reading, each with when it was read last, or `because` of what none is trusted.

    `setback` says in a few words what went wrong, where a reader of the plan should know. `reasons` are why single
    scopes are read. `shown` are the newest entries of the log, where it answered. `counted` is as in `Memory`, and so
    are `writes`, where the log answered.
    """

    scopes: Mapping[ScopeKey, float] = field(default_factory=dict)
    full_refresh_reason: str = ""
    setback: str = ""
    reasons: Mapping[ScopeKey, str] = field(default_factory=dict)
    newest_entries: Mapping[str, float] = field(default_factory=dict)
    projects_reported: bool = False
    counted: Counted | None = None
    writes: Sequence[Write] | None = None

    def without(self, scopes: Collection[ScopeKey], reason: str) -> UnchangedScopes:
        """The same, with some scopes to read after all."""
        kept = {scope: at for scope, at in self.scopes.items() if scope not in scopes}
        return replace(self, scopes=kept, reasons={**self.reasons, **dict.fromkeys(scopes, reason)})


class Costs(Struct, frozen=True):
    """What reading costs, in calls, as far as that is known before. `of` is for reading all but some trusted scopes.

    `pending` gives the scopes in which something is to be done by the state alone, so that they are read in any case.
    Both take their time, so they are asked only where more than one call is at stake.
    """

    of: Callable[[Collection[ScopeKey]], int]
    pending: Callable[[], Collection[ScopeKey]]

    def saved(self, scopes: Collection[ScopeKey]) -> int:
        """How many calls are saved where these scopes are trusted."""
        trusted = set(scopes) - set(self.pending())
        return self.of(()) - self.of(trusted)


def decide(
    inputs: PlanInputs,
    checkpoint: RefreshCheckpoint | None,
    log: AuditLog,
    *,
    sweeps: FullRefreshPolicy,
    costs: Costs,
) -> UnchangedScopes:
    """The unchanged scopes, by the audit log. Spends no more calls on the log than it saves, and one."""
    if checkpoint is None:
        return UnchangedScopes(full_refresh_reason="no earlier reading is remembered")
    if checkpoint.serial != inputs.state_serial:
        return UnchangedScopes(full_refresh_reason="the state was changed since the last apply")
    if due := _full_refresh_due(checkpoint, sweeps, inputs.server_time()):
        return due
    options = inputs.options
    if options.unmanaged or options.adopt or options.destroy or inputs.state_is_new:
        return UnchangedScopes(full_refresh_reason="all objects are asked for")
    scopes = _trustworthy(inputs, checkpoint)
    if len(scopes) < 2:
        return UnchangedScopes(reasons=_reasons(inputs, checkpoint, {}))
    try:
        proof = _prove(log, checkpoint, scopes, inputs, sweeps, costs)
    except (ApiError, CredentialError) as error:
        return UnchangedScopes(
            full_refresh_reason=f"the audit log cannot be used: {error}", setback=_in_short(error)
        )
    if due := _full_refresh_due(
        checkpoint, sweeps, inputs.server_time()
    ):  # the server's clock is known by now
        return due
    kept = {scope: seen.read_at for scope, seen in scopes.items() if scope not in proof.touched}
    return replace(proof.trust, scopes=kept, reasons=_reasons(inputs, checkpoint, proof.touched))


def _full_refresh_due(
    checkpoint: RefreshCheckpoint, sweeps: FullRefreshPolicy, now: float
) -> UnchangedScopes | None:
    if abs(now - checkpoint.full_at) > sweeps.hours * 3600:
        every = f"{sweeps.hours:g} hours"
    elif checkpoint.runs >= sweeps.runs:
        every = f"{sweeps.runs} applies"
    else:
        return None
    because = f"everything is read every {every}, and it is due"
    return UnchangedScopes(
        full_refresh_reason=because, setback=f"that is due every {every}, until an apply does it"
    )


def _in_short(error: ApiError | CredentialError) -> str:
    status = error.status if isinstance(error, ApiError) else None
    return f"the audit log answers {status}" if status else f"the audit log cannot be used: {error}"


def _trustworthy(
    inputs: PlanInputs, checkpoint: RefreshCheckpoint
) -> Mapping[ScopeKey, VerifiedScope]:
    """The scopes that were in order, whose kinds the log tells about, and where nothing is declared that is new."""
    unbound = _unbound(inputs)
    recorded = {_scope_key(address) for address in inputs.records}
    return {
        scope: seen
        for scope, seen in checkpoint.by_scope.items()
        if scope in recorded
        and scope not in unbound
        and is_reported_in_audit_log(inputs.kinds.get(scope[0]))
    }


def _unbound(inputs: PlanInputs) -> set[ScopeKey]:
    return {
        _scope_key(resource.address)
        for resource in inputs.resources
        if resource.address not in inputs.records
    }


def _reasons(
    inputs: PlanInputs, checkpoint: RefreshCheckpoint, touched: Mapping[ScopeKey, str]
) -> Mapping[ScopeKey, str]:
    """Why each scope is read that is not trusted."""
    reasons = {}
    unbound, scopes = _unbound(inputs), checkpoint.by_scope
    for scope in {
        _scope_key(address)
        for address in chain(inputs.records, (resource.address for resource in inputs.resources))
    }:
        if not is_reported_in_audit_log(inputs.kinds.get(scope[0])):
            reasons[scope] = "the audit log does not tell of every change there"
        elif scope in unbound:
            reasons[scope] = "something new is declared there"
        elif scope not in scopes:
            reasons[scope] = "the last apply did not leave it in order"
        elif scope in touched:
            reasons[scope] = f"the audit log has {touched[scope]}"
    return reasons


def is_reported_in_audit_log(kind: Kind | None) -> bool:
    """Whether the log tells of every change of the kind."""
    return kind is not None and bool(kind.audit_events)


class _AuditLog(Struct, frozen=True):
    """What the log answered: entries, oldest or newest first, and the writes of ours that they may be."""

    entries: Sequence[AuditEntry]
    ours: WritesByEntry
    places_told: bool


class _Proof(Struct, frozen=True):
    """What the log says: the scopes that something may have touched, each with a type of entry, and a trust to fill."""

    touched: Mapping[ScopeKey, str]
    trust: UnchangedScopes


def _prove(
    log: AuditLog,
    checkpoint: RefreshCheckpoint,
    scopes: Mapping[ScopeKey, VerifiedScope],
    inputs: PlanInputs,
    sweeps: FullRefreshPolicy,
    costs: Costs,
) -> _Proof:
    """Ask the log about scopes. Raises ApiError where it cannot be relied on, or is longer than it is worth."""
    if not checkpoint.newest_entries and not checkpoint.writes:
        raise ApiError("it has not shown any change of ours so far")
    window = _window(checkpoint, scopes.values(), sweeps)
    # One call more than all that is read without the log: a full first page is given up for no more than that.
    worth = cache(lambda: costs.saved(scopes) + 1)
    if window.pages > 1 and window.pages > worth():
        raise ApiError(
            f"about {window.expected:,} entries are expected, which costs more than it saves"
        )
    reading = read_window(log, window, worth=worth)
    known = {entry.id for entry in reading.entries}
    if any(
        at >= int(reading.shown_from) and id not in known
        for id, at in checkpoint.newest_entries.items()
    ):
        raise ApiError("it does not show any more what it showed before")
    whole = checkpoint
    if not reading.is_complete or window.is_shortened:
        checkpoint = _told_since(
            checkpoint, int(window.needed_from) if reading.is_complete else reading.shown_from
        )
    told = _told(reading.entries, checkpoint, inputs)
    if not checkpoint.newest_entries and not told.ours:
        raise ApiError("it has not shown any change of ours so far")
    touched = _affected(scopes.values(), told, inputs, sweeps)
    shown = _newest(reading.entries) or checkpoint.newest_entries
    writes = noted(reading.entries, checkpoint.writes, inputs.kinds, places_told=told.places_told)
    trust = UnchangedScopes(newest_entries=shown, projects_reported=told.places_told, writes=writes)
    newest = max(shown.values(), default=window.needed_from)
    if reading.is_complete:
        judged = [entry for entry in reading.entries if entry.at >= int(window.needed_from)]
        counted = Counted.of(
            judged, newest, since=window.needed_from if window.is_shortened else None
        )
        return _Proof(touched, replace(trust, counted=counted))
    touched = _touched_by_type(log, window, reading, whole, scopes, inputs, sweeps, costs)
    return _Proof(
        touched,
        replace(trust, counted=Counted.of(reading.entries, newest, since=reading.shown_from)),
    )


def _window(
    checkpoint: RefreshCheckpoint, seen: Collection[VerifiedScope], sweeps: FullRefreshPolicy
) -> Window:
    newest = newest_of(checkpoint.newest_entries)
    since = min(scope.settled_before(sweeps.overlap_seconds) for scope in seen)
    late = [
        write.ended_at
        for write in checkpoint.writes
        if write.noted_after is None and (newest is None or write.ended_at > newest)
    ]
    return window_of(since, newest=newest, counted=checkpoint.counted, late=late)


def _told(
    entries: Sequence[AuditEntry], checkpoint: RefreshCheckpoint, inputs: PlanInputs
) -> _AuditLog:
    proved = reports_projects(entries, checkpoint.writes, inputs.kinds)
    places_told = checkpoint.projects_reported if proved is None else proved
    return _AuditLog(
        entries,
        attribute(entries, checkpoint.writes, inputs.kinds, places_told=places_told),
        places_told,
    )


def _touched_by_type(
    log: AuditLog,
    window: Window,
    reading: WindowReading,
    checkpoint: RefreshCheckpoint,
    scopes: Mapping[ScopeKey, VerifiedScope],
    inputs: PlanInputs,
    sweeps: FullRefreshPolicy,
    costs: Costs,
) -> Mapping[ScopeKey, str]:
    """The scopes that may be touched, of a log whose first page is full of new entries.

    One filtered query asks for the types that are not on that page. It settles the kinds that only those tell of; a
    second one settles the others in the projects that the page does not name. Raises ApiError where that is too long
    as well, or where the page does not promise that it is short.
    """
    recent = _told_since(checkpoint, reading.shown_from)
    sample = _told(reading.entries, recent, inputs)
    touched = dict(_affected(scopes.values(), sample, inputs, sweeps))
    since = window.filter_start
    is_mixed = len(touched) > _FEW_SEATS or _projects_of_others(sample, inputs) > _FEW_SEATS
    if since is None or reading.calls > 1 or is_mixed:
        raise too_long(reading)
    kinds = [inputs.kinds[name] for name in sorted({kind for kind, _ in scopes})]
    common = {entry.type for entry in reading.entries}
    settled = {
        kind.name
        for kind in kinds
        if not any(has_type(entry, kind.audit_events) for entry in reading.entries)
    }
    proved = {scope for scope in scopes if scope[0] in settled} - touched.keys()
    if costs.saved(proved) < _FEW_SEATS:
        raise too_long(reading)
    rest = read_filtered(log, LogQuery(since, types=types_of(kinds, but=common)))
    if rest is None:
        raise too_long(reading)
    elsewhere, ids = _scopes_elsewhere(scopes.keys() - proved - touched.keys(), sample, inputs)
    there: Sequence[AuditEntry] | None = None
    if elsewhere and reading.calls + 2 <= costs.saved(proved) + 1:
        types = tuple(name for name in types_of(kinds) if name in common)
        there = read_filtered(log, LogQuery(since, types=types, project_ids=ids))
    if there is not None:
        proved |= elsewhere
    entries = list(
        {entry.id: entry for entry in (*reading.entries, *rest, *(there or ()))}.values()
    )
    places = ids if there is not None else ()
    told = _told_in_part(
        entries,
        common,
        places,
        recent=recent,
        earlier=_told_since(checkpoint, int(since)),
        inputs=inputs,
    )
    touched |= _affected(scopes.values(), told, inputs, sweeps)
    many = f"more than {len(reading.entries):,} new entries"
    return {**dict.fromkeys(scopes.keys() - proved, many), **touched}


def _told_since(checkpoint: RefreshCheckpoint, since: float) -> RefreshCheckpoint:
    """The checkpoint with those writes whose entries a reading from a time on shows, if the log has them."""
    return replace(
        checkpoint, writes=[write for write in checkpoint.writes if write.is_told_since(since)]
    )


def _told_in_part(
    entries: Sequence[AuditEntry],
    common: Collection[str],
    project_ids: Collection[str],
    *,
    recent: RefreshCheckpoint,
    earlier: RefreshCheckpoint,
    inputs: PlanInputs,
) -> _AuditLog:
    """What filtered queries tell. Entries of a family that is shown whole may be any write of ours since the queries
    begin; those of a family with types that are `common`, on the page and shown in part, only a `recent` one. In the
    projects that were asked for by id, such a family is whole too.
    """
    partly = {family_of(type) for type in common}
    placed = replace(
        earlier, writes=[write for write in earlier.writes if write.project_id in project_ids]
    )
    whole = [entry for entry in entries if family_of(entry.type) not in partly]
    rest = [entry for entry in entries if family_of(entry.type) in partly]
    there = [entry for entry in rest if entry.project_id in project_ids]
    others = [entry for entry in rest if entry.project_id not in project_ids]
    parts = [
        _told(whole, earlier, inputs),
        _told(there, placed, inputs),
        _told(others, recent, inputs),
    ]
    ours = {id: writes for part in parts for id, writes in part.ours.items()}
    return _AuditLog(entries, ours, all(part.places_told for part in parts))


def _projects_of_others(told: _AuditLog, inputs: PlanInputs) -> int:
    """How many projects that are not ours the entries name."""
    ours = _project_names(inputs)
    return len({entry.project_id for entry in told.entries if entry.project_id} - ours.keys())


def _scopes_elsewhere(
    scopes: Collection[ScopeKey], told: _AuditLog, inputs: PlanInputs
) -> tuple[set[ScopeKey], tuple[str, ...]]:
    """Of some scopes, those that a query for certain projects can settle, and the ids of these projects: no entry names
    them so far, and all entries that may concern such scopes name the project that they are about.
    """
    if not told.places_told:
        return set(), ()
    reach = _AffectedScopes((), inputs, places_told=True)
    named = {entry.project_id for entry in told.entries}
    quiet = {id: names for id, names in sorted(_project_names(inputs).items()) if id not in named}
    asked = dict(islice(quiet.items(), _MOST_PROJECTS))
    names = {name for names in asked.values() for name in names}
    settled = {
        kind
        for kind in {kind for kind, _ in scopes}
        if all(
            reach.is_of_one_project(entry) and is_published(entry.type)
            for entry in told.entries
            if has_type(entry, inputs.kinds[kind].audit_events)
        )
    }
    return {
        (kind, project) for kind, project in scopes if project in names and kind in settled
    }, tuple(asked)


def _newest(entries: Iterable[AuditEntry]) -> Mapping[str, float]:
    newest = sorted(entries, key=lambda entry: entry.at, reverse=True)[:_PROOFS]
    return {entry.id: entry.at for entry in newest}


def _affected(
    seen: Collection[VerifiedScope], told: _AuditLog, inputs: PlanInputs, sweeps: FullRefreshPolicy
) -> Mapping[ScopeKey, str]:
    """The scopes in which entries may have changed something, each with the type of such an entry.

    Raises ApiError for an entry that nobody knows.
    """
    if not seen:
        return {}  # every resource of the plan has an error
    reach = _AffectedScopes(seen, inputs, places_told=told.places_told)
    touched: dict[ScopeKey, str] = {}
    since = min(scope.settled_before(sweeps.overlap_seconds) for scope in seen)
    for entry in (entry for entry in told.entries if entry.at >= since):
        mine = told.ours.get(entry.id, ())
        for scope in reach.of(entry):
            if (
                scope.key not in touched
                and entry.at >= scope.settled_before(sweeps.overlap_seconds)
                and not _is_settled(entry, mine, scope.key)
            ):
                touched[scope.key] = entry.type
    return touched


def _is_settled(entry: AuditEntry, mine: Sequence[Write], scope: ScopeKey) -> bool:
    """Whether an entry is our own, and what it did to a scope is recorded; what goes may take others with it."""
    gone = {(write.kind, write.project) for write in mine if write.removes}
    return bool(mine) and (not is_removal(entry) or scope in gone)


class _AffectedScopes:
    """The scopes that an entry may concern, indexed by kind and project."""

    def __init__(
        self, seen: Collection[VerifiedScope], inputs: PlanInputs, *, places_told: bool
    ) -> None:
        self._seen = seen
        self._inputs = inputs
        self._names = _project_names(inputs) if places_told else None
        self._of_kind: dict[str, list[VerifiedScope]] = defaultdict(list)
        self._at: dict[ScopeKey, VerifiedScope] = {}
        for scope in seen:
            self._of_kind[scope.kind].append(scope)
            self._at[scope.key] = scope

    def of(self, entry: AuditEntry) -> Iterable[VerifiedScope]:
        """The scopes of an entry; raises ApiError for one of a type that nobody knows."""
        if entry.type == "resource.deleted":
            keys = {
                _scope_key(at)
                for at, record in self._inputs.records.items()
                if _has_part(record.id, entry)
            }
            return [self._at[scope] for scope in keys if scope in self._at]
        if entry.type.startswith("tenant."):
            return [verified for verified in self._seen if verified.project is None]
        if entry.type.startswith(_EVERYTHING):
            return self._seen
        kinds = [kind for kind in self._inputs.kinds.values() if has_type(entry, kind.audit_events)]
        if not kinds and not entry.type.startswith(_OTHER_FAMILIES):
            raise ApiError(f'it has an entry of an unknown type, "{entry.type}"')
        return chain.from_iterable(self._in_place(kind, entry) for kind in kinds)

    def _in_place(self, kind: Kind, entry: AuditEntry) -> Iterable[VerifiedScope]:
        scopes = self._of_kind.get(kind.name, ())
        if self._names is None or entry.project_id is None or not self.is_of_one_project(entry):
            return scopes
        homes = (None, *self._names.get(entry.project_id, ()))
        return [self._at[kind.name, home] for home in homes if (kind.name, home) in self._at]

    def is_of_one_project(self, entry: AuditEntry) -> bool:
        """Whether an entry can only be about objects of kinds that live in projects."""
        scopes = {
            kind.scope
            for kind in self._inputs.kinds.values()
            if has_type(entry, kind.audit_events[:1])
        }
        return scopes == {ScopeType.PROJECT}


def _has_part(id: str, entry: AuditEntry) -> bool:
    return entry.resource_id is not None and entry.resource_id in id


def _project_names(inputs: PlanInputs) -> dict[str, set[str]]:
    """The names that each project has in the configuration, by its id."""
    names: dict[str, set[str]] = defaultdict(set)
    for name, id in inputs.projects.items():
        names[id].add(name)
    for address, record in inputs.records.items():
        if address.kind in inputs.kinds and inputs.kinds[address.kind].defines_project:
            names[record.id].add(address.name)
        elif address.project and record.project_id:
            names[record.project_id].add(address.project)
    return names


def scopes_to_reread(
    plan: Plan, trust: UnchangedScopes, kinds: Mapping[str, Kind]
) -> set[ScopeKey]:
    """The trusted scopes that have to be read after all: a plan has something to do there, or decided by them."""
    due = {_scope_key(change.address) for change in (*plan.pending, *plan.blocked)}
    for change in plan.pending:
        due |= set(_looked_into(change, kinds))
    due |= {_scope_key(at) for output in plan.outputs for at in _unknown_in(output.after)}
    return due & trust.scopes.keys()


def _looked_into(change: Change, kinds: Mapping[str, Kind]) -> Iterator[ScopeKey]:
    """The scopes of other kinds whose live objects decide about a change.

    The state alone knows neither an object that nobody manages nor a field that only the server sets.
    """
    other = kinds[change.address.kind].made_unnecessary_by if change.address.kind in kinds else None
    if other is not None:
        yield other, None
    for reference in references_in(change.desired):
        if reference.path:
            yield _scope_key(reference.address)


def _unknown_in(value: Any) -> Iterator[Address]:
    """The address that an output waits for, where it is a single expression."""
    if isinstance(value, Unknown):
        text = value.source.removeprefix("${").removesuffix("}")
        with suppress(ValueError):
            yield Address.parse(text.partition(".")[0])


class RefreshOutcome(Struct, frozen=True):
    """What an apply did: its result, what it wrote, when its plan began to read, and the state that it left.

    `reading` is what was read of the log at its end, from `read_from` on and until `ended_at`; None where it was not
    asked or did not answer. `inputs` are those of its plan with the records that it left.
    """

    result: ApplyResult
    writes: Sequence[Write]
    asked_at: float
    serial: int
    reading: WindowReading | None = None
    read_from: float = 0.0
    ended_at: float = 0.0
    inputs: PlanInputs | None = None


def read_at_the_end(trust: UnchangedScopes, done: RefreshOutcome) -> Window:
    """The part of the log to read at the end of an apply.

    The plan has judged the log up to the newest entry that it saw. Where it read everything instead, only entries
    count that are newer than that, or were not in lists yet.
    """
    # An object that is made with a key has an entry for each, so as many again may come.
    expected = 2 * len(done.writes) + 1
    seen_by_plan = newest_of(trust.newest_entries) if trust.counted is not None else None
    if seen_by_plan is not None and trust.counted is not None:
        same_second = sum(
            1 for age in trust.counted.ages if seen_by_plan - age >= int(seen_by_plan)
        )
        return Window(seen_by_plan, seen_by_plan, expected + same_second)
    # The newest entries are asked for, however old: the next plan has to know one to tell whether the log goes on.
    return Window(None, done.asked_at - LIST_BEHIND_LOG_SECONDS, expected)


def checkpoint_after(
    checkpoint: RefreshCheckpoint | None,
    trust: UnchangedScopes,
    done: RefreshOutcome,
    *,
    kinds: Mapping[str, Kind],
    sweeps: FullRefreshPolicy,
) -> RefreshCheckpoint:
    """The checkpoint after an apply: what it left in order, with when that was read."""
    was = checkpoint or RefreshCheckpoint()
    entries = done.reading.entries if done.reading is not None else ()
    in_order = {
        _scope_key(change.address) for change in done.result.plan.changes
    } - _unfinished_scopes(done.result)
    writes = [*(was.writes if trust.writes is None else trust.writes), *done.writes]
    proved = reports_projects(entries, writes, kinds)
    shown = _newest(entries) or trust.newest_entries
    fresh = RefreshCheckpoint(
        verified=[
            VerifiedScope(
                *scope, read_at=trust.scopes.get(scope, done.asked_at), checked_at=done.asked_at
            )
            for scope in sorted(in_order, key=lambda scope: (scope[0], scope[1] or ""))
            if is_reported_in_audit_log(kinds.get(scope[0]))
        ],
        writes=_late_entries(writes, done.asked_at, sweeps),
        newest_entries=shown or was.newest_entries,
        projects_reported=(
            trust.projects_reported if trust.newest_entries else was.projects_reported
        )
        if proved is None
        else proved,
        serial=done.serial,
        full_at=was.full_at if trust.scopes else done.asked_at,
        runs=was.runs + 1 if trust.scopes else 0,
    )
    fresh = replace(fresh, verified=_covered(fresh.verified, trust, done))
    if done.reading is None:
        return replace(fresh, counted=trust.counted)
    return _judged(fresh, trust, done, sweeps)


def _covered(
    seen: Sequence[VerifiedScope], trust: UnchangedScopes, done: RefreshOutcome
) -> Sequence[VerifiedScope]:
    """Without the scopes that were read because the log was too long, as long as it may tell of changes that came
    right before and that their lists did not show yet.
    """
    newest, counted = newest_of(trust.newest_entries), trust.counted
    if newest is None or counted is None or counted.back_to is None:
        return seen
    if newest - counted.back_to <= done.asked_at - LIST_BEHIND_LOG_SECONDS:
        return seen
    return [scope for scope in seen if scope.key in trust.scopes]


def _judged(
    fresh: RefreshCheckpoint,
    trust: UnchangedScopes,
    done: RefreshOutcome,
    sweeps: FullRefreshPolicy,
) -> RefreshCheckpoint:
    """The checkpoint, with the entries settled that the log showed at the end of the apply; the next plan need not read
    them again. It stays as it is where not all of them were read, or some cannot be judged.
    """
    reading, inputs = done.reading, done.inputs
    if reading is None or inputs is None or not reading.is_complete or not fresh.newest_entries:
        return fresh
    try:
        told = _told(reading.entries, fresh, inputs)
        touched = _affected(fresh.verified, told, inputs, sweeps)
    except ApiError:
        return fresh  # the next plan meets the entry again, and says so
    newest = max(fresh.newest_entries.values())
    recent = [newest - entry.at for entry in reading.entries if entry.at >= int(done.read_from)]
    back_to = None
    if trust.counted is not None:
        # The end was read from the newest entry of the plan on; what is older was counted by the plan.
        moved = newest - max(trust.newest_entries.values(), default=newest)
        recent += [
            age + moved for age in trust.counted.ages if newest - age - moved < int(done.read_from)
        ]
        back_to = None if trust.counted.back_to is None else trust.counted.back_to + moved
    return replace(
        fresh,
        verified=[
            replace(scope, checked_at=done.ended_at)
            for scope in fresh.verified
            if scope.key not in touched
        ],
        writes=noted(reading.entries, fresh.writes, inputs.kinds, places_told=told.places_told),
        counted=Counted(
            sorted(age for age in recent if newest - age >= done.ended_at - sweeps.overlap_seconds),
            back_to,
        ),
    )


def checkpoint_after_saved_plan(
    checkpoint: RefreshCheckpoint, done: RefreshOutcome, *, sweeps: FullRefreshPolicy
) -> RefreshCheckpoint:
    """The checkpoint after an apply whose plan was not made here, or not of everything: nothing new is in order."""
    undone = _unfinished_scopes(done.result)
    seen = [scope for scope in checkpoint.verified if scope.key not in undone]
    checked_at = min((scope.checked_at for scope in seen), default=done.asked_at)
    return replace(
        checkpoint,
        verified=seen,
        writes=_late_entries([*checkpoint.writes, *done.writes], checked_at, sweeps),
        serial=done.serial,
        runs=checkpoint.runs + 1,
    )


def _late_entries(
    writes: Iterable[Write], checked_at: float, sweeps: FullRefreshPolicy
) -> Sequence[Write]:
    """The writes whose entries a plan may ask for that relies on the log from then on."""
    return [
        write for write in writes if write.may_be_reported_late(checked_at - sweeps.overlap_seconds)
    ]


def _unfinished_scopes(result: ApplyResult) -> set[ScopeKey]:
    """The scopes in which something was to be done and was not."""
    applied = {outcome.change.address for outcome in result.of(OutcomeStatus.APPLIED)}
    undone = {
        _scope_key(change.address)
        for change in result.plan.pending
        if change.address not in applied
    }
    return undone | {_scope_key(change.address) for change in result.plan.blocked}


def _scope_key(address: Address) -> ScopeKey:
    return address.kind, address.project


def refresh_summary(trust: UnchangedScopes) -> RefreshSummary:
    """For reports: how many scopes were not read again, since when, or why all were."""
    oldest = min(trust.scopes.values(), default=None)
    return RefreshSummary(
        len(trust.scopes), oldest, trust.full_refresh_reason, setback=trust.setback
    )
