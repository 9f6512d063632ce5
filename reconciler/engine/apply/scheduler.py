"""Walks a plan: what is ready goes, what waits waits, and a failure stops only what depends on it.

A change becomes one node of work, a replacement two. Nodes run on threads, so many in each crew, each as soon as all
that it needs is done. The first interrupt lets what is in flight finish and starts nothing more.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from queue import SimpleQueue
from threading import Event
from typing import Any, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.engine.apply.duplicates import with_twins
from reconciler.engine.apply.executor import Executor, StepResult
from reconciler.engine.apply.search import ConsistencyWindow
from reconciler.engine.binding.matcher import Ownership
from reconciler.engine.graph import invert
from reconciler.engine.pool import pool_key
from reconciler.errors import ApiError, Interrupted, ReconcilerError, StalePlanError
from reconciler.model.address import Address
from reconciler.model.change import Action, ApplyResult, Change, Outcome, OutcomeStatus, Plan, Reason
from reconciler.model.json_codec import sorted_json
from reconciler.model.kind import Kind
from reconciler.model.provider import Provider
from reconciler.model.values import Spec, Unknown, has_unknown, substitute
from reconciler.state import PreImage, StateStore

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
"""What a change calls as a rule: good enough for saying how long it will take."""


class Listener(Protocol):
    """Told what is going on, from any thread."""

    def started(self, change: Change) -> None:
        """Work on a change begins."""

    def told(self, change: Change, text: str) -> None:
        """A job that is waited for has said something."""

    def finished(self, outcome: Outcome) -> None:
        """Work on a change has ended, one way or another."""


class StepKind(StrEnum):
    """What a node does for its change. Whoever needs a job needs its end, where that is waited for."""

    WRITE = "write"
    DELETE = "delete"
    WAIT = "wait"


class Step(Struct, frozen=True):
    """One piece of work. `id` tells the objects of one address apart."""

    address: Address
    kind: StepKind
    id: str | None = None


class ApplyContext(Struct, frozen=True):
    """What an apply needs beside the plan: the world, the state, and how hard to press on.

    `age_seconds` says, whenever it is asked, how long ago live state was read: others may have created since what is to
    be created.
    """

    provider: Provider
    store: StateStore
    kinds: Mapping[str, Kind]
    ownership: Ownership
    run_id: int
    outputs: Mapping[str, Any] = field(default_factory=dict)
    parallelism: int = 10
    stop: Event = field(default_factory=Event)
    listener: Listener | None = None
    consistency: ConsistencyWindow = field(default_factory=ConsistencyWindow)
    clock: Callable[[], float] = time.monotonic
    redact: Callable[[str], str] = str
    age_seconds: Callable[[], float] = lambda: 0.0


def apply_plan(plan: Plan, run: ApplyContext) -> ApplyResult:
    """Carry the plan out, no more and no less. Failures are outcomes; only a broken state raises."""
    return Scheduler(plan, run).run()


class Scheduler:
    def __init__(self, plan: Plan, run: ApplyContext) -> None:
        self._plan = plan
        self._run = run
        self._executor = Executor(
            plan,
            provider=run.provider,
            kinds=run.kinds,
            store=run.store,
            ownership=run.ownership,
            settling=run.consistency,
            outputs=run.outputs,
            age_seconds=run.age_seconds,
        )
        self._work = steps_of(plan)
        self._needs = dependencies_of(self._work)
        self._outcomes: dict[Step, Outcome] = {}

    def run(self) -> ApplyResult:
        started, calls = self._run.clock(), self._run.provider.calls
        for change in self._work.values():
            kind = self._run.kinds[change.address.kind]
            due = ("update",) if kind.always_exists else _CALLS[change.action]
            due = (*due, "update") if change.action is Action.ADOPT and change.mark else due
            self._run.provider.announce(kind, change.address.project, *due)
        self._walk()
        for change in self._plan.changes:
            if change.blocked:
                continue  # nothing is known about it, so its record stays as it is
            if change.action is Action.NO_OP and change.reason is not Reason.UNTOUCHED and not self._plan.destroy:
                was_found = change.id is not None and self._executor.records.get(change.address) is None
                self._executor.settle_unchanged(change, self._run.run_id)
                if change.address in self._run.ownership.unfinished and (was_found or not self._may_show_yet(change)):
                    self._delete_leftovers(change)
        outcomes = self._by_change()
        if not self._run.stop.is_set():
            outcomes = with_twins(outcomes, self._run.provider, self._run.kinds, self._run.ownership)
        return ApplyResult(
            plan=self._plan,
            outcomes=tuple(outcomes),
            outputs=self._outputs(),
            calls=self._run.provider.calls - calls,
            seconds=self._run.clock() - started,
            interrupted=self._run.stop.is_set(),
        )

    def _may_show_yet(self, change: Change) -> bool:
        """Whether a dead run may have made something so short a time ago that no list has it."""
        settling = self._run.consistency
        attempts = self._run.ownership.create_attempts.get(change.address, ())
        now = settling.clock()
        return any(now < (attempt.ended or attempt.window.began) + settling.seconds for attempt in attempts)

    def _delete_leftovers(self, change: Change) -> None:
        """What a run left unfinished at an address where nothing is to be done: traces of it go, then the memory."""
        try:
            with self._run.store.journal(self._run.run_id, redact=self._run.redact).change(
                change.address, "tidy"
            ) as journal:
                self._executor.delete_leftovers(change, journal)
        except ReconcilerError as error:
            LOG.warning("%s: what an earlier run left there could not be looked at: %s", change.address, error)

    def _walk(self) -> None:
        waiting = {node: {need for need in needs if need in self._work} for node, needs in self._needs.items()}
        dependents = invert(self._needs)
        ready = ReadyQueue(self._run.parallelism, lambda node: pool_key(self._run.kinds[node.address.kind]))
        ready.add(node for node in self._work if not waiting[node])
        running: dict[Future[Outcome], Step] = {}
        ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
        with ThreadPoolExecutor(ready.capacity(self._work)) as pool:
            while True:
                while not self._run.stop.is_set() and (node := ready.take()):
                    future = pool.submit(self._carry_out, node)
                    running[future] = node
                    future.add_done_callback(ended.put)
                if not running:
                    break
                future = ended.get()
                node = running.pop(future)
                ready.end(node)
                ready.add(self._settle(node, future.result(), waiting, dependents))
        for node in self._work:
            if node not in self._outcomes:
                self._note(node, Outcome(self._work[node], OutcomeStatus.SKIPPED, message="the run was interrupted"))

    def _settle(
        self, node: Step, outcome: Outcome, waiting: dict[Step, set[Step]], dependents: Mapping[Step, list[Step]]
    ) -> list[Step]:
        """Record an outcome; the nodes that can go now. What depended on a failure is skipped, however far away."""
        self._note(node, outcome)
        if outcome.status is not OutcomeStatus.APPLIED:
            self._skip(node, dependents)
            return []
        ready = []
        for dependent in dependents[node]:
            waiting[dependent].discard(node)
            if not waiting[dependent] and dependent not in self._outcomes:
                ready.append(dependent)
        return ready

    def _skip(self, failed: Step, dependents: Mapping[Step, list[Step]]) -> None:
        pending = list(dependents[failed])
        while pending:
            node = pending.pop()
            if node not in self._outcomes:
                message = f"{failed.address} did not go through"
                self._note(node, Outcome(self._work[node], OutcomeStatus.SKIPPED, message=message))
                pending += dependents[node]

    def _note(self, node: Step, outcome: Outcome) -> None:
        self._outcomes[node] = outcome
        LOG.info("%s %s: %s %s", node.kind, node.address, outcome.status, outcome.message)
        is_half_done = (
            outcome.change.wait_for_job and node.kind is StepKind.WRITE and outcome.status is OutcomeStatus.APPLIED
        )
        if self._run.listener is not None and not is_half_done:
            self._run.listener.finished(outcome)

    def _carry_out(self, node: Step) -> Outcome:
        change, started = self._work[node], self._run.clock()
        if self._run.listener is not None and node.kind is not StepKind.WAIT:
            self._run.listener.started(change)
        try:
            done = self._wait(change) if node.kind is StepKind.WAIT else self._journalled(node, change)
        except StalePlanError as error:
            return self._failure(change, error, OutcomeStatus.STALE, started)
        except Interrupted:
            cut_off = Interrupted("interrupted while it was under way; the next apply looks how far it came")
            return self._failure(change, cut_off, OutcomeStatus.SKIPPED, started)
        except ReconcilerError as error:
            return self._failure(change, error, OutcomeStatus.FAILED, started)
        seconds = self._run.clock() - started
        return Outcome(
            change, OutcomeStatus.APPLIED, id=done.id, seconds=seconds, notes=done.notes, refused=done.refused
        )

    def _wait(self, change: Change) -> StepResult:
        def tell(text: str) -> None:
            if self._run.listener is not None:
                self._run.listener.told(change, self._run.redact(text))

        return self._executor.wait(change, tell)

    def _journalled(self, node: Step, change: Change) -> StepResult:
        record = self._executor.records.for_change(change)
        image = PreImage(
            change.address, change.action.value, change.id, change.before, record, reason=change.reason.name
        )
        intent = {"half": node.kind.value, "id": change.id}
        with self._run.store.journal(self._run.run_id, redact=self._run.redact).change(
            change.address, change.action.value, intent, pre_image=image
        ) as journal:
            return (self._executor.delete if node.kind is StepKind.DELETE else self._executor.write)(change, journal)

    def _failure(self, change: Change, error: ReconcilerError, status: OutcomeStatus, started: float) -> Outcome:
        return Outcome(
            change,
            status,
            id=change.id,
            message=self._run.redact(str(error)),
            hint=self._run.redact(error.hint),
            request_id=error.request_id if isinstance(error, ApiError) else None,
            changed_since_plan=error.changed_since_plan if isinstance(error, StalePlanError) else (),
            seconds=self._run.clock() - started,
        )

    def _by_change(self) -> list[Outcome]:
        """One outcome a change: of a replacement's two halves, the worse one."""
        worst: dict[tuple[Address, str | None], Outcome] = {}
        for node, outcome in self._outcomes.items():
            key = (node.address, node.id)
            known = worst.get(key)
            if known is None:
                worst[key] = outcome
            elif known.status is OutcomeStatus.APPLIED:
                was_started = node.kind is StepKind.WAIT and outcome.status is not OutcomeStatus.APPLIED
                seconds = known.seconds + outcome.seconds
                notes = (*known.notes, *outcome.notes)
                worst[key] = replace(
                    outcome,
                    was_started=was_started,
                    id=outcome.id or known.id,
                    seconds=seconds,
                    notes=notes,
                    refused=(*known.refused, *outcome.refused),
                )
        for change in self._plan.blocked:
            waits = change.reason is Reason.WAITS
            status = OutcomeStatus.SKIPPED if waits else OutcomeStatus.FAILED
            worst[change.address, None] = Outcome(change, status, id=change.id, message=change.blocked)
        return [worst[key] for key in sorted(worst, key=lambda key: (key[0].sort_key, key[1] or ""))]

    def _outputs(self) -> dict[str, Any]:
        if self._plan.destroy:
            return {}
        values = {name: substitute(value, self._executor.lookup) for name, value in self._run.outputs.items()}
        return {
            name: value for name, value in values.items() if not isinstance(value, Unknown) and not has_unknown(value)
        }


