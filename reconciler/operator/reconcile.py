"""One look at one Stack: source, keys, plan, decision, apply, status.

Everything that stops a run becomes a condition. Only a fault of this program raises.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.app.delivered_places import delivered_places
from reconciler.app.sharing import Sharing
from reconciler.errors import ReconcilerError, StalePlanError
from reconciler.model.fleet import StackId, StackResult, StackStatus
from reconciler.model.secret import Redactor
from reconciler.operator.approval import Decision, decide, differences
from reconciler.operator.conditions import Judgement, judge
from reconciler.operator.crds import APPROVE, MAX_CHANGES
from reconciler.operator.inputs import InputReader, Obstacle, OperatorOptions, RunInputs
from reconciler.operator.keys import KeyReader
from reconciler.operator.kube import KubeClient, KubeError
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
from reconciler.operator.runs import StackRun, Taking, not_begun, stack_id
from reconciler.operator.sources import SourceError, SourceFolder
from reconciler.operator.status import RunFacts, changes_of, summary_of
from reconciler.telemetry.recorder import NoRecorder, Recorder

LOG = logging.getLogger("reconciler.operator")
_NO_RECORDER = NoRecorder()

LOOP_AFTER = 3
"""Applies of one source in a row, each with changes, that count as not converging."""
KEPT_PLANS = 3
ANSWER_SHARE = 0.5
"""The share of an interval that an answer may be old which another stack has read."""
BUSY_SECONDS = 600.0
"""How long the lock may be held by another run before the status says so."""


class Ended(Struct, frozen=True):
    """How a run ended: what follows, and what the status says."""

    outcome: RunEnd
    judgement: Judgement


class _Progress(Struct):
    """What is remembered of a Stack between runs; lost with the process, at the cost of one run."""

    uid: str
    id: StackId
    number: int = 0
    applied: tuple[int, str] | None = None
    """Generation and revision of the last apply."""
    repeats: int = 0
    busy_since: float | None = None
    plans: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """The changes of the latest plans by digest, to say how an approved one differs."""


class Reconciler:
    """Looks at Stacks. Thread-safe, one thread for each Stack at a time.

    A long class, because a look is one sequence from the inputs to the status, and each of its steps can
    end it: whoever reviews what the operator writes has to see them in their order.
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
        self._progress: dict[ObjectKey, _Progress] = {}

    def look_at(self, key: ObjectKey, stop: threading.Event) -> RunEnd:
        """Do what a Stack needs now. Setting `stop` ends it after the calls in flight."""
        stack = self._registry.stack(key)
        if stack is None:
            self._forget(key)
            return RunEnd(Next.GONE)
        progress = self._progress_of(stack)
        progress.number += 1
        try:
            if stack.is_deleting:
                return self._delete(stack, progress, stop)
            return self._reconcile(stack, progress, stop)
        except Obstacle as problem:
            return self._stopped(stack, progress, problem).outcome
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
        progress = self._progress.pop(key, None)
        if progress is not None:
            self._writer.forget(progress.uid)
            self._recorder.forget(progress.id)

    def _progress_of(self, stack: StackObject) -> _Progress:
        progress = self._progress.get(stack.key)
        if progress is None or progress.uid != stack.uid:
            last = stack.status.get("lastRun")
            number = last.get("number") if isinstance(last, Mapping) else 0
            number = number if isinstance(number, int) else 0
            progress = _Progress(stack.uid, stack_id(stack.key, None), number)
            self._progress[stack.key] = progress
        return progress

    # --- a Stack that stays

    def _reconcile(self, stack: StackObject, progress: _Progress, stop: threading.Event) -> RunEnd:
        if stack.spec is None:
            return self._stopped(stack, progress, Obstacle("SpecInvalid", stack.problem)).outcome
        if not self._writer.align_finalizer(stack):
            return RunEnd(Next.SOON, stack.interval)
        if stack.spec.suspend:
            return self._suspended(stack, progress)
        return self._run(stack, stack.spec, progress, stop, destroy=False).outcome

    def _suspended(self, stack: StackObject, progress: _Progress) -> RunEnd:
        facts = RunFacts(Judgement("Suspended", "spec.suspend is true."), number=progress.number)
        self._writer.write(stack, facts, is_run=False)
        return RunEnd(Next.DONE, stack.interval)

    def _run(
        self,
        stack: StackObject,
        spec: StackSpec,
        progress: _Progress,
        stop: threading.Event,
        *,
        destroy: bool,
    ) -> Ended:
        try:
            with self._inputs.of(stack, spec) as inputs:
                claim = self._inputs.claimed(stack, inputs.settings)
                self._writer.record_claim(stack, claim)
                name = claim.stack
                self._identify(progress, stack_id(stack.key, spec.environment, name))
                run = StackRun(
                    stack.key,
                    spec.mode,
                    inputs,
                    self._redactor,
                    stop,
                    name,
                    self._view(stack),
                    self._recorder,
                    self._options.parallelism,
                    self._options.spend,
                )
                return self._with_inputs(stack, spec, progress, run, name, destroy=destroy)
        except SourceError as error:
            return self._stopped(stack, progress, Obstacle(error.reason, str(error)))
        except Obstacle as problem:
            return self._stopped(stack, progress, problem)

    def _view(self, stack: StackObject) -> Sharing | None:
        """What the run shares with others of the organization that are looked at about now."""
        if self._sharing is None:
            return None
        stacks = self._registry.count_of(stack.organization)
        return self._sharing.view(answer_seconds=ANSWER_SHARE * stack.interval, stacks=stacks)

    def _stopped(self, stack: StackObject, progress: _Progress, problem: Obstacle) -> Ended:
        judgement = Judgement(problem.reason, str(problem))
        if problem.reason != "SourceMoved":  # which the next run, in a moment, will not say
            self._writer.write(stack, RunFacts(judgement, number=progress.number))
        follows = Next.SOON
        if judgement.entry.is_blocked:
            follows = Next.BLOCKED
            self._record_failure(stack, progress, problem)
        return Ended(RunEnd(follows, stack.interval), judgement)

    def _identify(self, progress: _Progress, id: StackId) -> None:
        """Note how metrics name a Stack. One that changed its environment is another one there."""
        if id.environment != progress.id.environment:
            self._recorder.forget(progress.id)
        progress.id = id

    def _record_failure(self, stack: StackObject, progress: _Progress, problem: Obstacle) -> None:
        """Let metrics and notices know of a Stack whose run did not begin."""
        environment = None if stack.spec is None else stack.spec.environment
        id = stack_id(stack.key, environment, progress.id.name)
        self._identify(progress, id)
        result = not_begun(id, problem.reason, self._redactor(str(problem)))
        self._recorder.record(result, interval_seconds=stack.interval)

    def _with_inputs(
        self,
        stack: StackObject,
        spec: StackSpec,
        progress: _Progress,
        run: StackRun,
        name: str,
        *,
        destroy: bool,
    ) -> Ended:
        inputs = run.inputs
        result = run.plan(destroy=destroy)
        if self._inputs.has_moved(spec, inputs.revision):
            raise SourceError("SourceMoved", "The source changed during the run.")
        current = self._registry.stack(stack.key)
        if current is None or (current.uid, current.generation) != (stack.uid, stack.generation):
            # The plan is that of an older spec. The change has woken the Stack.
            return Ended(RunEnd(Next.SOON, stack.interval), Judgement("SourceMoved"))
        decision = decide(current, result, destroy=destroy)
        approved = ""
        if decision.grant is not None:
            taking = Taking(self._kube, decision.grant, stack.key)
            result = run.apply(decision.grant, lambda _: self._confirm(taking, spec, inputs))
            approved = taking.taken
        judgement = self._judged(current, spec, result, decision, progress)
        recorded = result
        if judgement.reason in ("AwaitingApproval", "ApprovalOutdated"):
            recorded = replace(result, reason=judgement.reason)
        self._recorder.record(recorded, interval_seconds=stack.interval)
        if destroy and judgement.reason in ("Applied", "InSync"):
            judgement = Judgement("Destroyed", "Everything that the stack manages is destroyed.")
        ended = self._followed(stack, progress, inputs, result, judgement)
        if result.reason == "KeyRefused":
            self._keys.forget(inputs.organization)
        is_quiet = ended.outcome.next is Next.BUSY and not self._is_long_busy(progress)
        if is_quiet or (run.stop.is_set() and result.status is StackStatus.INTERRUPTED):
            return ended
        facts = RunFacts(ended.judgement, result, name, inputs.revision, progress.number, approved)
        self._writer.write(stack, facts)
        return ended

    def _confirm(self, taking: Taking, spec: StackSpec, inputs: RunInputs) -> None:
        if self._inputs.has_moved(spec, inputs.revision):
            raise StalePlanError("The source changed during the run, so nothing was applied.")
        taking.confirm()

    def _is_long_busy(self, progress: _Progress) -> bool:
        if progress.busy_since is None:
            progress.busy_since = self._clock()
        return self._clock() - progress.busy_since >= BUSY_SECONDS

    def _judged(
        self,
        stack: StackObject,
        spec: StackSpec,
        result: StackResult,
        decision: Decision,
        progress: _Progress,
    ) -> Judgement:
        judgement = judge(spec.mode, result, decision.verdict)
        plan = result.plan
        if plan is not None and not plan.is_empty:
            _remember(progress, result.digest, changes_of(plan)[:MAX_CHANGES])
        if plan is not None and judgement.reason == "AwaitingApproval":
            text = (
                f"Changes: {summary_of(plan)}. Destructive: {len(plan.destructive)}. Approve with: "
                f"kubectl annotate stack {stack.key.name} -n {stack.key.namespace} "
                f"{APPROVE}={result.digest} --overwrite"
            )
            return Judgement(judgement.reason, text)
        if judgement.reason == "ApprovalOutdated":
            return Judgement(judgement.reason, _outdated(stack, result, progress))
        return judgement

    def _followed(
        self,
        stack: StackObject,
        progress: _Progress,
        inputs: RunInputs,
        result: StackResult,
        judgement: Judgement,
    ) -> Ended:
        """What follows, after counting applies that do not converge."""
        interval, status = stack.interval, result.status
        if status is not StackStatus.LOCKED:
            progress.busy_since = None
        if status is StackStatus.APPLIED:
            fingerprint = (stack.generation, inputs.revision)
            progress.repeats = progress.repeats + 1 if progress.applied == fingerprint else 1
            progress.applied = fingerprint
            if progress.repeats >= LOOP_AFTER:
                outcome = RunEnd(Next.LOOPING, interval, progress.repeats - LOOP_AFTER + 1)
                return Ended(outcome, Judgement("NotConverging", _looping(progress, result)))
        elif status is StackStatus.IN_SYNC:
            progress.repeats = 0
        return Ended(RunEnd(_next_of(status, judgement), interval), judgement)

    # --- a Stack that is being deleted

    def _delete(self, stack: StackObject, progress: _Progress, stop: threading.Event) -> RunEnd:
        if not stack.has_finalizer:
            return RunEnd(Next.GONE)
        if stack.deletion_policy is DeletionPolicy.RETAIN:
            return self._released(stack)
        if stack.spec is None:
            return self._stopped(stack, progress, Obstacle("SpecInvalid", stack.problem)).outcome
        if not may_write(stack.spec.mode):
            message = (
                f"The deletionPolicy is Delete, and the mode {stack.spec.mode} never writes. Set the "
                "mode to approve or apply, or the deletionPolicy to Retain."
            )
            return self._stopped(stack, progress, Obstacle("DeletionNotPermitted", message)).outcome
        if stack.spec.suspend:
            return self._suspended(stack, progress)
        ended = self._run(stack, stack.spec, progress, stop, destroy=True)
        current = self._registry.stack(stack.key)
        if current is not None and ended.judgement.reason == "Destroyed":
            return self._released(current)
        return ended.outcome

    def _released(self, stack: StackObject) -> RunEnd:
        if self._writer.release(stack):
            self._forget(stack.key)
            return RunEnd(Next.GONE)
        return RunEnd(Next.SOON, stack.interval)


