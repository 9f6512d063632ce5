"""The status of a Stack as a value: the facts of a run, and the values kept from earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from reconciler.model.change import Action, Change, Plan
from reconciler.model.fleet import StackResult, StackStatus
from reconciler.model.plan_digest import change_digest
from reconciler.operator.conditions import (
    Judgement,
    bounded,
    by_type,
    conditions_of,
    ready_condition,
)
from reconciler.operator.crds import MAX_CHANGES
from reconciler.operator.resources import OrganizationObject, StackObject, may_write
from reconciler.render.escape import terminal

KEYS_FOUND = "KeysFound"
"""The reason of an Organization that can be used."""
_HEARTBEAT = ("lastRun",)
"""Fields that change with every run. They alone are no reason to write a status."""
_KEPT = (
    "plan",
    "drifted",
    "driftSince",
    "approval",
    "lastAppliedRevision",
    "stack",
    "environment",
    "sourceRevision",
)
_SHOWN_DRIFT = 5
_SHORT_DIGEST = 12
_LONGEST_MESSAGE = 1000
_LONGEST = {"address": 512, "destroys": 256}
"""The longest texts of a change, in characters, where they may exceed `_LONGEST_TEXT`."""
_LONGEST_TEXT = 64


class RunFacts(Struct, frozen=True):
    """The facts of a run for a status. `result` is None for a run that never reached the stack."""

    judgement: Judgement
    result: StackResult | None = None
    stack: str = ""
    """The name in the stack file; empty while it is unknown."""
    revision: str = ""
    """The commit or digest of the source; empty while it is unknown."""
    number: int = 0
    approved: str = ""
    """The digest of the approval that the run used up."""


Clean = Callable[[str], str]


def timestamp(seconds: float) -> str:
    """Unix seconds in the format of Kubernetes."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def status_of(
    stack: StackObject,
    facts: RunFacts,
    *,
    before: Mapping[str, Any],
    clean: Clean,
    now: float,
) -> dict[str, Any]:
    """The whole status after a run of `stack`.

    `before` is the present status. `clean` redacts text; `now` is in unix seconds.
    """

    def shown(text: str, longest: int) -> str:
        return bounded(terminal(clean(text)), longest)

    moment, result = timestamp(now), facts.result
    status: dict[str, Any] = {name: before[name] for name in _KEPT if name in before}
    drifted = pending = None
    drift_message = ""
    if result is not None and result.plan is not None and _has_read(result):
        plan = result.plan
        is_done = result.status is StackStatus.APPLIED
        drifted = pending = 0
        if not is_done:
            drifted = sum(drift.is_changed for drift in plan.drift)
            pending = len(plan.pending) + len(plan.blocked)
            drift_message = shown(_drift_message(plan), _LONGEST_MESSAGE)
        status["drifted"] = drifted
        if drifted:
            # Kept from the first run that found drift, for alerts on its age.
            status.setdefault("driftSince", moment)
        else:
            status.pop("driftSince", None)
        is_settled = is_done or plan.is_empty
        if is_settled:
            status.pop("plan", None)
        else:
            status["plan"] = _plan(plan, result.digest, before.get("plan"), moment, shown)
        writes = stack.spec is not None and may_write(stack.spec.mode)
        if facts.revision and writes and is_settled:
            status["lastAppliedRevision"] = facts.revision
    if facts.stack and result is not None:
        status["stack"], status["environment"] = facts.stack, result.id.environment
    if facts.revision:
        status["sourceRevision"] = facts.revision
    if facts.approved:
        status["approval"] = {"digest": facts.approved, "time": moment}
    status["conditions"] = conditions_of(
        Judgement(facts.judgement.reason, shown(facts.judgement.message, _LONGEST_MESSAGE)),
        drifted=drifted,
        pending=pending,
        drift_message=drift_message,
        generation=stack.generation,
        previous=before.get("conditions"),
        now=moment,
    )
    status["observedGeneration"] = stack.generation
    status["lastRun"] = _last_run(facts, moment)
    return status


def organization_status_of(
    organization: OrganizationObject, judgement: Judgement, clean: Clean, now: float
) -> dict[str, Any]:
    """The status of an Organization, which says whether its keys exist."""
    message = bounded(terminal(clean(judgement.message)))
    ready = ready_condition(
        Judgement(judgement.reason, message),
        is_ready=judgement.reason == KEYS_FOUND,
        generation=organization.generation,
        previous=organization.status.get("conditions"),
        now=timestamp(now),
    )
    return {"observedGeneration": organization.generation, "conditions": [ready]}


def _has_read(result: StackResult) -> bool:
    """Whether live objects were read before the run ended."""
    return result.status not in (StackStatus.LOCKED, StackStatus.INTERRUPTED)


