"""One run of one Stack: source, keys, plan, decision, apply, status.

Every obstacle to a run becomes a condition. Only a defect of this program raises.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from reconciler.app.delivered_places import delivered_places
from reconciler.app.sharing import Sharing
from reconciler.errors import ReconcilerError, StalePlanError
from reconciler.model.fleet import StackResult, StackStatus
from reconciler.model.secret import Redactor
from reconciler.operator.approval import Decision, decide, differences
from reconciler.operator.conditions import Judgement, judge
from reconciler.operator.crds import APPROVE
from reconciler.operator.inputs import InputReader, Obstacle, OperatorOptions, RunInputs
from reconciler.operator.keys import KeyReader
from reconciler.operator.kube import KubeClient, KubeError
from reconciler.operator.memory import LOOP_AFTER, StackMemories, StackMemory
from reconciler.operator.queue import Next, RunEnd
from reconciler.operator.registry import Registry
from reconciler.operator.reports import StatusWriter
from reconciler.operator.resources import (
    DeletionPolicy,
    ObjectKey,
    StackObject,
    StackSpec,
    may_write,
)
from reconciler.operator.runs import StackRun, Taking, stack_id
from reconciler.operator.sources import SourceError, SourceFolder
from reconciler.operator.stack_telemetry import StackTelemetry
from reconciler.operator.status import RunFacts, summary_of
from reconciler.telemetry.recorder import NoRecorder, Recorder

LOG = logging.getLogger("reconciler.operator")
_NO_RECORDER = NoRecorder()

ANSWER_SHARE = 0.5
"""The share of an interval that an answer read for another Stack may be old."""


class Ended(Struct, frozen=True):
    """The end of a run: when to run again, and the new status."""

    outcome: RunEnd
    judgement: Judgement


class Reconciliation(Struct, frozen=True):
    """One run of a Stack whose spec can be used."""

    stack: StackObject
    spec: StackSpec
    memory: StackMemory
    stop: threading.Event
    destroy: bool = False
    """Whether the Stack is being deleted, and its objects with it."""


class Reconciler:
    """Reconciles Stacks. Thread-safe, one thread for each Stack at a time.

    A run is one sequence from the inputs to the status, and each of its steps can end it.
    """

    def __init__(
        self,
        registry: Registry,
        kube: KubeClient,
        sources: SourceFolder,
        options: OperatorOptions,
        redactor: Redactor,
        *,
        sharing: Sharing | None = None,
        recorder: Recorder = _NO_RECORDER,
        wake: Callable[[ObjectKey], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._kube = kube
        self._options = options
        self._redactor = redactor
        self._sharing = sharing
        self._recorder = recorder
        self._clock = clock
        self._keys = KeyReader(kube.secret, redactor, clock=clock)
        self._writer = StatusWriter(
            kube, registry, redactor, places=self._places, wake=wake, clock=clock
        )
        self._inputs = InputReader(
            registry, sources, self._keys, options, redactor, self._writer.write_organization
        )
        self._memories = StackMemories()
        self._telemetry = StackTelemetry(recorder, redactor)

    def reconcile(self, key: ObjectKey, stop: threading.Event) -> RunEnd:
        """Reconcile a Stack. Setting `stop` ends it after the calls in flight."""
        # From the registry: the event that woke the Stack may be older than the registry.
        stack = self._registry.stack(key)
        if stack is None:
            self._forget(key)
            return RunEnd(Next.GONE)
        # Between two lists, a Stack can be deleted and created again without an event.
        if self._memories.is_of_another(stack):
            self._forget(key)
        memory = self._memories.of(stack)
        memory.number += 1
        try:
            if stack.is_deleting:
                return self._delete(stack, memory, stop)
            return self._maintain(stack, memory, stop)
        except Obstacle as problem:
            return self._stopped(stack, memory, problem).outcome
        except KubeError as error:
            LOG.warning("%s: %s", key, error)
            return RunEnd(Next.FAILED, stack.interval)

    def _places(self, stack: str, environment: str) -> frozenset[str]:
        """Where the keys of a stack are. Raises Obstacle."""
        options = self._options
        try:
            return delivered_places(options.backend or "", stack, environment, options.env)
        except ReconcilerError as error:
            raise Obstacle("StateUnavailable", str(error)) from error

    def _forget(self, key: ObjectKey) -> None:
        memory = self._memories.drop(key)
        if memory is not None:
            self._writer.forget(memory.uid)
            self._telemetry.forget(memory)

    # --- a Stack that stays

    def _maintain(self, stack: StackObject, memory: StackMemory, stop: threading.Event) -> RunEnd:
        if stack.spec is None:
            return self._stopped(stack, memory, Obstacle("SpecInvalid", stack.problem)).outcome
        # Before the first apply, because a deletion must find the finalizer once objects exist.
        if not self._writer.align_finalizer(stack):
            return RunEnd(Next.SOON, stack.interval)
        if stack.spec.suspend:
            return self._suspended(stack, memory)
        return self._run(Reconciliation(stack, stack.spec, memory, stop)).outcome

    def _suspended(self, stack: StackObject, memory: StackMemory) -> RunEnd:
        facts = RunFacts(Judgement("Suspended", "spec.suspend is true."), number=memory.number)
        self._writer.write(stack, facts, is_run=False)
        return RunEnd(Next.DONE, stack.interval)

    def _run(self, current: Reconciliation) -> Ended:
        stack, spec = current.stack, current.spec
        try:
            # The files of ConfigMaps exist only inside of the block.
            with self._inputs.of(stack, spec) as inputs:
                claim = self._inputs.claimed(stack, inputs.settings)
                # Before the first write: if the process dies after it, the status still names the
                # state and the Secrets.
                self._writer.record_claim(stack, claim)
                self._telemetry.identify(
                    current.memory, stack_id(stack.key, spec.environment, claim.stack)
                )
                run = StackRun(
                    stack.key,
                    spec.mode,
                    inputs,
                    self._redactor,
                    current.stop,
                    claim.stack,
                    self._view(stack),
                    self._recorder,
                    self._options.parallelism,
                    self._options.spend,
                )
                return self._plan_and_apply(current, run)
        except SourceError as error:
            return self._stopped(stack, current.memory, Obstacle(error.reason, str(error)))
        except Obstacle as problem:
            return self._stopped(stack, current.memory, problem)

    def _view(self, stack: StackObject) -> Sharing | None:
        """The readings that the run shares with other Stacks of its organization."""
        if self._sharing is None:
            return None
        stacks = self._registry.count_of(stack.organization)
        return self._sharing.view(answer_seconds=ANSWER_SHARE * stack.interval, stacks=stacks)

    def _stopped(self, stack: StackObject, memory: StackMemory, problem: Obstacle) -> Ended:
        judgement = Judgement(problem.reason, str(problem))
        # A source that moved is read again in a moment, so the status need not change.
        if problem.reason != "SourceMoved":
            self._writer.write(stack, RunFacts(judgement, number=memory.number))
        if not judgement.entry.is_blocked:
            return Ended(RunEnd(Next.SOON, stack.interval), judgement)
        self._telemetry.record_not_begun(stack, memory, problem.reason, str(problem))
        return Ended(RunEnd(Next.BLOCKED, stack.interval), judgement)

    def _plan_and_apply(self, current: Reconciliation, run: StackRun) -> Ended:
        memory, inputs = current.memory, run.inputs
        result = run.plan(destroy=current.destroy)
        # git-sync may have replaced the folder, and the plan would be of two commits.
        if self._inputs.has_moved(current.spec, inputs.revision):
            raise SourceError("SourceMoved", "The source changed during the run.")
        stack = self._registry.stack(current.stack.key)
        if stack is None or _version(stack) != _version(current.stack):
            # The plan is that of an older spec. The change has woken the Stack.
            return Ended(RunEnd(Next.SOON, current.stack.interval), Judgement("SourceMoved"))
        # The present Stack decides: its annotations may have changed, which keeps the generation.
        decision = decide(stack, result, destroy=current.destroy)
        approved = ""
        if decision.grant is not None:
            taking = Taking(self._kube, decision.grant, stack.key)
            result = run.apply(
                decision.grant, lambda _: self._confirm(taking, current.spec, inputs)
            )
            approved = taking.taken
        memory.remember_plan(result)
        judgement = _judgement_of(stack, current.spec, result, decision, memory)
        self._telemetry.record(current.stack, result, judgement)
        if current.destroy and judgement.reason in ("Applied", "InSync"):
            judgement = Judgement("Destroyed", "Everything that the stack manages is destroyed.")
        now = self._clock()
        memory.note_end(result, generation=stack.generation, revision=inputs.revision, now=now)
        ended = _end_of(current.stack, memory, result, judgement)
        if result.reason == "KeyRefused":
            # After a key was rotated in its Secret, the next run must not wait for the cache to
            # expire.
            self._keys.forget(inputs.organization)
        # If another run holds the lock for a moment, the status need not say so. A run that a
        # signal stopped is repeated by the next process.
        is_quiet = ended.outcome.next is Next.BUSY and not memory.is_long_busy(now)
        is_interrupted = run.stop.is_set() and result.status is StackStatus.INTERRUPTED
        if not is_quiet and not is_interrupted:
            facts = RunFacts(
                ended.judgement, result, run.name, inputs.revision, memory.number, approved
            )
            self._writer.write(current.stack, facts)
        return ended

    def _confirm(self, taking: Taking, spec: StackSpec, inputs: RunInputs) -> None:
        if self._inputs.has_moved(spec, inputs.revision):
            raise StalePlanError("The source changed during the run, so nothing was applied.")
        taking.confirm()

    # --- a Stack that is being deleted

    def _delete(self, stack: StackObject, memory: StackMemory, stop: threading.Event) -> RunEnd:
        # Another finalizer holds the Stack, and ours is gone already.
        if not stack.has_finalizer:
            return RunEnd(Next.GONE)
        if stack.deletion_policy is DeletionPolicy.RETAIN:
            return self._released(stack)
        if stack.spec is None:
            return self._stopped(stack, memory, Obstacle("SpecInvalid", stack.problem)).outcome
        if not may_write(stack.spec.mode):
            message = (
                f"The deletionPolicy is Delete, and the mode {stack.spec.mode} never writes. Set the "
                "mode to approve or apply, or the deletionPolicy to Retain."
            )
            return self._stopped(stack, memory, Obstacle("DeletionNotPermitted", message)).outcome
        if stack.spec.suspend:
            return self._suspended(stack, memory)
        ended = self._run(Reconciliation(stack, stack.spec, memory, stop, destroy=True))
        # Read again: the patch that removes the finalizer tests the present list of finalizers.
        present = self._registry.stack(stack.key)
        if present is not None and ended.judgement.reason == "Destroyed":
            return self._released(present)
        return ended.outcome

    def _released(self, stack: StackObject) -> RunEnd:
        if self._writer.release(stack):
            self._forget(stack.key)
            return RunEnd(Next.GONE)
        return RunEnd(Next.SOON, stack.interval)


def _version(stack: StackObject) -> tuple[str, int]:
    """A value that changes with every change of the spec."""
    return stack.uid, stack.generation


def _judgement_of(
    stack: StackObject,
    spec: StackSpec,
    result: StackResult,
    decision: Decision,
    memory: StackMemory,
) -> Judgement:
    """The judgement of a run, with instructions for approval in its message."""
    judgement = judge(spec.mode, result, decision.verdict)
    plan = result.plan
    if plan is not None and judgement.reason == "AwaitingApproval":
        text = (
            f"Changes: {summary_of(plan)}. Destructive: {len(plan.destructive):,}. Approve with: "
            f"kubectl annotate stack {stack.key.name} -n {stack.key.namespace} "
            f"{APPROVE}={result.digest} --overwrite"
        )
        return Judgement(judgement.reason, text)
    if judgement.reason == "ApprovalOutdated":
        return Judgement(judgement.reason, _outdated(stack, result, memory))
    return judgement


def _end_of(
    stack: StackObject, memory: StackMemory, result: StackResult, judgement: Judgement
) -> Ended:
    """When the next run is due. Applies that do not converge become rarer."""
    if result.status is StackStatus.APPLIED and memory.applies >= LOOP_AFTER:
        repeats = memory.applies - LOOP_AFTER + 1
        looping = Judgement("NotConverging", _looping(memory, result))
        return Ended(RunEnd(Next.LOOPING, stack.interval, repeats), looping)
    return Ended(RunEnd(_next_of(result.status, judgement), stack.interval), judgement)


def _next_of(status: StackStatus, judgement: Judgement) -> Next:
    match status:
        case StackStatus.LOCKED:
            return Next.BUSY
        case StackStatus.INTERRUPTED:
            return Next.SOON
        case StackStatus.FAILED | StackStatus.REFUSED:
            # The next plan sees what changed, so it needs no back-off.
            if judgement.reason == "PlanStale":
                return Next.SOON
            if judgement.entry.is_blocked:
                return Next.BLOCKED
            return Next.FAILED
    return Next.DONE


def _outdated(stack: StackObject, result: StackResult, memory: StackMemory) -> str:
    message = f"{stack.approve[:12]}… was approved, and the plan is {result.digest[:12]}… now"
    approved: Any = memory.changes_of(stack.approve)
    # After a restart the memory is empty, and the status still has the plan that was reviewed.
    shown = stack.status.get("plan")
    if isinstance(shown, Mapping) and shown.get("digest") == stack.approve:
        approved = shown.get("changes")
    present = memory.changes_of(result.digest)
    if approved and present:
        difference = differences(approved, present)
        if difference:
            message += f": {difference}"
    return f"{message}. Review the present plan, and approve its digest {result.digest}."


def _looping(memory: StackMemory, result: StackResult) -> str:
    addresses = []
    if result.plan is not None:
        addresses = [str(change.address) for change in result.plan.pending]
    named = ", ".join(addresses[:3])
    if len(addresses) > 3:
        named += f" and {len(addresses) - 3:,} more"
    return (
        f"{memory.applies} applies of the same source in a row left changes: {named}. Something "
        "changes them back, or the API keeps other values than the manifests declare."
    )
