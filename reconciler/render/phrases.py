"""The sentences that every renderer shares, so that text, Markdown and reports say the same in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from reconciler.model.change import Action, ApplyResult, Change, Drift, Origin, Outcome, OutcomeStatus, Plan, Reason
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.model.kind import Removal, ScopeType
from reconciler.render.values import count

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
_DONE_WITH_JOBS = {Action.CREATE: "started", Action.REPLACE: "run again", Action.UPDATE: "waited for"}
_DOING_WITH_JOBS = {Action.CREATE: "starting", Action.REPLACE: "running again", Action.UPDATE: "waiting"}
_NOT_OF_THE_MANIFESTS = frozenset(
    {Reason.DRIFT, Reason.DELETED_OUTSIDE, Reason.ARCHIVED_OUTSIDE, Reason.EXPIRED, Reason.GONE}
)
_ORIGINS = {Origin.DRIFT: "changed outside", Origin.BOTH: "changed here and outside"}
_REASONS = {
    OutcomeStatus.FAILED: "the call failed",
    OutcomeStatus.SKIPPED: "what it needs was not done",
    OutcomeStatus.STALE: "it moved since the plan was made",
}
_ALWAYS = (Action.CREATE, Action.UPDATE, Action.DELETE)

_WORTH_A_WORD_SECONDS = 1.0


def done(change: Change) -> str:
    """The participle of what a change does: `created`, `archived`, …"""
    if change.is_job and change.action in _DONE_WITH_JOBS:
        return _DONE_WITH_JOBS[change.action]
    return _REMOVED[change.removal] if change.action is Action.DELETE and change.removal else _DONE[change.action]


def doing(change: Change) -> str:
    """What a change is doing while it runs: `creating`, `archiving`, …"""
    if change.is_job and change.action in _DOING_WITH_JOBS:
        return _DOING_WITH_JOBS[change.action]
    if change.action is Action.DELETE and change.removal:
        return _REMOVING[change.removal]
    return _DOING[change.action]


def will_be(change: Change) -> str:
    """`will be created`, `will be updated: it was changed outside`."""
    # That something new is not there yet goes without saying; every other reason is worth its words.
    return f"will be {done(change)}{'' if change.reason is Reason.NEW else f': {why(change)}'}"


def why(change: Change) -> str:
    """The reason of a change: `no manifest declares it`, `it matches Retention/old-results`."""
    return f"it matches {change.matched_by}" if change.matched_by else str(change.reason)


def heading_of(item: Change | Drift) -> str:
    """The heading of the scope that an object lives in."""
    if item.address.project:
        return f"Project {item.address.project}"
    return DEFAULT_PROJECT if item.scope == ScopeType.PROJECT_KEY else ORGANIZATION


def by_scope(changes: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    """Changes grouped under headings: the organization first, then each project as it comes."""
    grouped: dict[str, list[Change]] = {ORGANIZATION: []}
    for change in changes:
        grouped.setdefault(heading_of(change), []).append(change)
    return [(heading, group) for heading, group in grouped.items() if group]


def by_importance(changes: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    """Changes under headings: those that destroy something first, then the others by scope."""
    given = list(changes)
    first = [change for change in given if change.is_destructive]
    rest = by_scope(change for change in given if not change.is_destructive)
    return [(DESTRUCTIVE, first), *rest] if first else rest


def where(place: SourceLocation | None) -> str:
    """`manifests/search.yaml:12`, or nothing."""
    return f"{place.file}:{place.line}" if place else ""


def field_remarks(origin: Origin, *, forces_replacement: bool, note: str) -> str:
    """What is to be said beside a field change: `forces replacement, changed outside`."""
    forced = "forces replacement" if forces_replacement else ""
    return ", ".join(part for part in (forced, _ORIGINS.get(origin, ""), note) if part)


def destruction(change: Change) -> str:
    """What stops working, loses data or loses a limit because of a change, or nothing."""
    return change.destroys


def loses_something(change: Change) -> bool:
    """Whether a change destroys anything, so that reports show it first and open."""
    return change.is_destructive


def steps(change: Change) -> str:
    """In which order a replacement goes, or nothing."""
    if change.action is not Action.REPLACE:
        return ""
    if change.is_job:
        return "what runs now is cancelled first" if change.destructive else "what ran before stays as it is"
    if change.create_before_destroy:
        return "the new one is created before the old one is deleted"
    return "the old one is deleted before the new one is created"


def standing(change: Change) -> str:
    """How far a job is that goes on, or nothing."""
    return f"it still runs ({change.job_progress})" if change.job_progress and not change.action.destroys else ""


def marking(change: Change) -> str:
    """Which mark an adoption writes to its object, or nothing."""
    return f"writes the mark {change.mark} to its metadata" if change.action is Action.ADOPT and change.mark else ""


def headline_counts(plan: Plan) -> str:
    """`3 to create, 1 to update`, or `no changes`: what a headline has room for."""
    counts = plan.counts()
    parts = [f"{number} to {action}" for action, number in counts.items() if action is not Action.NO_OP]
    parts += [f"{len(plan.destructive):,} destructive"] if plan.destructive else []
    errors = sum(change.reason is Reason.BLOCKED for change in plan.blocked)
    parts += [f"{errors} with errors"] if errors else []
    return ", ".join(parts) or "no changes"


def plan_totals(plan: Plan) -> str:
    """The last line of a printed plan."""
    cost = reading_cost(plan)
    if plan.blocked:
        return f"{_with_errors(plan)} {cost}."
    if plan.is_empty:
        return f"{_nothing(plan)} {count(len(plan.changes), 'resource')}, {cost}."
    return f"{_planned_all(plan)}. {cost}."


def _planned_all(plan: Plan) -> str:
    counts = plan.counts()
    parts = [_planned(action, plan) for action in Action if action in counts or action in _ALWAYS]
    parts = [part for part in parts if part]
    unchanged = counts.get(Action.NO_OP, 0) - len(plan.blocked)
    parts += [f"{unchanged:,} unchanged"] if unchanged else []
    destructive = f". {len(plan.destructive):,} destructive" if plan.destructive else ""
    return f"Plan: {', '.join(parts)}{destructive}"


def _with_errors(plan: Plan) -> str:
    """How much has an error, after what is planned all the same."""
    errors = sum(change.reason is Reason.BLOCKED for change in plan.blocked)
    waiting = len(plan.blocked) - errors
    parts = [f"{errors:,} with errors", *([f"{waiting:,} skipped because of them"] if waiting else [])]
    planned = "Nothing else to change" if plan.is_empty else _planned_all(plan)
    return f"{planned}; {', '.join(parts)}."


def _nothing(plan: Plan) -> str:
    if plan.rollback_of is not None:
        return f"No changes. What run {plan.rollback_of} touched is as it was before:"
    if plan.destroy:
        return "No changes. Nothing that is managed is left to destroy:"
    if plan.refresh.is_offline:
        return "No changes. The manifests match what was applied last, and live objects were not read:"
    return "No changes. Live objects match the manifests:"


def _planned(action: Action, plan: Plan) -> str:
    if action is Action.NO_OP:
        return ""
    text = f"{plan.counts().get(action, 0):,} to {action}"
    if action is not Action.DELETE:
        return text
    kinds = [_REMOVED[change.removal] for change in plan.changes if change.action is action and change.removal]
    special = [f"{kinds.count(word)} {word}" for word in ("archived", "restored", "cancelled") if word in kinds]
    return f"{text} ({', '.join(special)})" if special else text


def cost_of(calls: int, seconds: float) -> str:
    """`34 calls in 1.2 s`."""
    return f"{count(calls, 'call')} in {duration(seconds)}"


def reading_cost(plan: Plan) -> str:
    """What reading cost, and what was not read: `1 call in 0.2 s, 61 scopes unchanged since 2026-11-22 20:10 UTC by the
    audit log`.
    """
    reading = plan.refresh
    parts = [cost_of(plan.calls, plan.seconds)]
    if reading.waited_seconds >= _WORTH_A_WORD_SECONDS:
        parts.append(f"{duration(reading.waited_seconds)} of it waiting for the API's pace")
    if reading.unchanged_scopes:
        since = datetime.fromtimestamp(reading.since or 0, UTC).strftime("%Y-%m-%d %H:%M UTC")
        parts.append(f"{count(reading.unchanged_scopes, 'scope')} unchanged since {since} by the audit log")
    if reading.setback:
        parts.append(f"everything was read: {reading.setback}")
    if reading.is_offline and not plan.is_empty:
        parts.append("live objects were not read")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def of_the_manifests(plan: Plan) -> list[Change]:
    """The pending changes that are there without any drift."""
    return [change for change in plan.pending if change.reason not in _NOT_OF_THE_MANIFESTS]


def drift_totals(plan: Plan, *, unmanaged: bool) -> str:
    """The last line of a drift report."""
    deleted = sum(drift.deleted for drift in plan.drift)
    changed = len(plan.drift) - deleted
    parts = [count(changed, "object") + " changed"] if changed else []
    parts += [f"{deleted:,} deleted"] if deleted else []
    parts += [f"{len(plan.unmanaged):,} unmanaged"] if unmanaged and plan.unmanaged else []
    cost = reading_cost(plan)
    return f"Drift: {', '.join(parts)}. {cost}." if parts else f"No drift. Live objects are as we left them: {cost}."


def besides(plan: Plan) -> str:
    """How many changes of the configuration wait, apart from all drift."""
    pending = len(of_the_manifests(plan))
    if not pending:
        return "No change of the configuration is pending besides."
    verb = "is" if pending == 1 else "are"
    noun = "change" if pending == 1 else "changes"
    return f"{pending:,} {noun} of the configuration {verb} pending besides: `reconciler plan` shows them."


def drift_sentence(drift: Drift) -> str:
    """What happened to an object."""
    return "was deleted outside" if drift.deleted else "was changed outside"


def outcome_verb(outcome: Outcome) -> str:
    """What became of a change: `created`, `not created`, `skipped`, `refused`."""
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
    """Why it did not work out, or nothing where it did."""
    return outcome.message or _REASONS.get(outcome.status, "")


def outcome_sentence(outcome: Outcome) -> str:
    """`not created: The model does not exist`."""
    message = outcome_message(outcome)
    return f"{outcome_verb(outcome)}: {message}" if message else outcome_verb(outcome)


def reported(result: ApplyResult) -> list[Outcome]:
    """The outcomes of changes that had something to do."""
    return [outcome for outcome in result.outcomes if outcome.change.is_change or outcome.change.blocked]


def is_complete(result: ApplyResult) -> bool:
    """Whether everything that was planned is done."""
    done_all = all(outcome.status is OutcomeStatus.APPLIED and not outcome.refused for outcome in result.outcomes)
    return done_all and not result.interrupted


def result_totals(result: ApplyResult) -> str:
    """The last line of an apply."""
    outcomes = reported(result)
    cost = cost_of(result.calls, result.seconds)
    if is_complete(result):
        return f"Apply complete: {_completed(outcomes)}. {cost}."
    named = (
        (OutcomeStatus.APPLIED, "applied"),
        (OutcomeStatus.FAILED, "failed"),
        (OutcomeStatus.STALE, "refused as stale"),
        (OutcomeStatus.SKIPPED, "skipped"),
    )
    parts = [
        f"{number:,} {word}" for status, word in named if (number := _number(outcomes, status)) or word == "applied"
    ]
    refused = sum(len(outcome.refused) for outcome in outcomes)
    parts += [f"{count(refused, 'file')} refused"] if refused else []
    how = "interrupted" if result.interrupted else "incomplete"
    return f"Apply {how}: {', '.join(parts)}. {cost}."


def _number(outcomes: Sequence[Outcome], status: OutcomeStatus) -> int:
    return sum(outcome.status is status for outcome in outcomes)


def _completed(outcomes: Sequence[Outcome]) -> str:
    numbers: dict[str, int] = {}
    for action in Action:
        for outcome in outcomes:
            if outcome.change.action is action:
                word = done(outcome.change)
                numbers[word] = numbers.get(word, 0) + 1
    return ", ".join(f"{number:,} {word}" for word, number in numbers.items()) or "nothing to do"


def diagnostic_totals(diagnostics: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning`."""
    numbers: Mapping[Severity, int] = {
        severity: sum(item.severity is severity for item in diagnostics) for severity in Severity
    }
    return ", ".join(count(number, str(severity)) for severity, number in numbers.items() if number)