def _last_run(facts: RunFacts, moment: str) -> dict[str, Any]:
    run: dict[str, Any] = {"number": facts.number, "time": moment, "reason": facts.judgement.reason}
    if facts.result is not None:
        run["command"] = str(facts.result.command)
        run["result"] = str(facts.result.status)
    return run


def _plan(
    plan: Plan, digest: str, before: Any, moment: str, shown: Callable[[str, int], str]
) -> dict[str, Any]:
    changes = changes_of(plan)
    # Kept while the plan stays the same, to say how long it has been waiting.
    made_at = moment
    if isinstance(before, Mapping) and before.get("digest") == digest:
        made_at = str(before.get("madeAt") or moment)
    status: dict[str, Any] = {
        "digest": digest,
        "summary": summary_of(plan),
        "counts": {str(action): number for action, number in _counts(plan).items()},
        "destroys": len(plan.destructive),
        "changes": [_cleaned(change, shown) for change in changes[:MAX_CHANGES]],
        "madeAt": made_at,
    }
    if len(changes) > MAX_CHANGES:
        status["omitted"] = len(changes) - MAX_CHANGES
    return status


def _counts(plan: Plan) -> dict[Action, int]:
    counts = dict(plan.counts())
    counts.pop(Action.NO_OP, None)
    return counts


def summary_of(plan: Plan) -> str:
    """The counts of a plan in words, such as `2 create, 1 delete`."""
    return ", ".join(f"{number} {action}" for action, number in _counts(plan).items())


def changes_of(plan: Plan) -> list[dict[str, str]]:
    """The changes of a plan, destructive ones first."""
    # The list is cut for the status, and the cut must never hide a deletion.
    changes = sorted(plan.pending, key=lambda change: not change.is_destructive)
    return [_change(change) for change in changes]


def _change(change: Change) -> dict[str, str]:
    entry = {
        "address": str(change.address),
        "action": str(change.action),
        "reason": change.reason.name,
        "digest": change_digest(change)[:_SHORT_DIGEST],
    }
    if change.destroys:
        entry["destroys"] = change.destroys
    return entry


def _cleaned(change: Mapping[str, str], shown: Callable[[str, int], str]) -> dict[str, str]:
    return {name: shown(text, _LONGEST.get(name, _LONGEST_TEXT)) for name, text in change.items()}


def _drift_message(plan: Plan) -> str:
    changed = [drift for drift in plan.drift if drift.is_changed]
    if not changed:
        return ""
    named = []
    for drift in changed[:_SHOWN_DRIFT]:
        event = "is gone" if drift.deleted else "was changed"
        named.append(f"{drift.address} {event}")
    if len(changed) > len(named):
        named.append(f"{len(changed) - len(named):,} more")
    return f"{', '.join(named)}."


def is_news(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two statuses differ in more than the time of the last run."""
    return _essence(before) != _essence(after)


def _essence(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name not in _HEARTBEAT}


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7386) that turns one object into another."""
    # `null` removes a field.
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if old == value and name in before:
            continue
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            patch[name] = merge_patch(old, value)
        else:
            patch[name] = value
    return patch


class Transition(Struct, frozen=True):
    """A change of a condition, for an Event."""

    type: str
    reason: str
    message: str
    is_warning: bool


_EVENTFUL = ("Ready", "Drifted", "Blocked")
_OF_A_PLAN = ("AwaitingApproval", "ApprovalOutdated")
"""Reasons whose message names a plan, so that another message is about another plan."""


def transitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Transition]:
    """The changes between two statuses that deserve an Event: one for each new reason or plan."""
    earlier = by_type(before.get("conditions"))
    # By reason: Ready and Blocked change together and would cause two Events that say the same.
    made: dict[str, Transition] = {}
    for type, condition in by_type(after.get("conditions")).items():
        if type in _EVENTFUL and _is_eventful(type, earlier.get(type, {}), condition):
            reason = condition["reason"]
            is_warning = _is_warning(type, condition)
            made.setdefault(reason, Transition(type, reason, condition["message"], is_warning))
    return list(made.values())


def _is_eventful(type: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    fields = ["status", "reason"]
    if after.get("reason") in _OF_A_PLAN:
        fields.append("message")
    if all(before.get(field) == after.get(field) for field in fields):
        return False
    if type == "Ready" or after["status"] == "True":
        return True
    # Drift that ends deserves an Event. The end of Blocked is the beginning of another Ready.
    return type == "Drifted" and before.get("status") == "True"


def _is_warning(type: str, condition: Mapping[str, Any]) -> bool:
    if type != "Ready":
        return bool(condition["status"] == "True")
    entry = Judgement(condition["reason"]).entry
    return not (entry.is_ready or entry.is_calm)
