"""The sentences that all renderers share: text, Markdown and JSON use the same words.

Reasons live with `Reason` in `model/change.py`; refusals with the guards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.model.change import (
    Action,
    ApplyResult,
    Change,
    Drift,
    Origin,
    Outcome,
    OutcomeStatus,
    Plan,
    Reason,
)
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.model.keys import KeyStep
from reconciler.model.kind import Removal, ScopeType
from reconciler.render.values import count, enclosed, grouped, tally

if TYPE_CHECKING:
    from reconciler.model.checking import CheckOutcome

ORGANIZATION = "Organization"
DEFAULT_PROJECT = "Project of the default key"
DESTRUCTIVE = "Destructive"

_DONE = {
    Action.NO_OP: "unchanged",
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.REPLACE: "replaced",
    Action.DELETE: "deleted",
    Action.ADOPT: "adopted",
    Action.FORGET: "forgotten",
}
_DOING = {
    Action.NO_OP: "leaving",
    Action.CREATE: "creating",
    Action.UPDATE: "updating",
    Action.REPLACE: "replacing",
    Action.DELETE: "deleting",
    Action.ADOPT: "adopting",
    Action.FORGET: "forgetting",
}
_REMOVED = {
    Removal.DELETE: "deleted",
    Removal.ARCHIVE: "archived",
    Removal.RESTORE: "restored",
    Removal.CANCEL: "cancelled",
}
_REMOVING = {
    Removal.DELETE: "deleting",
    Removal.ARCHIVE: "archiving",
    Removal.RESTORE: "restoring",
    Removal.CANCEL: "cancelling",
}
_TO_REMOVE = {
    Removal.ARCHIVE: "archive",
    Removal.RESTORE: "restore",
    Removal.CANCEL: "cancel",
}
_DONE_WITH_JOBS = {
    Action.CREATE: "started",
    Action.REPLACE: "run again",
    Action.UPDATE: "waited for",
}
_DOING_WITH_JOBS = {
    Action.CREATE: "starting",
    Action.REPLACE: "running again",
    Action.UPDATE: "waiting",
}
_CAUSED_BY_DRIFT = frozenset(
    {
        Reason.DRIFT,
        Reason.DELETED_OUTSIDE,
        Reason.ARCHIVED_OUTSIDE,
        Reason.EXPIRED,
        Reason.GONE,
        Reason.ROTATION,
    }
)
_ORIGINS = {
    Origin.DRIFT: "changed outside",
    Origin.BOTH: "changed in the manifest and outside",
}
_FALLBACK_MESSAGES = {
    OutcomeStatus.FAILED: "the call failed",
    OutcomeStatus.SKIPPED: "a dependency was not applied",
    OutcomeStatus.STALE: "it changed after the plan was made",
}
_NOT_APPLIED = {
    OutcomeStatus.FAILED: "failed",
    OutcomeStatus.STALE: "refused as stale",
    OutcomeStatus.SKIPPED: "skipped",
}
_ACTIONS = tuple(Action)
# Terraform's three actions: a plan that lacks one of them says so.
_ALWAYS_COUNTED = (Action.CREATE, Action.UPDATE, Action.DELETE)

# Shorter waits are part of any run with more calls than the rate limit allows at once.
_NOTABLE_WAIT_SECONDS = 1.0


def capitalized(sentence: str) -> str:
    """A sentence with a capital at its beginning, and everything else unchanged."""
    return sentence[:1].upper() + sentence[1:]


def done(change: Change) -> str:
    """The participle for a change: `created`, `archived`, …"""
    if change.is_job and change.action in _DONE_WITH_JOBS:
        return _DONE_WITH_JOBS[change.action]
    if change.action is Action.DELETE and change.removal:
        return _REMOVED[change.removal]
    return _DONE[change.action]


def doing(change: Change) -> str:
    """The progressive for a change that is running: `creating`, `archiving`, …"""
    if change.is_job and change.action in _DOING_WITH_JOBS:
        return _DOING_WITH_JOBS[change.action]
    if change.action is Action.DELETE and change.removal:
        return _REMOVING[change.removal]
    return _DOING[change.action]


def will_be(change: Change) -> str:
    """`will be created`, `will be updated: the manifest changed`."""
    # A create needs no explanation when the object is simply new.
    if change.reason is Reason.NEW:
        return f"will be {done(change)}"
    return f"will be {done(change)}: {why(change)}"


def why(change: Change) -> str:
    """The reason of a change: `no manifest declares it`, `it matches Retention/old-results`."""
    if change.matched_by:
        return f"it matches {change.matched_by}"
    return str(change.reason)


def heading_of(entry: Change | Drift) -> str:
    """The heading of the scope that the object belongs to."""
    if entry.address.project:
        return f"Project {entry.address.project}"
    if entry.scope == ScopeType.PROJECT_KEY:
        return DEFAULT_PROJECT
    return ORGANIZATION


def by_scope(changes: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    """Changes grouped under headings: the organization first, then projects in plan order."""
    groups = list(grouped(changes, heading_of).items())
    groups.sort(key=lambda group: group[0] != ORGANIZATION)
    return groups


def drift_by_scope(drifts: Iterable[Drift]) -> list[tuple[str, list[Drift]]]:
    """Drift grouped under headings, in plan order."""
    return list(grouped(drifts, heading_of).items())


def by_importance(changes: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    """Changes grouped under headings: destructive ones first, then the others by scope."""
    destructive: list[Change] = []
    others: list[Change] = []
    for change in changes:
        if change.is_destructive:
            destructive.append(change)
        else:
            others.append(change)
    groups = by_scope(others)
    if destructive:
        groups.insert(0, (DESTRUCTIVE, destructive))
    return groups


def where(location: SourceLocation | None) -> str:
    """`manifests/search.yaml:12`, or an empty string."""
    if location is None:
        return ""
    return f"{location.file}:{location.line}"


def field_remarks(origin: Origin, *, forces_replacement: bool, note: str) -> str:
    """The remark beside a field change: `forces replacement, changed outside`."""
    remarks = [_ORIGINS.get(origin), note]
    if forces_replacement:
        remarks.insert(0, "forces replacement")
    return ", ".join(filter(None, remarks))


def steps(change: Change) -> str:
    """The order of the steps of a replacement; empty for other actions."""
    if change.action is not Action.REPLACE:
        return ""
    if change.is_job:
        if change.destructive:
            return "the running job is cancelled first"
        return "the earlier job is kept"
    if change.create_before_destroy:
        return "the new object is created before the old one is deleted"
    return "the old object is deleted before the new one is created"


def key_step(step: KeyStep) -> str:
    """`key: old key stays: used 2 hours ago (key_abc)`."""
    return f"{step.field}: {step.why}{enclosed(' (', step.key_id, ')')}"


def job_note(change: Change) -> str:
    """The progress of a running job; empty for anything else."""
    if not change.job_progress or change.action.destroys:
        return ""
    return f"still running ({change.job_progress})"


def marking(change: Change) -> str:
    """Which mark an adoption writes to the object; empty if it writes none."""
    if change.action is not Action.ADOPT or not change.mark:
        return ""
    return f"writes the mark {change.mark} to its metadata"


def headline_counts(plan: Plan) -> str:
    """Counts for a headline: `3 to create, 1 to update`, or `no changes`."""
    parts = []
    for action, number in plan.counts().items():
        if action is not Action.NO_OP:
            parts.append(f"{number:,} to {action}")
    if plan.destructive:
        parts.append(f"{len(plan.destructive):,} destructive")
    if errors := _errors(plan):
        parts.append(f"{errors:,} with errors")
    return ", ".join(parts) or "no changes"


def plan_totals(plan: Plan) -> str:
    """The last line of a printed plan."""
    cost = reading_cost(plan)
    if plan.blocked:
        return f"{_totals_with_errors(plan)}. {cost}."
    if plan.is_empty:
        return f"{_no_changes(plan)} {count(len(plan.changes), 'resource')}, {cost}."
    return f"{_planned_totals(plan)}. {cost}."


def _errors(plan: Plan) -> int:
    return sum(change.reason is Reason.BLOCKED for change in plan.blocked)


def _planned_totals(plan: Plan) -> str:
    counts = dict(plan.counts())
    # Resources with an error are planned as no-ops, so that nothing happens to them.
    unchanged = counts.pop(Action.NO_OP, 0) - len(plan.blocked)
    counted = {*counts, *_ALWAYS_COUNTED}
    parts = [_planned(action, plan) for action in Action if action in counted]
    if unchanged:
        parts.append(f"{unchanged:,} unchanged")
    text = f"Plan: {', '.join(parts)}"
    if plan.destructive:
        text += f". {len(plan.destructive):,} destructive"
    return text


def _totals_with_errors(plan: Plan) -> str:
    errors = _errors(plan)
    skipped = len(plan.blocked) - errors
    planned = "No other changes"
    if not plan.is_empty:
        planned = _planned_totals(plan)
    totals = f"{planned}; {errors:,} with errors"
    if skipped:
        totals += f", {skipped:,} skipped because of them"
    return totals


def _no_changes(plan: Plan) -> str:
    if plan.rollback_of is not None:
        return f"No changes. Everything that run {plan.rollback_of} changed is already restored."
    if plan.destroy:
        return "No changes. Nothing is left to destroy."
    if all(change.reason is Reason.UNTOUCHED for change in plan.changes):
        return "No changes. No key is to be rotated or revoked."
    if plan.refresh.is_offline:
        return "No changes. The manifests match the state; live objects were not read."
    return "No changes. Live objects match the manifests."


def _planned(action: Action, plan: Plan) -> str:
    """`3 to create`, `3 to delete (1 to archive)`."""
    text = f"{plan.counts().get(action, 0):,} to {action}"
    if action is not Action.DELETE:
        return text
    removals = [change.removal for change in plan.changes if change.action is Action.DELETE]
    special = []
    for removal, verb in _TO_REMOVE.items():
        if removal in removals:
            special.append(f"{removals.count(removal)} to {verb}")
    return text + enclosed(" (", ", ".join(special), ")")


def cost_of(calls: int, seconds: float) -> str:
    """`34 API calls in 1.2 s`."""
    return f"{count(calls, 'API call')} in {duration(seconds)}"


def reading_cost(plan: Plan) -> str:
    """The cost of refreshing, and the scopes it skipped: `1 API call in 0.2 s; 61 scopes skipped (…)`."""
    refresh = plan.refresh
    parts = [cost_of(plan.calls, plan.seconds)]
    if refresh.waited_seconds >= _NOTABLE_WAIT_SECONDS:
        parts.append(f"{duration(refresh.waited_seconds)} of it waiting for rate limits")
    if refresh.unchanged_scopes:
        since = datetime.fromtimestamp(refresh.since or 0, UTC).strftime("%Y-%m-%d %H:%M UTC")
        scopes = count(refresh.unchanged_scopes, "scope")
        parts.append(f"{scopes} skipped (audit log shows no change since {since})")
    if refresh.setback:
        parts.append(f"everything was read: {refresh.setback}")
    if refresh.is_offline and not plan.is_empty:
        parts.append("live objects were not read")
    return "; ".join(parts)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`."""
    # From 9.95 on, one decimal would read `10.0 s`.
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{rest} s"


