"""The operator's memory of Stacks between runs.

It is lost with the process, at the cost of one run. Facts that must survive a restart are in the
status.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.fleet import StackResult, StackStatus
from reconciler.operator.crds import MAX_CHANGES
from reconciler.operator.resources import ObjectKey, StackObject
from reconciler.operator.runs import stack_id
from reconciler.operator.status import changes_of

LOOP_AFTER = 3
"""Applies of one source in a row, each with changes, that count as not converging."""
KEPT_PLANS = 3
BUSY_SECONDS = 600.0
"""How long another run may hold the lock before the status says so."""


class StackMemory:
    """The facts about one Stack from its earlier runs."""

    def __init__(self, stack: StackObject) -> None:
        self.uid = stack.uid
        self.id = stack_id(stack.key, None)
        """The name of the Stack in metrics."""
        self.number = _last_number(stack)
        """The number of the latest run."""
        self.applies = 0
        """How many applies of the same source in a row made changes."""
        self._applied: tuple[int, str] | None = None
        self._busy_since: float | None = None
        self._plans: dict[str, list[dict[str, str]]] = {}

    def remember_plan(self, result: StackResult) -> None:
        """Keep the changes of a plan, to say how an approved plan differs from the present one."""
        plan = result.plan
        if plan is None or plan.is_empty:
            return
        # Removed first, so that the dictionary stays in the order of the latest use.
        self._plans.pop(result.digest, None)
        self._plans[result.digest] = changes_of(plan)[:MAX_CHANGES]
        while len(self._plans) > KEPT_PLANS:
            del self._plans[next(iter(self._plans))]

    def changes_of(self, digest: str) -> list[dict[str, str]]:
        """The changes of a plan that is remembered; none for another plan."""
        return self._plans.get(digest, [])

    def note_end(self, result: StackResult, *, generation: int, revision: str, now: float) -> None:
        """Count the run. Its source is the generation of the Stack and the revision of the files."""
        if result.status is not StackStatus.LOCKED:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = now
        if result.status is StackStatus.APPLIED:
            source = (generation, revision)
            if source != self._applied:
                self.applies = 0
            self.applies += 1
            self._applied = source
        elif result.status is StackStatus.IN_SYNC:
            self.applies = 0

    def is_long_busy(self, now: float) -> bool:
        """Whether another run has held the lock for so long that the status should say so."""
        return self._busy_since is not None and now - self._busy_since >= BUSY_SECONDS


class StackMemories:
    """The memory of every Stack. Safe for one thread for each Stack at a time."""

    def __init__(self) -> None:
        self._memories: dict[ObjectKey, StackMemory] = {}

    def of(self, stack: StackObject) -> StackMemory:
        """The memory of a Stack; see `is_of_another`."""
        memory = self._memories.get(stack.key)
        if memory is None:
            memory = self._memories[stack.key] = StackMemory(stack)
        return memory

    def is_of_another(self, stack: StackObject) -> bool:
        """Whether the memory is of an earlier Stack under the same name, whose end nobody saw."""
        memory = self._memories.get(stack.key)
        return memory is not None and memory.uid != stack.uid

    def drop(self, key: ObjectKey) -> StackMemory | None:
        """Remove the memory of a Stack that is gone, and return it."""
        return self._memories.pop(key, None)


def _last_number(stack: StackObject) -> int:
    """The number of the last run in the status, so that numbers go on after a restart."""
    run = stack.status.get("lastRun")
    if not isinstance(run, Mapping):
        return 0
    number = run.get("number")
    if not isinstance(number, int):
        return 0
    return number
