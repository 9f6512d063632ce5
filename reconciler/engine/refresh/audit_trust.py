"""Decides which scopes need no reading, because the audit log shows no change since they were last read.

If the log has a gap, is switched off or contains an entry of an unknown type, everything is read.
Independent of the log, everything is read after some hours or applies. `audit_proof` asks the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.inputs import PlanInputs
from reconciler.engine.refresh.affected_scopes import is_reported_in_audit_log
from reconciler.engine.refresh.audit_proof import Costs, LogExamination
from reconciler.engine.refresh.audit_window import AuditLog
from reconciler.engine.refresh.checkpoint import (
    RefreshCheckpoint,
    ScopeKey,
    UnchangedScopes,
    VerifiedScope,
    scope_key,
)
from reconciler.errors import ApiError, CredentialError
from reconciler.model.address import Address
from reconciler.model.change import Change, Plan, RefreshSummary
from reconciler.model.kind import Kind
from reconciler.model.values import Unknown, references_in


class FullRefreshPolicy(Struct, frozen=True):
    """When to read everything whatever the log says, and how late entries can be."""

    overlap_seconds: float = 900.0
    hours: float = 24.0
    runs: int = 20


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
    # The records cannot answer for these plans: an overview and an adoption concern objects that no
    # record names, a destroy changes every scope, and a new state must search all lists for its
    # marks.
    options = inputs.options
    if options.unmanaged or options.adopt or options.destroy or inputs.state_is_new:
        return UnchangedScopes(full_refresh_reason="all objects were requested")
    scopes = _trustworthy(inputs, checkpoint)
    # A query of the log costs a call, as much as reading a single scope.
    if len(scopes) * costs.sharers < 2:
        return UnchangedScopes(reasons=_reasons(inputs, checkpoint, {}))
    try:
        # The log is an optimization. A failure of it costs a full refresh, and never the plan.
        examination = LogExamination(
            log,
            checkpoint,
            scopes,
            inputs,
            overlap_seconds=policy.overlap_seconds,
            costs=costs,
        )
        proof = examination.prove()
    except (ApiError, CredentialError) as error:
        return UnchangedScopes(
            full_refresh_reason=f"the audit log cannot be used: {error}",
            setback=_short_reason(error),
        )
    # Check again: the answer of the log has the server's time, which was a guess before.
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


def _short_reason(error: ApiError | CredentialError) -> str:
    if isinstance(error, ApiError) and error.status:
        return f"the audit log answers {error.status}"
    return f"the audit log cannot be used: {error}"


def _trustworthy(
    inputs: PlanInputs, checkpoint: RefreshCheckpoint
) -> Mapping[ScopeKey, VerifiedScope]:
    """The verified scopes of kinds that the log reports, without new declarations."""
    unbound = _unbound(inputs)
    recorded = set(map(scope_key, inputs.records))
    trustworthy = {}
    for scope, verified in checkpoint.by_scope.items():
        # The records answer for a trusted scope, so a scope without any cannot be trusted.
        has_records_only = scope in recorded and scope not in unbound
        if has_records_only and is_reported_in_audit_log(inputs.kinds.get(scope[0])):
            trustworthy[scope] = verified
    return trustworthy


def _unbound(inputs: PlanInputs) -> set[ScopeKey]:
    """The scopes with a declared resource that has no record yet."""
    declared = {resource.address for resource in inputs.resources}
    # Only the list shows whether the object of a new resource exists already.
    return set(map(scope_key, declared - inputs.records.keys()))


def _reasons(
    inputs: PlanInputs, checkpoint: RefreshCheckpoint, touched: Mapping[ScopeKey, str]
) -> Mapping[ScopeKey, str]:
    """Why each untrusted scope is read."""
    reasons = {}
    unbound, scopes = _unbound(inputs), checkpoint.by_scope
    # Every scope of the plan has a record, or a declaration without one.
    for scope in unbound.union(map(scope_key, inputs.records)):
        # In this order, because a kind that the log does not report is read in any case.
        if not is_reported_in_audit_log(inputs.kinds.get(scope[0])):
            reasons[scope] = "the audit log does not tell of every change there"
        elif scope in unbound:
            reasons[scope] = "something new is declared there"
        elif scope not in scopes:
            reasons[scope] = "the last apply did not leave it in order"
        elif scope in touched:
            reasons[scope] = f"the audit log has {touched[scope]}"
    return reasons


def scopes_to_reread(
    plan: Plan, unchanged: UnchangedScopes, kinds: Mapping[str, Kind]
) -> set[ScopeKey]:
    """Trusted scopes that have to be read after all, because the plan changes them or depends on
    their live objects."""
    # No change is planned from a record alone: it needs the live object, for the pre-image and to
    # see what others changed.
    due = {scope_key(change.address) for change in (*plan.pending, *plan.blocked)}
    for change in plan.pending:
        due.update(_looked_into(change, kinds))
    # An output may show a field that only the server sets, which no record holds.
    for output in plan.outputs:
        due.update(map(scope_key, _unknown_in(output.after)))
    return due & unchanged.scopes.keys()


def _looked_into(change: Change, kinds: Mapping[str, Kind]) -> Iterator[ScopeKey]:
    """The scopes of other kinds whose live objects decide on a change.

    The state knows neither unmanaged objects nor fields that only the server sets.
    """
    # A change that forgets a record can be of a kind that this version does not know.
    kind = kinds.get(change.address.kind)
    if kind is not None and kind.made_unnecessary_by is not None:
        yield kind.made_unnecessary_by, None
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