def configuration_changes(plan: Plan) -> list[Change]:
    """The pending changes that drift did not cause."""
    return [change for change in plan.pending if change.reason not in _CAUSED_BY_DRIFT]


def drift_numbers(plan: Plan) -> tuple[int, int]:
    """How many objects were changed or deleted, and how many keys are overdue; one can be both."""
    changed = sum(drift.is_changed for drift in plan.drift)
    overdue = sum(bool(drift.overdue) for drift in plan.drift)
    return changed, overdue


def drift_totals(plan: Plan, *, unmanaged: bool) -> str:
    """The last line of a drift report."""
    changed, overdue = drift_numbers(plan)
    deleted = sum(drift.deleted for drift in plan.drift)
    parts = []
    if changed > deleted:
        parts.append(f"{count(changed - deleted, 'object')} changed")
    if deleted:
        parts.append(f"{deleted:,} deleted")
    if overdue:
        parts.append(f"{count(overdue, 'key')} overdue")
    if unmanaged and plan.unmanaged:
        parts.append(f"{len(plan.unmanaged):,} unmanaged")
    cost = reading_cost(plan)
    if not parts:
        return f"No drift. Live objects match the last apply. {cost}."
    return f"Drift: {', '.join(parts)}. {cost}."


def pending_changes(plan: Plan) -> str:
    """How many configuration changes are pending, drift aside."""
    pending = len(configuration_changes(plan))
    if not pending:
        return "No pending configuration changes."
    return f"{count(pending, 'pending configuration change')}; see `reconciler plan`."