class ReadyQueue:
    """Work that can go, and how much of it is under way: `parallelism` nodes of a crew at most, of all if it is one.

    Waits take nobody's place, as they make no calls to speak of, and take hours.
    """

    def __init__(self, parallelism: int, crew_of: Callable[[Step], str]) -> None:
        self._parallelism = parallelism
        self._crew_of = crew_of if parallelism > 1 else lambda _: ""
        self._waits: deque[Step] = deque()
        self._queues: dict[str, deque[Step]] = {}
        self._under_way: Counter[str] = Counter()

    def capacity(self, work: Collection[Step]) -> int:
        """How much of some work can be under way at most."""
        crews = {self._crew_of(node) for node in work}
        return max(1, len(crews) * self._parallelism + sum(node.kind is StepKind.WAIT for node in work))

    def add(self, nodes: Iterable[Step]) -> None:
        """Line up what can go."""
        for node in nodes:
            queue = self._waits if node.kind is StepKind.WAIT else self._queues.setdefault(self._crew_of(node), deque())
            queue.append(node)

    def take(self) -> Step | None:
        """The next piece of work; None while as much is under way as may be."""
        if self._waits:
            return self._waits.popleft()
        for crew, queue in self._queues.items():
            if queue and self._under_way[crew] < self._parallelism:
                self._under_way[crew] += 1
                return queue.popleft()
        return None

    def end(self, node: Step) -> None:
        """A piece of work has come to its end."""
        if node.kind is not StepKind.WAIT:
            self._under_way[self._crew_of(node)] -= 1


