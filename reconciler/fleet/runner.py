"""Runs a command on all stacks of a fleet, some of them side by side.

Results arrive as stacks end. No stack can end the others: each has its own session, its own stop
signal, and always a result. During an apply, a stack that reads outputs of another one waits for
it, and is left out if the other one was not applied.
"""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.app.failures import BUG
from reconciler.fleet.dependencies import Needs, cycles_of
from reconciler.fleet.stack_run import FleetContext, StackRequest, run_stack
from reconciler.fleet.stacks import FoundStack, runnable
from reconciler.manifests import Settings
from reconciler.model.change import OutcomeStatus
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.fleet import StackId, StackResult, StackStatus
from reconciler.model.tracing import carried

_POLL_SECONDS = 0.2
"""The polling interval for a stop signal and for the time limit of a stack."""
_SETTLED = frozenset({StackStatus.APPLIED, StackStatus.IN_SYNC})
"""The statuses after an apply whose outputs others can read."""


class FleetOptions(Struct, frozen=True):
    """How a fleet runs."""

    at_once: int = 16
    """How many stacks run side by side."""
    timeout: float | None = None
    """Seconds after which a stack is stopped; its calls in flight are finished."""
    max_failures: int | None = None
    """The number of failed stacks after which no further one starts."""


class FleetJob(Struct, frozen=True):
    """A stack and what to do with it."""

    stack: FoundStack
    request: StackRequest
    known: StackResult | None = None
    """The result, if there is nothing left to do."""


class RunningStack(Struct):
    """A stack that runs now. Setting `stop` ends it after the calls in flight."""

    id: StackId
    began_at: float
    stop: threading.Event = field(default_factory=threading.Event)
    is_late: bool = False


def run_fleet(
    jobs: Sequence[FleetJob],
    settings: Settings,
    context: FleetContext,
    options: FleetOptions,
    *,
    needs: Needs | None = None,
) -> Iterator[StackResult]:
    """Run all jobs; yields each result once, as stacks end.

    `settings` are those of the fleet; each stack has its own folder and environment. `needs` are the
    dependencies of an apply, by the positions of the jobs. Setting `context.stop` ends the run after
    the calls in flight; what was not started by then has a result that says so.
    """
    run = _FleetRun(jobs, settings, context, options, needs or {})
    workers = []
    for number in range(min(options.at_once, len(jobs))):
        worker = threading.Thread(target=carried(run.work), name=f"fleet-{number}", daemon=True)
        worker.start()
        workers.append(worker)
    try:
        for _ in jobs:
            yield run.next_result()
    finally:
        run.stop()
        for worker in workers:
            worker.join()


