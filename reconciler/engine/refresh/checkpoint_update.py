"""Updates the refresh checkpoint after an apply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.refresh.affected_scopes import (
    affected_scopes,
    attributed_log,
    is_reported_in_audit_log,
)
from reconciler.engine.refresh.audit_attribution import Write, reports_projects, with_entry_delays
from reconciler.engine.refresh.audit_trust import FullRefreshPolicy
from reconciler.engine.refresh.audit_window import AuditWindow, Counted, WindowReading, newest_of
from reconciler.engine.refresh.checkpoint import (
    RefreshCheckpoint,
    ScopeKey,
    UnchangedScopes,
    VerifiedScope,
    newest_entries_of,
    scope_key,
)
from reconciler.errors import ApiError
from reconciler.model.change import ApplyResult, OutcomeStatus
from reconciler.model.consistency import LIST_BEHIND_LOG_SECONDS
from reconciler.model.kind import Kind
from reconciler.model.log import AuditEntry


class RefreshOutcome(Struct, frozen=True):
    """The result of an apply, as far as the checkpoint needs it."""

    result: ApplyResult
    writes: Sequence[Write]
    asked_at: float
    """When the plan began to read, in unix seconds of the server."""
    serial: int
    """The serial of the state after the apply."""
    reading: WindowReading | None = None
    """What the log showed at the end of the apply; None if it was not read."""
    leaves_log: bool = False
    """Whether the entries of the apply are left to the next plan, which has to find own writes."""
    read_from: float = 0.0
    """The begin of that reading."""
    ended_at: float = 0.0
    """As of when that reading shows the log."""
    inputs: PlanInputs | None = None
    """The inputs of the plan, with the records after the apply."""


def read_at_the_end(unchanged: UnchangedScopes, outcome: RefreshOutcome) -> AuditWindow:
    """The part of the log to read at the end of an apply.

    If the plan evaluated the log, reading continues at its newest entry. Otherwise only entries
    count that lists may not have shown yet.
    """
    # A service account that is created with a key causes two entries, so expect up to twice as many.
    expected = 2 * len(outcome.writes) + 1
    newest, counted = newest_of(unchanged.newest_entries), unchanged.counted
    # Read the newest entries of any age: the next plan needs one to check that the log continues.
    if newest is None or counted is None:
        return AuditWindow(None, outcome.asked_at - LIST_BEHIND_LOG_SECONDS, expected)
    # The filter knows whole seconds, so entries of the newest one's second are shown again.
    same_second = sum(newest - age >= int(newest) for age in counted.ages)
    return AuditWindow(newest, newest, expected + same_second)


def checkpoint_after(
    checkpoint: RefreshCheckpoint | None,
    unchanged: UnchangedScopes,
    outcome: RefreshOutcome,
    *,
    kinds: Mapping[str, Kind],
    policy: FullRefreshPolicy,
) -> RefreshCheckpoint:
    """The checkpoint after an apply of a plan that this process made."""
    previous = checkpoint or RefreshCheckpoint()
    reading, is_partial = outcome.reading, bool(unchanged.scopes)
    entries = () if reading is None else reading.entries
    # The plan's writes carry the delays that it noted. Those of the checkpoint lack them.
    known_writes = previous.writes if unchanged.writes is None else unchanged.writes
    writes = [*known_writes, *outcome.writes]
    # A reading without entries proves nothing about where the log ends, so the last known entries
    # stay.
    newest_entries = newest_entries_of(entries) or unchanged.newest_entries
    if not newest_entries and not outcome.leaves_log:
        # If it is left to the next plan, these would make that one read back to them, although a
        # plan that the log did not answer has read every scope.
        newest_entries = previous.newest_entries
    projects_reported = reports_projects(entries, writes, kinds)
    if projects_reported is None:
        # These entries prove nothing new, so the latest proof stays valid.
        latest = unchanged if unchanged.newest_entries else previous
        projects_reported = latest.projects_reported
    updated = RefreshCheckpoint(
        verified=_covered(_verified_scopes(unchanged, outcome, kinds), unchanged, outcome),
        writes=_late_entries(writes, outcome.asked_at, policy),
        newest_entries=newest_entries,
        projects_reported=projects_reported,
        serial=outcome.serial,
        # Trusting a single scope makes a refresh partial, so only a plan without any resets these.
        full_at=previous.full_at if is_partial else outcome.asked_at,
        runs=previous.runs + 1 if is_partial else 0,
    )
    if reading is None:
        return replace(updated, counted=unchanged.counted)
    return _with_evaluated_entries(updated, unchanged, outcome, policy)


def _verified_scopes(
    unchanged: UnchangedScopes, outcome: RefreshOutcome, kinds: Mapping[str, Kind]
) -> list[VerifiedScope]:
    """The scopes of the plan that are in order after the apply, in a stable order."""
    planned = {scope_key(change.address) for change in outcome.result.plan.changes}
    # One failed change is enough: its effect at the API is unknown, so the whole scope is read
    # again.
    in_order = planned - _unfinished_scopes(outcome.result)
    verified = []
    for kind, project in sorted(in_order, key=lambda scope: (scope[0], scope[1] or "")):
        if is_reported_in_audit_log(kinds.get(kind)):
            # A trusted scope keeps the time of its last reading; it was not read now.
            read_at = unchanged.scopes.get((kind, project), outcome.asked_at)
            verified.append(VerifiedScope(kind, project, read_at, checked_at=outcome.asked_at))
    return verified


def _covered(
    verified: Sequence[VerifiedScope], unchanged: UnchangedScopes, outcome: RefreshOutcome
) -> Sequence[VerifiedScope]:
    """The verified scopes, without some that were read because the log was too long.

    Their lists may lag behind changes right before the reading, which the unread part of the log
    reports.
    """
    newest, counted = newest_of(unchanged.newest_entries), unchanged.counted
    if newest is None or counted is None or counted.back_to is None:
        return verified
    # Everything that a list can still lack lies in the part of the log that was read.
    if newest - counted.back_to <= outcome.asked_at - LIST_BEHIND_LOG_SECONDS:
        return verified
    return [scope for scope in verified if scope.key in unchanged.scopes]


def _with_evaluated_entries(
    updated: RefreshCheckpoint,
    unchanged: UnchangedScopes,
    outcome: RefreshOutcome,
    policy: FullRefreshPolicy,
) -> RefreshCheckpoint:
    """The checkpoint with the entries evaluated that the log showed at the end of the apply.

    The next plan need not evaluate them again. Unchanged if the reading is incomplete or contains
    unknown entries.
    """
    reading, inputs = outcome.reading, outcome.inputs
    if reading is None or inputs is None or not reading.is_complete or not updated.newest_entries:
        return updated
    try:
        # With the writes of this apply, which are among the entries now.
        attributed = attributed_log(reading.entries, updated, inputs)
        touched = affected_scopes(updated.verified, attributed, inputs, policy.overlap_seconds)
    except ApiError:
        return updated  # the next plan reads the unknown entry again and reports it
    untouched = (scope for scope in updated.verified if scope.key not in touched)
    verified = [replace(scope, checked_at=outcome.ended_at) for scope in untouched]
    writes = with_entry_delays(
        reading.entries,
        updated.writes,
        inputs.kinds,
        projects_reported=attributed.projects_reported,
    )
    counted = _counted_after(
        reading.entries,
        unchanged,
        read_from=int(outcome.read_from),
        newest=max(updated.newest_entries.values()),
        # Older entries can no longer be late, so they are not expected again.
        oldest=outcome.ended_at - policy.overlap_seconds,
    )
    return replace(updated, verified=verified, writes=writes, counted=counted)


def _counted_after(
    entries: Sequence[AuditEntry],
    unchanged: UnchangedScopes,
    *,
    read_from: int,
    newest: float,
    oldest: float,
) -> Counted:
    """The entries of the reading at the end, and the older ones that the plan counted."""
    ages = [newest - entry.at for entry in entries if entry.at >= read_from]
    back_to = None
    if unchanged.counted is not None:
        # Reading continued at the plan's newest entry, so the plan has counted everything older.
        # Its ages are relative to that entry and shift with the newest one.
        shift = newest - max(unchanged.newest_entries.values(), default=newest)
        shifted = (age + shift for age in unchanged.counted.ages)
        ages += [age for age in shifted if newest - age < read_from]
        if unchanged.counted.back_to is not None:
            back_to = unchanged.counted.back_to + shift
    return Counted(sorted(age for age in ages if newest - age >= oldest), back_to)


def checkpoint_after_saved_plan(
    checkpoint: RefreshCheckpoint, outcome: RefreshOutcome, *, policy: FullRefreshPolicy
) -> RefreshCheckpoint:
    """The checkpoint after an apply of a saved or partial plan, which verifies no new scopes."""
    # A saved plan read its scopes in another process, maybe hours ago, so it verifies nothing now.
    undone = _unfinished_scopes(outcome.result)
    verified = [scope for scope in checkpoint.verified if scope.key not in undone]
    # The oldest check decides how far back a write can still be reported late.
    checked_at = min((scope.checked_at for scope in verified), default=outcome.asked_at)
    return replace(
        checkpoint,
        verified=verified,
        writes=_late_entries([*checkpoint.writes, *outcome.writes], checked_at, policy),
        serial=outcome.serial,
        runs=checkpoint.runs + 1,
    )


def _late_entries(
    writes: Iterable[Write], checked_at: float, policy: FullRefreshPolicy
) -> Sequence[Write]:
    """The writes whose entries may still appear in what a later plan reads."""
    since = checked_at - policy.overlap_seconds
    return [write for write in writes if write.may_be_reported_late(since)]


def _unfinished_scopes(result: ApplyResult) -> set[ScopeKey]:
    """The scopes with changes that were not applied."""
    applied = {outcome.change.address for outcome in result.of(OutcomeStatus.APPLIED)}
    undone = (change for change in result.plan.pending if change.address not in applied)
    # Blocked changes count: an error of a manifest may hide a difference in the scope.
    return {scope_key(change.address) for change in (*undone, *result.plan.blocked)}