def steps_of(plan: Plan) -> dict[Step, Change]:
    """The work of a plan, in plan order: one node a change, two for a replacement, one more for a wait."""
    work: dict[Step, Change] = {}
    for change in plan.pending:
        key = change.id if change.reason is Reason.LEFT_BEHIND else None
        if change.action is not Action.DELETE:
            work[Step(change.address, StepKind.WRITE, key)] = change
        if change.action.destroys:
            work[Step(change.address, StepKind.DELETE, key)] = change
        if change.wait_for_job:
            work[Step(change.address, StepKind.WAIT, key)] = change
    return work


def dependencies_of(work: Mapping[Step, Change]) -> dict[Step, set[Step]]:
    """What each piece of work waits for.

    Writes wait for the writes of what they refer to. An object is deleted once everything that referred to it has been
    deleted or rewritten. A replacement deletes first, unless it is to create before it destroys.
    """
    needs: dict[Step, set[Step]] = {node: set() for node in work}
    for node, change in work.items():
        if change.reason is Reason.LEFT_BEHIND:
            # What referred to it while it was in use may do so still, until that is written anew. And it is in the
            # record of what follows it before it goes, so that a death in between does not make us forget it.
            needs[node] |= _users_of(node.address, work) | ({Step(node.address, StepKind.WRITE)} & work.keys())
            _keep_reachable(needs, work, node)
            continue
        write, delete = Step(node.address, StepKind.WRITE), Step(node.address, StepKind.DELETE)
        if change.action is Action.REPLACE:
            first, second = (write, delete) if change.create_before_destroy else (delete, write)
            needs[second].add(first)
        if change.wait_for_job:
            needs[Step(node.address, StepKind.WAIT)].add(write)
        for address in change.depends_on:
            _add_needs(needs, work, write, delete, address)
    _free_sinks_first(needs, work)
    return needs