def _next_of(status: StackStatus, judgement: Judgement) -> Next:
    match status:
        case StackStatus.LOCKED:
            return Next.BUSY
        case StackStatus.INTERRUPTED:
            return Next.SOON
        case StackStatus.FAILED | StackStatus.REFUSED:
            if judgement.reason == "PlanStale":
                return Next.SOON
            return Next.BLOCKED if judgement.entry.is_blocked else Next.FAILED
    return Next.DONE


def _remember(progress: _Progress, digest: str, changes: list[dict[str, str]]) -> None:
    progress.plans.pop(digest, None)
    progress.plans[digest] = changes
    while len(progress.plans) > KEPT_PLANS:
        del progress.plans[next(iter(progress.plans))]


def _outdated(stack: StackObject, result: StackResult, progress: _Progress) -> str:
    message = f"{stack.approve[:12]}… was approved, and the plan is {result.digest[:12]}… now"
    known = stack.status.get("plan")
    approved: Any = progress.plans.get(stack.approve)
    if isinstance(known, Mapping) and known.get("digest") == stack.approve:
        approved = known.get("changes")
    now = progress.plans.get(result.digest)
    if approved and now:
        what = differences(approved, now)
        message += f": {what}" if what else ""
    return f"{message}. Review the present plan, and approve its digest {result.digest}."


def _looping(progress: _Progress, result: StackResult) -> str:
    plan = result.plan
    addresses = [str(change.address) for change in plan.pending] if plan is not None else []
    named = ", ".join(addresses[:3])
    if len(addresses) > 3:
        named += f" and {len(addresses) - 3} more"
    return (
        f"{progress.repeats} applies of the same source in a row left changes: {named}. Something "
        "changes them back, or the API keeps other values than the manifests declare."
    )
