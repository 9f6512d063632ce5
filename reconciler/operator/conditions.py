"""Conditions of a Stack: what a run found, in the form that `kubectl wait` and alerts read.

Pure functions. `REASONS` is the table of docs/operator.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from reconciler.model.fleet import StackResult, StackStatus
from reconciler.operator.approval import ApprovalVerdict
from reconciler.operator.crds import MAX_MESSAGE
from reconciler.operator.resources import Mode

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"


class ReadyReason(Struct, frozen=True):
    """What a reason of `Ready` means, and whether progress needs a person."""

    meaning: str
    is_blocked: bool = False
    is_ready: bool = False
    is_calm: bool = False
    """Whether it is as somebody intended, though not ready."""


REASONS: Mapping[str, ReadyReason] = {
    "InSync": ReadyReason("Live objects are as the manifests declare.", is_ready=True),
    "Applied": ReadyReason("The plan was applied, all of it.", is_ready=True),
    "Observed": ReadyReason("Live objects were read. The mode never writes.", is_ready=True),
    "Suspended": ReadyReason("`suspend` is true, so there are no runs.", is_calm=True),
    "Destroyed": ReadyReason("The Stack is being deleted, and its objects are gone.", is_calm=True),
    "AwaitingApproval": ReadyReason(
        "The plan waits for the annotation with its digest.", is_calm=True
    ),
    "ApprovalOutdated": ReadyReason(
        "The annotation names another plan than the present one.", is_blocked=True
    ),
    "SpecInvalid": ReadyReason("The spec cannot be used.", is_blocked=True),
    "SourceNotFound": ReadyReason("The ConfigMap or the folder does not exist.", is_blocked=True),
    "SourceInvalid": ReadyReason(
        "The source is not a stack, or leaves its folder.", is_blocked=True
    ),
    "SourceMoved": ReadyReason(
        "The source changed during the run. The run is repeated.", is_calm=True
    ),
    "OrganizationNotFound": ReadyReason("The Organization does not exist.", is_blocked=True),
    "OrganizationNotAllowed": ReadyReason(
        "The Organization does not allow the namespace of the Stack.", is_blocked=True
    ),
    "OrganizationInvalid": ReadyReason("The Organization cannot be used.", is_blocked=True),
    "OrganizationMismatch": ReadyReason(
        "Keys, state and stack file belong to different organizations.", is_blocked=True
    ),
    "KeyNotFound": ReadyReason("A Secret with a key does not exist or lacks it.", is_blocked=True),
    "KeyRefused": ReadyReason("The API refuses a key.", is_blocked=True),
    "CredentialMissing": ReadyReason(
        "The stack needs a key that nothing provides.", is_blocked=True
    ),
    "StackNameTaken": ReadyReason(
        "Another Stack manages the same stack name and environment.", is_blocked=True
    ),
    "ConfigurationInvalid": ReadyReason("The manifests have errors.", is_blocked=True),
    "RequestInvalid": ReadyReason("A setting cannot be used.", is_blocked=True),
    "GuardRefused": ReadyReason("A guard or a policy refuses the plan.", is_blocked=True),
    "PolicyFailed": ReadyReason("A policy over live objects fails.", is_blocked=True),
    "ResourceBlocked": ReadyReason("A resource has an error.", is_blocked=True),
    "ResourceUnreadable": ReadyReason("A managed object cannot be read.", is_blocked=True),
    "NotConverging": ReadyReason(
        "Applies of the same source always leave changes. Runs become rarer.", is_blocked=True
    ),
    "DeletionNotPermitted": ReadyReason(
        "`deletionPolicy` is Delete, and the mode never writes.", is_blocked=True
    ),
    "ApplyFailed": ReadyReason("No change was applied.", is_blocked=True),
    "ApplyIncomplete": ReadyReason("Some changes were applied.", is_blocked=True),
    "SinkFailed": ReadyReason("A key could not be delivered.", is_blocked=True),
    "PlanStale": ReadyReason(
        "Something changed between plan and apply. The run is repeated.", is_calm=True
    ),
    "Locked": ReadyReason("Another run has held the lock of the state for long."),
    "Interrupted": ReadyReason("The run was stopped. It is repeated.", is_calm=True),
    "StateUnavailable": ReadyReason("The shared state cannot be reached or read."),
    "ApiFailed": ReadyReason("The API cannot be reached, or fails."),
    "Throttled": ReadyReason("The API allows no more requests for now."),
    "SystemFailed": ReadyReason("The operating system refused something."),
    "Unexpected": ReadyReason("A fault of this program. The log has more."),
}
"""Every reason of the condition `Ready`; `Blocked` has the same one while it is true."""

_GOOD = (StackStatus.IN_SYNC, StackStatus.APPLIED, StackStatus.PENDING, StackStatus.DRIFTED)


class Judgement(Struct, frozen=True):
    """The reason of `Ready`, with a sentence."""

    reason: str
    message: str = ""

    @property
    def entry(self) -> ReadyReason:
        """What the reason means."""
        return REASONS.get(self.reason, REASONS["Unexpected"])


def judge(mode: Mode, result: StackResult, verdict: ApprovalVerdict) -> Judgement:
    """What a run says about a Stack. `verdict` is about the plan of the result."""
    if result.status not in _GOOD:
        reason = result.reason if result.reason in REASONS else "Unexpected"
        return Judgement(reason, _explained(result))
    if result.status is StackStatus.APPLIED:
        return Judgement("Applied", "All changes were applied.")
    if result.plan is not None and result.plan.blocked:
        # A report about drift alone is good in spite of them.
        return Judgement("ResourceBlocked", _explained(result))
    if verdict is ApprovalVerdict.AWAITS:
        return Judgement("AwaitingApproval", "The plan waits for approval.")
    if verdict is ApprovalVerdict.OUTDATED:
        return Judgement("ApprovalOutdated", "Another plan was approved.")
    if result.status is StackStatus.IN_SYNC:
        return Judgement("InSync", "Live objects are as the manifests declare.")
    if verdict is ApprovalVerdict.NOT_PERMITTED:
        return Judgement("Observed", f"The mode {mode} reports changes and makes none.")
    return Judgement("InSync", "Only the state changes.")


def _explained(result: StackResult) -> str:
    """Why a run failed, in a few sentences."""
    sentences = [result.message] if result.message else []
    plan = result.plan
    if plan is not None and result.status is StackStatus.REFUSED:
        sentences += plan.refusals[:3]
        if len(plan.refusals) > 3:
            sentences.append(f"{len(plan.refusals) - 3} more refusals")
    for diagnostic in result.diagnostics[:3]:
        sentences.append(
            str(diagnostic.location or diagnostic.address or "")
            + f" {diagnostic.summary}: {diagnostic.detail}"
        )
    if result.result is not None:
        failed = [outcome for outcome in result.result.outcomes if outcome.message]
        sentences += [f"{outcome.change.address}: {outcome.message}" for outcome in failed[:3]]
    if not sentences and plan is not None:
        sentences += [f"{change.address}: {change.blocked}" for change in plan.blocked[:3]]
    return " ".join(_sentence(text) for text in sentences)


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def conditions_of(
    judgement: Judgement,
    *,
    drifted: int | None,
    pending: int | None,
    drift_message: str = "",
    generation: int = 0,
    previous: Iterable[Mapping[str, Any]] = (),
    now: str,
) -> list[dict[str, Any]]:
    """The conditions of a Stack.

    `drifted` and `pending` count objects that were changed outside and planned changes; None where
    the run could not tell. `previous` are the conditions before, which keep their time of transition
    while their status stays. `now` is in the format of Kubernetes.
    """
    entry = judgement.entry
    ready = TRUE if entry.is_ready else FALSE
    values = [
        ("Ready", ready, judgement.reason, judgement.message),
        _synced(pending, drifted),
        _drifted(drifted, drift_message),
    ]
    if entry.is_blocked:
        values.append(("Blocked", TRUE, judgement.reason, judgement.message))
    else:
        values.append(("Blocked", FALSE, "NotBlocked", "No person has to do anything."))
    before = {str(old.get("type")): old for old in previous if isinstance(old, Mapping)}
    return [
        _condition(type, status, reason, message, before.get(type), generation, now)
        for type, status, reason, message in values
    ]


def ready_condition(
    judgement: Judgement,
    *,
    is_ready: bool,
    generation: int,
    previous: Iterable[Mapping[str, Any]],
    now: str,
) -> dict[str, Any]:
    """The condition `Ready` of an object that has no other."""
    before = {str(old.get("type")): old for old in previous if isinstance(old, Mapping)}
    status = TRUE if is_ready else FALSE
    return _condition(
        "Ready", status, judgement.reason, judgement.message, before.get("Ready"), generation, now
    )


def _synced(pending: int | None, drifted: int | None) -> tuple[str, str, str, str]:
    if pending is None:
        return ("Synced", UNKNOWN, "NotRead", "The last run could not tell.")
    if pending == 0:
        return ("Synced", TRUE, "NoChanges", "There is nothing to change.")
    what = f"{pending} change{'s are' if pending != 1 else ' is'} pending."
    return ("Synced", FALSE, "ChangedOutside" if drifted else "ChangesPending", what)


def _drifted(drifted: int | None, message: str) -> tuple[str, str, str, str]:
    if drifted is None:
        return ("Drifted", UNKNOWN, "NotRead", "The last run could not tell.")
    if drifted == 0:
        return ("Drifted", FALSE, "NoDrift", "Nobody changed objects outside of reconciler.")
    return ("Drifted", TRUE, "ChangedOutside", message)


def _condition(
    type: str,
    status: str,
    reason: str,
    message: str,
    before: Mapping[str, Any] | None,
    generation: int,
    now: str,
) -> dict[str, Any]:
    since = now
    if before is not None and before.get("status") == status:
        since = str(before.get("lastTransitionTime") or now)
    return {
        "type": type,
        "status": status,
        "reason": reason,
        "message": bounded(message),
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }


def bounded(text: str, longest: int = MAX_MESSAGE) -> str:
    """A text that fits into a field of a status."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