def _free_sinks_first(needs: dict[Step, set[Step]], work: Mapping[Step, Change]) -> None:
    """A key that goes where a deleted object's key is waits for that delete: a sink never overwrites another's key."""
    leaving = {
        target: node
        for node, change in work.items()
        if node.kind is StepKind.DELETE and change.action is Action.DELETE
        for target in _sinks(change.before)
    }
    for node, change in work.items():
        if node.kind is not StepKind.WRITE or change.action is not Action.CREATE:
            continue
        for target in _sinks(change.desired):
            other = leaving.get(target)
            if other is not None and not _waits_for(needs, other, node):
                needs[node].add(other)


def _sinks(spec: Spec) -> Iterator[str]:
    """The places that the keys of a spec are delivered to."""
    for value in spec.values():
        target = value.get("write_to") if isinstance(value, Mapping) else None
        if isinstance(target, Mapping):
            yield sorted_json(target).decode()


def _waits_for(needs: Mapping[Step, Collection[Step]], node: Step, other: Step) -> bool:
    pending, seen = [node], {node}
    while pending:
        for need in needs.get(pending.pop(), ()):
            if need == other:
                return True
            if need not in seen:
                seen.add(need)
                pending.append(need)
    return False


def _users_of(address: Address, work: Mapping[Step, Change]) -> set[Step]:
    return {node for node, change in work.items() if node.id is None and address in change.depends_on}


def _keep_reachable(needs: dict[Step, set[Step]], work: Mapping[Step, Change], node: Step) -> None:
    """What a left-over object lived in, or was reached by, is deleted after it."""
    for address in work[node].depends_on:
        target = Step(address, StepKind.DELETE)
        if target in work and work[target].action is Action.DELETE:
            needs[target].add(node)


def _add_needs(
    needs: dict[Step, set[Step]], work: Mapping[Step, Change], write: Step, delete: Step, address: Address
) -> None:
    target_write, target_delete = Step(address, StepKind.WRITE), Step(address, StepKind.DELETE)
    if write in work and target_write in work and work[write].action is work[target_write].action is Action.FORGET:
        # While anything in a retained project is recorded, the project has to be: else it would be deleted, not let go.
        needs[target_write].add(write)
    elif write in work and target_write in work:
        target_wait = Step(address, StepKind.WAIT)
        needs[write].add(target_wait if target_wait in work else target_write)
    if target_delete not in work:
        return
    target = work[target_delete]
    if delete in work:
        needs[target_delete].add(delete)
    if write in work and (target.action is Action.DELETE or target.create_before_destroy):
        needs[target_delete].add(write)


__all__ = ["ApplyContext", "ApplyResult", "Listener", "ReadyQueue", "apply_plan"]
