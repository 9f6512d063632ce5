"""Asks the audit log who changed an object outside this stack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from reconciler.api.audit import Suspicion, blame
from reconciler.app.session import Session
from reconciler.errors import ApiError, CredentialError
from reconciler.kinds import ALL_KINDS
from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, Drift, Outcome, OutcomeStatus, Plan
from reconciler.model.diagnostic import Diagnostic, Severity

_NO_ENTRY = "the audit log has no entry about it"


def with_blame(session: Session, plan: Plan) -> Plan:
    """The plan with who caused its drift; with a warning where the audit log cannot be read."""
    calls = session.client.calls
    try:
        culprits = _culprits(session, map(_suspicion_of_drift, filter(_is_changed, plan.drift)))
    except (ApiError, CredentialError) as error:
        warning = Diagnostic("The audit log cannot be read", str(error), severity=Severity.WARNING)
        return replace(plan, diagnostics=(*plan.diagnostics, warning))
    drift = []
    for entry in plan.drift:
        if _is_changed(entry):
            entry = replace(entry, blame=culprits.get((entry.id, entry.project_id), _NO_ENTRY))
        drift.append(entry)
    return replace(plan, drift=tuple(drift), calls=plan.calls + session.client.calls - calls)


def with_culprits(session: Session, result: ApplyResult) -> ApplyResult:
    """The result with who changed each object since the plan, where the audit log can be read.

    The log covers the control plane alone, so nothing is asked if only other objects changed.
    """
    stale = list(filter(_can_be_in_log, result.of(OutcomeStatus.STALE)))
    # A stopped run makes no further call.
    if not stale or session.stop.is_set():
        return result
    try:
        culprits = _culprits(session, map(_suspicion_of_outcome, stale))
    except (ApiError, CredentialError) as error:
        session.notice(f"Cannot read the audit log, so it is not known who did it: {error}")
        return result
    outcomes = list(result.outcomes)
    for index, outcome in enumerate(outcomes):
        if outcome.status is OutcomeStatus.STALE:
            change = outcome.change
            culprit = culprits.get((change.id or "", change.project_id), "")
            outcomes[index] = replace(outcome, blame=culprit)
    return replace(result, outcomes=tuple(outcomes))


def _culprits(
    session: Session,
    suspicions: Iterable[Suspicion],
) -> Mapping[tuple[str, str | None], str]:
    return blame(session.client, session.keys, list(suspicions))


def _can_be_in_log(outcome: Outcome) -> bool:
    kind = ALL_KINDS[outcome.change.address.kind]
    return bool(outcome.change.id) and kind.scope.needs_admin_key


def _is_changed(drift: Drift) -> bool:
    return drift.is_changed


def _suspicion_of_drift(drift: Drift) -> Suspicion:
    return _suspicion(drift.address, drift.id, drift.project_id, deleted=drift.deleted)


def _suspicion_of_outcome(outcome: Outcome) -> Suspicion:
    change = outcome.change
    is_gone = not outcome.changed_since_plan  # an object that still exists changed field by field
    return _suspicion(change.address, change.id or "", change.project_id, deleted=is_gone)


def _suspicion(address: Address, id: str, project_id: str | None, *, deleted: bool) -> Suspicion:
    kind = ALL_KINDS[address.kind]
    return Suspicion(
        id,
        project_id,
        deleted,
        types=kind.audit_event_types,
        can_be_reset=kind.always_exists,
    )
