"""Applies a plan: runs its steps on threads, each as soon as the steps that it needs are done.

A failure skips its dependents and nothing else. An interrupt lets running steps finish and starts
no other.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from msgspec.structs import replace

from reconciler.engine.apply.context import (
    ActionContext,
    ApplyContext,
    StepResult,
    action_context,
)
from reconciler.engine.apply.create import create
from reconciler.engine.apply.delete import delete, delete_leftovers
from reconciler.engine.apply.duplicates import note_duplicates
from reconciler.engine.apply.forget import adopt, forget
from reconciler.engine.apply.steps import Step, StepKind, dependencies_of, steps_of
from reconciler.engine.apply.update import keep_running_job, settle_unchanged, update
from reconciler.engine.apply.wait import wait_for_job
from reconciler.engine.graph import invert
from reconciler.engine.pool import pool_key
from reconciler.errors import (
    ApiError,
    Interrupted,
    LeaseLostError,
    ReconcilerError,
    StalePlanError,
)
from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    ApplyResult,
    Change,
    Outcome,
    OutcomeStatus,
    Plan,
    Reason,
)
from reconciler.model.tracing import carried, span
from reconciler.model.values import has_unknown, substitute
from reconciler.state import ChangeJournal, PreImage

LOG = logging.getLogger("reconciler.engine")

_CALLS: Mapping[Action, tuple[str, ...]] = {
    Action.NO_OP: (),
    Action.CREATE: ("create",),
    Action.UPDATE: ("read", "update"),
    Action.REPLACE: ("read", "create", "delete"),
    Action.DELETE: ("read", "delete"),
    Action.ADOPT: (),
    Action.FORGET: (),
}
"""The usual calls of an action, to estimate the time that an apply takes."""


def apply_plan(plan: Plan, context: ApplyContext) -> ApplyResult:
    """Apply exactly this plan.

    Failures are outcomes. Only a state that cannot be written raises.
    """
    # The provider has counted the calls of the plan already.
    started, calls = context.clock(), context.provider.calls
    actions = action_context(plan, context)
    scheduler = Scheduler(steps_of(plan), context, actions)
    # Announced together, so that the estimate covers the whole apply from the start.
    _announce(scheduler.steps.values(), context)
    outcomes = merge_outcomes(plan, scheduler.run())
    # Records of unchanged resources come last: values that they refer to may be new.
    _settle_unchanged(plan, context, actions)
    # An interrupted run ends as soon as it can, so it does not look for duplicates.
    if not context.stop.is_set():
        outcomes = note_duplicates(outcomes, context.provider, context.kinds, context.ownership)
    outputs: dict[str, Any] = {}
    if not plan.destroy:
        outputs = actions.references.resolve_outputs(context.outputs)
    # Reports and policies show the applied values in place of those that the plan did not know.
    resolved = {}
    for change in plan.pending:
        if has_unknown(change.after):
            values = substitute(change.desired, actions.references.lookup)
            resolved[change.address] = {**change.after, **values}
    return ApplyResult(
        plan=plan,
        outcomes=tuple(outcomes),
        outputs=outputs,
        calls=context.provider.calls - calls,
        seconds=context.clock() - started,
        interrupted=context.stop.is_set(),
        resolved=resolved,
    )


class Scheduler:
    """Runs steps in the order of their dependencies, and collects their outcomes.

    Only the thread of `run` touches the state of the scheduler. The worker threads run actions,
    which share nothing but their context.
    """

    def __init__(
        self, steps: Mapping[Step, Change], context: ApplyContext, actions: ActionContext
    ) -> None:
        self.steps = steps
        self._context = context
        self._actions = actions
        # Restricted to steps of this plan: an address without a step needs no change and delays
        # nothing.
        needs = dependencies_of(steps)
        self._waiting_for = {step: needs[step] & steps.keys() for step in steps}
        self._dependents = invert(needs)
        self._outcomes: dict[Step, Outcome] = {}

    def run(self) -> Mapping[Step, Outcome]:
        """Run every step that can run; the outcome of each step."""
        kinds = self._context.kinds
        ready = ReadyQueue(
            self._context.parallelism, lambda step: pool_key(kinds[step.address.kind])
        )
        ready.add(step for step in self.steps if not self._waiting_for[step])
        running: dict[Future[Outcome], Step] = {}
        # A queue of ended futures, not `wait` on all of them: with thousands of steps, checking
        # each of them after every end would be quadratic.
        ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
        # One thread for each step that can run: the queue limits the pools, and a wait must not take
        # the thread of a write.
        run_step = carried(self._run_step)
        with ThreadPoolExecutor(ready.capacity(self.steps)) as pool:
            while True:
                while not self._context.stop.is_set() and (step := ready.take()):
                    future = pool.submit(run_step, step)
                    running[future] = step
                    future.add_done_callback(ended.put)
                if not running:
                    break
                # Blocks until a step ends. An interrupt does not cancel running steps: a half-sent
                # write is worse than a late stop.
                future = ended.get()
                step = running.pop(future)
                ready.end(step)
                ready.add(self._settle(step, future.result()))
        for step in self.steps:
            if step not in self._outcomes:
                # Every step has an outcome in the end, so that a report shows what an interrupted
                # run left undone.
                self._record_skip(step, "the run was interrupted")
        return self._outcomes

    def _settle(self, step: Step, outcome: Outcome) -> list[Step]:
        """Record an outcome; the steps that can start now."""
        self._record(step, outcome)
        if outcome.status is not OutcomeStatus.APPLIED:
            self._skip_dependents(step)
            return []
        ready = []
        for dependent in self._dependents[step]:
            # A dependent of a failed step has an outcome already.
            self._waiting_for[dependent].discard(step)
            if not self._waiting_for[dependent] and dependent not in self._outcomes:
                ready.append(dependent)
        return ready

    def _skip_dependents(self, failed: Step) -> None:
        """Skip all direct and indirect dependents of a failed step."""
        # A loop and no recursion, since chains of dependencies can be longer than the stack of
        # Python.
        pending = list(self._dependents[failed])
        while pending:
            step = pending.pop()
            if step not in self._outcomes:
                self._record_skip(step, f"{failed.address} did not go through")
                pending += self._dependents[step]

    def _record_skip(self, step: Step, message: str) -> None:
        self._record(step, Outcome(self.steps[step], OutcomeStatus.SKIPPED, message=message))

    def _record(self, step: Step, outcome: Outcome) -> None:
        self._outcomes[step] = outcome
        LOG.info("%s %s: %s %s", step.kind, step.address, outcome.status, outcome.message)
        is_applied = outcome.status is OutcomeStatus.APPLIED
        # A change with a wait ends with the wait, so the listener hears of it once.
        is_half_done = outcome.change.wait_for_job and step.kind is StepKind.WRITE and is_applied
        if self._context.listener is not None and not is_half_done:
            self._context.listener.finished(outcome)

    def _run_step(self, step: Step) -> Outcome:
        """Run a step on a worker thread; its errors are outcomes."""
        change = self.steps[step]
        # No address: some name people.
        attributes = {
            "reconciler.kind": step.address.kind,
            "reconciler.action": change.action.value,
        }
        with span(f"{step.kind.value} {step.address.kind}", attributes) as part:
            outcome = self._outcome_of(step)
            part.set("reconciler.status", outcome.status.value)
            if outcome.status is not OutcomeStatus.APPLIED:
                part.fail(outcome.status.value)
        return outcome

    def _outcome_of(self, step: Step) -> Outcome:
        change, started = self.steps[step], self._context.clock()
        if self._context.listener is not None and step.kind is not StepKind.WAIT:
            self._context.listener.started(change)
        try:
            if step.kind is StepKind.WAIT:
                result = wait_for_job(
                    change, self._actions, lambda text: self._report(change, text)
                )
            else:
                result = self._run_journalled(step, change)
        # The first two are ReconcilerErrors too. Other errors are defects, and end the apply.
        except StalePlanError as error:
            return self._failure(change, error, OutcomeStatus.STALE, started)
        except (Interrupted, LeaseLostError) as error:
            cause = "interrupted" if isinstance(error, Interrupted) else "the lock was lost"
            # Skipped and not failed: the call may have gone through. The journal keeps the entry
            # open, and the next run searches before it calls again.
            cut_off = Interrupted(
                f"{cause} while it was under way; the next apply looks how far it came"
            )
            return self._failure(change, cut_off, OutcomeStatus.SKIPPED, started)
        except ReconcilerError as error:
            return self._failure(change, error, OutcomeStatus.FAILED, started)
        return Outcome(
            change,
            OutcomeStatus.APPLIED,
            id=result.id,
            seconds=self._context.clock() - started,
            notes=result.notes,
            refused=result.refused,
        )

    def _run_journalled(self, step: Step, change: Change) -> StepResult:
        """Run a step inside its entry in the journal, which is on disk before the first call."""
        journal = self._context.store.runs.journal(
            self._context.run_id, redact=self._context.redact
        )
        # Before the first call, because afterwards the former values are gone. With the record,
        # because a rollback restores the values that were asked for, and not only those that the
        # API showed.
        image = PreImage(
            change.address,
            change.action.value,
            change.id,
            change.before,
            self._actions.records.for_change(change),
            reason=change.reason.name,
        )
        # Record everything that the next run needs to search for the result, in case this run dies.
        intent = {"half": step.kind.value, "id": change.id}
        with journal.change(
            change.address, change.action.value, intent, pre_image=image
        ) as change_journal:
            return run_action(step.kind, change, self._actions, change_journal)

    def _report(self, change: Change, text: str) -> None:
        if self._context.listener is not None:
            self._context.listener.job_event(change, self._context.redact(text))

    def _failure(
        self, change: Change, error: ReconcilerError, status: OutcomeStatus, started: float
    ) -> Outcome:
        outcome = Outcome(
            change,
            status,
            id=change.id,
            message=self._context.redact(str(error)),
            hint=self._context.redact(error.hint),
            seconds=self._context.clock() - started,
        )
        if isinstance(error, ApiError):
            return replace(outcome, request_id=error.request_id)
        if isinstance(error, StalePlanError):
            return replace(outcome, changed_since_plan=error.changed_since_plan)
        return outcome


def run_action(
    step: StepKind, change: Change, context: ActionContext, journal: ChangeJournal
) -> StepResult:
    """Carry out one journalled step of a change."""
    # A renamed address takes over the record of the old one, whatever happens to its object.
    # First of all, so that a failure of the action leaves the record under the new address, where
    # the next plan looks for it.
    source, target = change.renamed_from, change.address
    if source is not None and context.records.rename(source, target):
        context.store.move(source, target)
    if step is StepKind.DELETE:
        return delete(change, context, journal)
    match change.action:
        case Action.CREATE | Action.REPLACE:
            return create(change, context, journal)
        # A job cannot be updated. Such a change waits for one that runs, or records another way to
        # declare the same inputs.
        case Action.UPDATE if change.is_job:
            return keep_running_job(change, context, journal)
        case Action.UPDATE:
            return update(change, context, journal)
        case Action.ADOPT:
            return adopt(change, context, journal)
        case _:
            return forget(change, context, journal)


def merge_outcomes(plan: Plan, outcomes: Mapping[Step, Outcome]) -> list[Outcome]:
    """One outcome for each change, in address order: the worst of its steps."""
    merged: dict[tuple[Address, str | None], Outcome] = {}
    for step, outcome in outcomes.items():
        # The id too: several leftovers can belong to one address, and each is a change of its own.
        key = (step.address, step.id)
        known = merged.get(key)
        if known is None:
            merged[key] = outcome
        elif known.status is OutcomeStatus.APPLIED:
            # Steps after a failure are skipped, and their outcomes say less than the failure.
            has_failed = outcome.status is not OutcomeStatus.APPLIED
            merged[key] = replace(
                outcome,
                was_started=step.kind is StepKind.WAIT and has_failed,
                id=outcome.id or known.id,
                seconds=known.seconds + outcome.seconds,
                notes=(*known.notes, *outcome.notes),
                refused=(*known.refused, *outcome.refused),
            )
    # Blocked changes have no steps, and must still appear in the report.
    for change in plan.blocked:
        status = OutcomeStatus.FAILED
        # A change that waits has no error of its own.
        if change.reason is Reason.WAITS:
            status = OutcomeStatus.SKIPPED
        # A blocked address keeps its id in the report, so that a reader can look at the object.
        merged[change.address, None] = Outcome(change, status, id=change.id, message=change.blocked)
    return [merged[key] for key in sorted(merged, key=lambda key: (key[0].sort_key, key[1] or ""))]


def _announce(changes: Iterable[Change], context: ApplyContext) -> None:
    """Announce the usual calls of each step, so that the remaining time can be estimated."""
    for change in changes:
        kind = context.kinds[change.address.kind]
        # Objects that always exist are never created nor deleted: both are updates.
        calls = ("update",) if kind.always_exists else _CALLS[change.action]
        if change.action is Action.ADOPT and change.mark:
            calls = (*calls, "update")
        context.provider.announce(kind, change.address.project, *calls)


def _settle_unchanged(plan: Plan, context: ApplyContext, actions: ActionContext) -> None:
    """Update the records of unchanged resources, and clean up after earlier runs there."""
    for change in plan.changes:
        # Nothing is known of the object of a blocked change, so its record stays.
        if change.blocked or change.action is not Action.NO_OP or plan.destroy:
            continue
        # A rollback knows of these by their records alone and has not read their objects.
        if change.reason is Reason.UNTOUCHED:
            continue
        # An object without a record is the result of an unfinished create.
        was_found = change.id is not None and actions.records.get(change.address) is None
        settle_unchanged(change, actions, context.run_id)
        # As long as a list may not show it, its traces are the only way to find the object.
        if change.address not in context.ownership.unfinished:
            continue
        if was_found or not _may_show_yet(change, context):
            _clean_up(change, context, actions)


def _may_show_yet(change: Change, context: ApplyContext) -> bool:
    """Whether a run that died may have created an object too recently for any list to show it."""
    attempts = context.ownership.create_attempts.get(change.address, ())
    now, settle_seconds = context.consistency.clock(), context.consistency.seconds
    return any(
        now < (attempt.ended or attempt.window.began) + settle_seconds for attempt in attempts
    )


def _clean_up(change: Change, context: ApplyContext, actions: ActionContext) -> None:
    """Delete the leftovers of earlier runs at an unchanged resource; a failure is only logged."""
    journal = context.store.runs.journal(context.run_id, redact=context.redact)
    try:
        # An entry of its own: the deletes of the clean-up are as interruptible as any other.
        with journal.change(change.address, "tidy") as change_journal:
            delete_leftovers(change, actions, change_journal)
    except ReconcilerError as error:
        LOG.warning("%s: leftovers of an earlier run could not be read: %s", change.address, error)


class ReadyQueue:
    """The steps that can start, and the number of running steps of each worker pool.

    At most `parallelism` steps of a pool run at a time; with 1, of all pools together. A wait takes
    no slot: it sends few requests, and lasts for hours.
    """

    def __init__(self, parallelism: int, pool_of: Callable[[Step], str]) -> None:
        self._parallelism = parallelism
        # With one slot in all, so that `--parallelism 1` means one call at a time whatever the
        # kinds.
        self._pool_of = pool_of if parallelism > 1 else lambda _: ""
        self._waits: deque[Step] = deque()
        self._queues: dict[str, deque[Step]] = {}
        self._running: Counter[str] = Counter()

    def capacity(self, steps: Collection[Step]) -> int:
        """The most steps that can run at a time."""
        pools = {self._pool_of(step) for step in steps}
        waits = sum(step.kind is StepKind.WAIT for step in steps)
        return max(1, len(pools) * self._parallelism + waits)

    def add(self, steps: Iterable[Step]) -> None:
        """Add steps that can start."""
        for step in steps:
            if step.kind is StepKind.WAIT:
                self._waits.append(step)
            else:
                self._queues.setdefault(self._pool_of(step), deque()).append(step)

    def take(self) -> Step | None:
        """The next step to start; None while every slot is taken."""
        # Waits first: a job that has ended is noticed without a delay by other steps.
        if self._waits:
            return self._waits.popleft()
        for pool, queue in self._queues.items():
            if queue and self._running[pool] < self._parallelism:
                self._running[pool] += 1
                return queue.popleft()
        return None

    def end(self, step: Step) -> None:
        """Free the slot of a step."""
        if step.kind is not StepKind.WAIT:
            self._running[self._pool_of(step)] -= 1


__all__ = ["ApplyContext", "ReadyQueue", "Scheduler", "apply_plan"]
