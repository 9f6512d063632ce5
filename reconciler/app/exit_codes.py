"""How an apply and its checks ended, as exit codes. The same for a single stack and for a fleet."""

from __future__ import annotations

from reconciler.errors import (
    GuardError,
    Interrupted,
    LockedError,
    ReconcilerError,
    StalePlanError,
)
from reconciler.model.change import ApplyResult, Outcome, OutcomeStatus
from reconciler.model.checking import CheckReport

_CODES: tuple[tuple[type[ReconcilerError], int], ...] = (
    (StalePlanError, 10),
    (GuardError, 11),
    (LockedError, 12),
    (Interrupted, 130),
)


def exit_code_of_error(error: BaseException) -> int:
    """The exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


def is_complete(result: ApplyResult) -> bool:
    """Whether every change was applied."""
    if result.interrupted:
        return False
    return all(map(_is_applied, result.outcomes))


def _is_applied(outcome: Outcome) -> bool:
    return outcome.status is OutcomeStatus.APPLIED and not outcome.refused


def exit_code_of(result: ApplyResult) -> int:
    """0 all applied, 130 interrupted, 10 an object had changed, 13 partly applied, 1 none applied."""
    if is_complete(result):
        return 0
    if result.interrupted:
        return 130
    if result.of(OutcomeStatus.STALE):
        return 10
    # A change that was started may have written before it failed.
    if any(outcome.refused or outcome.was_started for outcome in result.outcomes):
        return 13
    return 13 if result.of(OutcomeStatus.APPLIED) else 1


def final_exit_code(result: ApplyResult) -> int:
    """As `exit_code_of`; after a complete apply, 11 if a policy fails and 1 if a check does."""
    code = exit_code_of(result)
    if code == 0 and result.policies.refusing:
        return 11
    if code == 0 and result.checks is not None:
        return exit_code_of_checks(result.checks)
    return code


def exit_code_of_checks(report: CheckReport) -> int:
    """0 all passed, 130 interrupted, 1 a check failed."""
    if report.interrupted:
        return 130
    return 0 if report.passed else 1