class _FleetRun:
    def __init__(
        self,
        jobs: Sequence[FleetJob],
        settings: Settings,
        context: FleetContext,
        options: FleetOptions,
        needs: Needs,
    ) -> None:
        self._jobs = jobs
        self._settings = settings
        self._context = context
        self._options = options
        self._results: queue.SimpleQueue[StackResult] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._running: dict[int, RunningStack] = {}
        self._ended: dict[int, StackStatus] = {}
        self._failures = 0
        self._is_stopped = False
        self._cyclic = dict(_cyclic(jobs, needs))
        # Stacks of a cycle wait for nothing: each of them fails at its turn, with the reason.
        self._needs: Needs = {**needs, **dict.fromkeys(self._cyclic, frozenset())}
        self._waiting = {index: len(others) for index, others in self._needs.items() if others}
        self._dependents: dict[int, list[int]] = {}
        for index, others in self._needs.items():
            for other in others:
                self._dependents.setdefault(other, []).append(index)
        self._turns = _turns(jobs)
        self._ready: list[tuple[tuple[int, int], int]] = []
        for index, turn in enumerate(self._turns):
            if index not in self._waiting:
                heapq.heappush(self._ready, (turn, index))

    def work(self) -> None:
        """Run stacks until none is left. The body of each worker."""
        # Every job has to give a result: `run_fleet` waits for as many as there are jobs.
        while (index := self._take()) is not None:
            try:
                result = self._result(index)
            except Exception as error:  # noqa: BLE001 - a lost result would wait for ever
                message = f"unexpected {type(error).__name__}. {BUG}"
                job = self._jobs[index]
                result = _not_run(job, StackStatus.FAILED, 1, "Unexpected", message)
            self._end(index, result.status)
            self._results.put(result)

    def next_result(self) -> StackResult:
        """The next result. Forwards a stop signal while it waits."""
        while True:
            self._watch()
            with suppress(queue.Empty):
                return self._results.get(timeout=_POLL_SECONDS)

    def stop(self) -> None:
        """Start no further stack, and end running stacks after their calls in flight."""
        with self._changed:
            self._is_stopped = True
            for running in self._running.values():
                running.stop.set()
            # Wakes workers that wait for a stack that others need.
            self._changed.notify_all()

    def _watch(self) -> None:
        if self._context.stop.is_set():
            self.stop()
        timeout = self._options.timeout
        if timeout is None:
            return
        with self._changed:
            for running in self._running.values():
                if time.monotonic() - running.began_at > timeout:
                    running.is_late = True
                    running.stop.set()

    def _take(self) -> int | None:
        """The next stack to run, once there is one; None at the end."""
        with self._changed:
            while not self._ready:
                if len(self._ended) + len(self._running) == len(self._jobs):
                    return None
                self._changed.wait()
            _, index = heapq.heappop(self._ready)
            self._running[index] = RunningStack(self._jobs[index].stack.id, time.monotonic())
            return index

    def _end(self, index: int, status: StackStatus) -> None:
        with self._changed:
            del self._running[index]
            self._ended[index] = status
            self._failures += status is StackStatus.FAILED
            for dependent in self._dependents.get(index, ()):
                self._waiting[dependent] -= 1
                if not self._waiting[dependent]:
                    heapq.heappush(self._ready, (self._turns[dependent], dependent))
            self._changed.notify_all()

    def _result(self, index: int) -> StackResult:
        job, running = self._jobs[index], self._running[index]
        if job.known is not None:
            return job.known
        # Check before the stop signal: a stack that cannot run reports that in a stopped run too.
        left_out = self._left_out(index)
        if left_out is not None:
            return left_out
        if self._is_stopped or self._context.stop.is_set():
            return _not_run(
                job, StackStatus.INTERRUPTED, 130, "Interrupted", "The run was stopped before it."
            )
        context = replace(self._context, stop=running.stop)
        result = run_stack(runnable(job.stack, self._settings), job.request, context)
        return _late(result, self._options.timeout or 0.0) if running.is_late else result

    def _left_out(self, index: int) -> StackResult | None:
        """The result of a stack that is not run, whatever else happens."""
        job = self._jobs[index]
        problems = job.stack.problems or self._cyclic.get(index, ())
        if problems:
            message = f"{problems[0].summary}: {problems[0].detail}"
            failed = _not_run(job, StackStatus.FAILED, 1, "ConfigurationInvalid", message)
            return replace(failed, diagnostics=problems)
        for needed in sorted(self._needs.get(index, ())):
            status = self._ended[needed]
            if status not in _SETTLED:
                name = self._jobs[needed].stack.id
                message = f"It reads outputs of {name}, which was not applied: {status}."
                return _not_run(job, status, _CODES[status], "DependencyNotApplied", message)
        most = self._options.max_failures
        if most is not None and self._failures >= most:
            message = f"Not started, as {self._failures} stacks had failed (--max-failures)."
            return _not_run(job, StackStatus.INTERRUPTED, 1, "TooManyFailures", message)
        return None


_CODES: Mapping[StackStatus, int] = {
    StackStatus.REFUSED: 11,
    StackStatus.LOCKED: 12,
    StackStatus.INTERRUPTED: 130,
    StackStatus.FAILED: 1,
    StackStatus.DRIFTED: 1,
    StackStatus.PENDING: 1,
}


def _not_run(
    job: FleetJob, status: StackStatus, code: int, reason: str, message: str
) -> StackResult:
    now = time.time()
    return StackResult(
        job.stack.id,
        job.request.command,
        status,
        code,
        reason=reason,
        message=message,
        began_at=now,
        ended_at=now,
    )


def _late(result: StackResult, seconds: float) -> StackResult:
    """The result of a stack that was stopped because its time was over."""
    if result.status is not StackStatus.INTERRUPTED:
        return result
    is_partly_applied = result.result is not None and result.result.of(OutcomeStatus.APPLIED)
    return replace(
        result,
        status=StackStatus.FAILED,
        exit_code=13 if is_partly_applied else 1,
        reason="TimedOut",
        message=f"It was stopped after {seconds:.0f} seconds (--stack-timeout).",
    )


def _cyclic(jobs: Sequence[FleetJob], needs: Needs) -> Iterator[tuple[int, tuple[Diagnostic, ...]]]:
    for cycle in cycles_of(needs):
        names = " → ".join(str(jobs[index].stack.id) for index in cycle)
        detail = f"Each reads an output of the next: {names}. Remove one of the references."
        for index in cycle[:-1]:
            yield index, (Diagnostic("Cycle of stacks", detail),)


def _turns(jobs: Sequence[FleetJob]) -> list[tuple[int, int]]:
    """The order in which stacks start: organizations take turns, since each has its own pace."""
    numbers: dict[str, int] = {}
    turns = []
    for index, job in enumerate(jobs):
        organization = job.stack.organization
        number = numbers[organization] = numbers.get(organization, 0) + 1
        turns.append((number, index))
    return turns
