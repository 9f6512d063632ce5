"""Conditions of a Stack: the result of a run in the form that `kubectl wait` and alerts read.

Pure functions. `REASONS` is the table of docs/operator.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from reconciler.model.fleet import StackResult, StackStatus
from reconciler.operator.approval import ApprovalVerdict
from reconciler.operator.crds import MAX_MESSAGE
from reconciler.operator.resources import Mode

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"


class ReadyReason(Struct, frozen=True):
    """The meaning of a reason of `Ready`, and whether progress needs a person."""

    meaning: str
    is_blocked: bool = False
    is_ready: bool = False
    is_calm: bool = False
    """Whether somebody intends the Stack not to be ready, so that no Event is a warning."""


def _ready(meaning: str) -> ReadyReason:
    return ReadyReason(meaning, is_ready=True)


def _calm(meaning: str) -> ReadyReason:
    return ReadyReason(meaning, is_calm=True)


def _blocked(meaning: str) -> ReadyReason:
    return ReadyReason(meaning, is_blocked=True)


REASONS: Mapping[str, ReadyReason] = {
    "InSync": _ready("Live objects match the manifests."),
    "Applied": _ready("The entire plan was applied."),
    "Observed": _ready("Live objects were read. The mode does not write."),
    "Suspended": _calm("`suspend` is true. There are no runs."),
    "Destroyed": _calm("The Stack is being deleted, and its objects are gone."),
    "AwaitingApproval": _calm("The plan waits for the annotation with its digest."),
    "ApprovalOutdated": _blocked("The annotation approves a plan other than the current one."),
    "SpecInvalid": _blocked("The spec is invalid."),
    "SourceNotFound": _blocked("The ConfigMap or the folder does not exist."),
    "SourceInvalid": _blocked("The source is not a stack, or leaves its folder."),
    "SourceMoved": _calm("The source changed during the run. The run is retried."),
    "OrganizationNotFound": _blocked("The Organization does not exist."),
    "OrganizationNotAllowed": _blocked(
        "The Organization does not allow the namespace of the Stack."
    ),
    "OrganizationInvalid": _blocked("The Organization is invalid."),
    "OrganizationMismatch": _blocked(
        "Keys, state and stack file belong to different organizations."
    ),
    "KeyNotFound": _blocked("A Secret with an API key does not exist, or lacks the key."),
    "KeyRefused": _blocked("The API refuses an API key."),
    "CredentialMissing": _blocked("The stack needs a key that nothing provides."),
    "StackNameTaken": _blocked("Another Stack manages the same stack name and environment."),
    "ConfigurationInvalid": _blocked("The manifests have errors."),
    "RequestInvalid": _blocked("A setting is invalid."),
    "GuardRefused": _blocked("A guard or a policy refuses the plan."),
    "PolicyFailed": _blocked("A policy for live objects fails."),
    "ResourceBlocked": _blocked("A resource has an error."),
    "ResourceUnreadable": _blocked("A managed object cannot be read."),
    "NotConverging": _blocked(
        "Each apply of the same source leaves changes. Runs become less frequent."
    ),
    "DeletionNotPermitted": _blocked("`deletionPolicy` is Delete, but the mode does not write."),
    "ApplyFailed": _blocked("No change was applied."),
    "ApplyIncomplete": _blocked("Some changes were applied."),
    "SinkFailed": _blocked("A key could not be delivered."),
    "PlanStale": _calm("Something changed between plan and apply. The run is retried."),
    "Locked": ReadyReason("Another run has held the lock of the state for more than ten minutes."),
    "Interrupted": _calm("The run was stopped. It is retried."),
    "StateUnavailable": ReadyReason("The shared state cannot be reached or read."),
    "ApiFailed": ReadyReason("The API cannot be reached, or returns errors."),
    "Throttled": ReadyReason("The API's rate limit is exhausted."),
    "SystemFailed": ReadyReason("A call to the operating system failed."),
    "Unexpected": ReadyReason("An internal error. The log has details."),
}
"""Every reason of the condition `Ready`; `Blocked` has the same one while it is true."""

_MOST_NAMED = 3
_GOOD = (StackStatus.IN_SYNC, StackStatus.APPLIED, StackStatus.PENDING, StackStatus.DRIFTED)


class Judgement(Struct, frozen=True):
    """The reason of `Ready`, with a sentence."""

    reason: str
    message: str = ""

    @property
    def entry(self) -> ReadyReason:
        """The table entry of the reason."""
        return REASONS.get(self.reason, REASONS["Unexpected"])


def judge(mode: Mode, result: StackResult, verdict: ApprovalVerdict) -> Judgement:
    """The reason and message for the result of a run. `verdict` is about the plan of the result."""
    if result.status not in _GOOD:
        # A reason of a newer part of the program must not become a condition that no page explains.
        reason = "Unexpected"
        if result.reason in REASONS:
            reason = result.reason
        return Judgement(reason, _explained(result))
    if result.status is StackStatus.APPLIED:
        return Judgement("Applied", "All changes were applied.")
    if result.plan is not None and result.plan.blocked:
        # The status of a drift report ignores blocked resources.
        return Judgement("ResourceBlocked", _explained(result))
    if verdict is ApprovalVerdict.AWAITS:
        return Judgement("AwaitingApproval", "The plan waits for approval.")
    if verdict is ApprovalVerdict.OUTDATED:
        return Judgement("ApprovalOutdated", "Another plan was approved.")
    if result.status is StackStatus.IN_SYNC:
        return Judgement("InSync", "Live objects match the manifests.")
    if verdict is ApprovalVerdict.NOT_PERMITTED:
        return Judgement("Observed", f"The mode {mode} reports changes and makes none.")
    return Judgement("InSync", "Only the state changes.")


def _explained(result: StackResult) -> str:
    """Why a run failed, in a few sentences."""
    sentences = []
    if result.message:
        sentences.append(result.message)
    plan = result.plan
    if plan is not None and result.status is StackStatus.REFUSED:
        sentences += plan.refusals[:_MOST_NAMED]
        if len(plan.refusals) > _MOST_NAMED:
            sentences.append(f"{len(plan.refusals) - _MOST_NAMED:,} more refusals")
    for diagnostic in result.diagnostics[:_MOST_NAMED]:
        place = diagnostic.location or diagnostic.address or ""
        sentences.append(f"{place} {diagnostic.summary}: {diagnostic.detail}")
    if result.result is not None:
        failed = [outcome for outcome in result.result.outcomes if outcome.message]
        for outcome in failed[:_MOST_NAMED]:
            sentences.append(f"{outcome.change.address}: {outcome.message}")
    # Blocked resources explain a run without another explanation. Otherwise they repeat it.
    if not sentences and plan is not None:
        for change in plan.blocked[:_MOST_NAMED]:
            sentences.append(f"{change.address}: {change.blocked}")
    return " ".join(map(_sentence, sentences))


def _sentence(text: str) -> str:
    text = text.strip()
    if text.endswith((".", "!", "?")):
        return text
    return f"{text}."


def conditions_of(
    judgement: Judgement,
    *,
    drifted: int | None,
    pending: int | None,
    drift_message: str = "",
    generation: int = 0,
    previous: Any = None,
    now: str,
) -> list[dict[str, Any]]:
    """The conditions of a Stack.

    `drifted` and `pending` count objects that were changed outside and planned changes; None where
    the run could not tell. `previous` are the conditions of the present status. `now` is in the
    format of Kubernetes.
    """
    make = _ConditionMaker(previous, generation, now).make
    entry = judgement.entry
    conditions = [
        make("Ready", TRUE if entry.is_ready else FALSE, judgement.reason, judgement.message),
        make("Synced", *_synced(pending, drifted)),
        make("Drifted", *_drifted(drifted, drift_message)),
    ]
    if entry.is_blocked:
        conditions.append(make("Blocked", TRUE, judgement.reason, judgement.message))
    else:
        conditions.append(make("Blocked", FALSE, "NotBlocked", "No person has to do anything."))
    return conditions


def ready_condition(
    judgement: Judgement, *, is_ready: bool, generation: int, previous: Any, now: str
) -> dict[str, Any]:
    """The condition `Ready` of an object that has no other condition."""
    make = _ConditionMaker(previous, generation, now).make
    return make("Ready", TRUE if is_ready else FALSE, judgement.reason, judgement.message)


def by_type(conditions: Any) -> dict[str, Mapping[str, Any]]:
    """The conditions of a status by their type. The status is that of the API server, unchecked."""
    if not isinstance(conditions, list):
        return {}
    return {str(entry.get("type")): entry for entry in conditions if isinstance(entry, Mapping)}


class _ConditionMaker:
    """Makes conditions. Each keeps its time of transition while its status stays."""

    def __init__(self, previous: Any, generation: int, now: str) -> None:
        self._previous = by_type(previous)
        self._generation = generation
        self._now = now

    def make(self, type: str, status: str, reason: str, message: str) -> dict[str, Any]:
        """A condition in the form of Kubernetes."""
        since = self._now
        earlier = self._previous.get(type)
        if earlier is not None and earlier.get("status") == status:
            since = str(earlier.get("lastTransitionTime") or self._now)
        return {
            "type": type,
            "status": status,
            "reason": reason,
            "message": bounded(message),
            "lastTransitionTime": since,
            "observedGeneration": self._generation,
        }


def _synced(pending: int | None, drifted: int | None) -> tuple[str, str, str]:
    """Status, reason and message of the condition `Synced`."""
    if pending is None:
        return UNKNOWN, "NotRead", "The last run could not tell."
    if pending == 0:
        return TRUE, "NoChanges", "There is nothing to change."
    message = f"{pending} changes are pending."
    if pending == 1:
        message = "1 change is pending."
    if drifted:
        return FALSE, "ChangedOutside", message
    return FALSE, "ChangesPending", message


def _drifted(drifted: int | None, message: str) -> tuple[str, str, str]:
    """Status, reason and message of the condition `Drifted`."""
    if drifted is None:
        return UNKNOWN, "NotRead", "The last run could not tell."
    if drifted == 0:
        return FALSE, "NoDrift", "Nobody changed objects outside of reconciler."
    return TRUE, "ChangedOutside", message


def bounded(text: str, longest: int = MAX_MESSAGE) -> str:
    """A text that fits into a field of a status."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - 1]}…"
