"""The figures of a stack after its latest runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct, field

from reconciler.model.address import Address
from reconciler.model.change import Action, ApplyResult, Change, OutcomeStatus, Plan
from reconciler.model.fleet import StackResult, StackStatus
from reconciler.model.keys import KeyAction

ACTIONS = tuple(action for action in Action if action is not Action.NO_OP)


class StackReading(Struct, frozen=True):
    """The figures of a plan; after an apply, those of its remaining changes."""

    at: float
    """When the run ended, in unix seconds."""
    drifted: int = 0
    pending: tuple[tuple[Action, int], ...] = ()
    blocked: int = 0
    refusals: int = 0
    keys_due: int = 0
    keys_overdue: int = 0


class StackFigures(Struct):
    """All figures of one stack. A reading stays until the next one, whatever runs failed since."""

    stack: str
    environment: str
    organization: str = ""
    status: StackStatus = StackStatus.IN_SYNC
    reading: StackReading | None = None
    ended_at: float = 0.0
    seconds: float = 0.0
    calls: int = 0
    shared_answers: int = 0
    interval_seconds: float | None = None
    spend_share: float | None = None
    """The used share of the spend limit that is closest to its end; None where it is not read."""
    last_changes: Counter[OutcomeStatus] | None = None
    """The outcomes of the last apply."""
    changes: Counter[OutcomeStatus] = field(default_factory=Counter)
    """The outcomes of all applies."""
    conflicts: int = 0

    def add(self, result: StackResult, *, interval_seconds: float | None) -> None:
        """Add the result of a run."""
        self.organization = result.organization or self.organization
        self.status = result.status
        self.ended_at = result.ended_at
        self.seconds = max(0.0, result.ended_at - result.began_at)
        self.calls = result.calls
        self.shared_answers = result.shared_answers
        self.interval_seconds = interval_seconds
        if result.spend_share is not None:
            self.spend_share = result.spend_share
        self.reading = reading_of(result) or self.reading
        if result.result is not None:
            self.last_changes = Counter(outcome.status for outcome in result.result.outcomes)
            self.changes.update(self.last_changes)
        if result.status is StackStatus.LOCKED:
            self.conflicts += 1


def reading_of(result: StackResult) -> StackReading | None:
    """The figures that a run read from live state; None if it did not read all of it."""
    plan = result.plan
    # A blocked change with an id is of an object that exists and could not be read.
    if plan is None or plan.refresh.is_offline or any(change.id for change in plan.blocked):
        return None
    left: Iterable[Change] = plan.pending
    drifted = {drift.address for drift in plan.drift if drift.is_changed}
    if result.result is not None:
        # An applied change ends the drift of its object; the other changes remain pending.
        unapplied = unapplied_addresses(result.result)
        left = [change for change in plan.pending if change.address in unapplied]
        drifted &= unapplied
    due, overdue = _keys(plan, {change.address for change in left})
    counts = Counter(change.action for change in left)
    return StackReading(
        at=result.ended_at,
        drifted=len(drifted),
        pending=tuple(sorted(counts.items())),
        blocked=len(plan.blocked),
        refusals=len(plan.refusals),
        keys_due=due,
        keys_overdue=overdue,
    )


def unapplied_addresses(result: ApplyResult) -> set[Address]:
    """The addresses whose changes an apply did not carry out."""
    return {
        outcome.change.address
        for outcome in result.outcomes
        if outcome.status is not OutcomeStatus.APPLIED
    }


def _keys(plan: Plan, left: set[Address]) -> tuple[int, int]:
    """How many keys will be rotated, and how many are older than their manifest allows."""
    due = overdue = 0
    for change in plan.changes:
        # An applied change has rotated its keys. Keys of unchanged resources can be overdue too.
        if change.is_change and change.address not in left:
            continue
        for step in change.keys:
            due += step.action is KeyAction.ROTATE
            overdue += step.is_due
    return due, overdue