def drift_sentence(drift: Drift) -> str:
    """The drift of a live object as a predicate: `was changed outside reconciler`."""
    if not drift.is_changed:
        return f"is overdue: {drift.overdue}"
    verb = "changed"
    if drift.deleted:
        verb = "deleted"
    late = enclosed("; it is also overdue: ", drift.overdue)
    return f"was {verb} outside reconciler{late}"


def outcome_verb(outcome: Outcome) -> str:
    """The outcome in a word: `created`, `not created`, `skipped`, `refused`."""
    match outcome.status:
        case OutcomeStatus.APPLIED:
            return done(outcome.change)
        case OutcomeStatus.FAILED if outcome.change.blocked:
            return "error"
        case OutcomeStatus.FAILED if outcome.was_started:
            return f"{done(outcome.change)}, not finished"
        case OutcomeStatus.FAILED:
            return f"not {done(outcome.change)}"
        case OutcomeStatus.SKIPPED:
            return "skipped"
    return "refused"


def outcome_message(outcome: Outcome) -> str:
    """Why a change was not applied; empty if it was."""
    return outcome.message or _FALLBACK_MESSAGES.get(outcome.status, "")


def outcome_sentence(outcome: Outcome) -> str:
    """`not created: The model does not exist`."""
    return outcome_verb(outcome) + enclosed(": ", outcome_message(outcome))


def reported(result: ApplyResult) -> list[Outcome]:
    """The outcomes to report: those of changes with an effect or an error."""
    return [each for each in result.outcomes if each.change.is_change or each.change.blocked]


def complaints(outcome: CheckOutcome) -> list[str]:
    """The mismatches that a check reports, a sentence each; empty if it passed."""
    return [*filter(None, (*map(str, outcome.findings), outcome.message))]


def is_complete(result: ApplyResult) -> bool:
    """Whether the whole plan was applied."""
    if result.interrupted:
        return False
    if len(result.of(OutcomeStatus.APPLIED)) < len(result.outcomes):
        return False
    return not any(outcome.refused for outcome in result.outcomes)


def result_totals(result: ApplyResult) -> str:
    """The last line of an apply."""
    outcomes = reported(result)
    cost = cost_of(result.calls, result.seconds)
    if is_complete(result):
        return f"Apply complete: {_completed(outcomes)}. {cost}."
    numbers = Counter(outcome.status for outcome in outcomes)
    parts = [f"{numbers[OutcomeStatus.APPLIED]:,} applied"]
    for status, word in _NOT_APPLIED.items():
        if numbers[status]:
            parts.append(f"{numbers[status]:,} {word}")
    refused = sum(len(outcome.refused) for outcome in outcomes)
    if refused:
        parts.append(f"{count(refused, 'file')} refused")
    how = "incomplete"
    if result.interrupted:
        how = "interrupted"
    return f"Apply {how}: {', '.join(parts)}. {cost}."


def _completed(outcomes: Sequence[Outcome]) -> str:
    changes = [outcome.change for outcome in outcomes]
    # A counter keeps the order in which it meets the verbs: that of the actions.
    changes.sort(key=lambda change: _ACTIONS.index(change.action))
    return ", ".join(tally(Counter(map(done, changes)))) or "no changes"


def diagnostic_totals(diagnostics: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning`."""
    numbers = Counter(diagnostic.severity for diagnostic in diagnostics)
    return ", ".join(
        count(numbers[severity], severity) for severity in Severity if numbers[severity]
    )
