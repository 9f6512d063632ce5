"""Reports the runs of Stacks to metrics and notices."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.model.fleet import StackId, StackResult
from reconciler.model.secret import Redactor
from reconciler.operator.conditions import Judgement
from reconciler.operator.memory import StackMemory
from reconciler.operator.resources import StackObject
from reconciler.operator.runs import not_begun, stack_id
from reconciler.telemetry.recorder import Recorder

_ANNOUNCED = ("AwaitingApproval", "ApprovalOutdated")
"""Reasons that a result cannot contain, because they come from the annotation of the Stack."""


class StackTelemetry:
    """Reports runs to a recorder, under the ids that `StackMemory` keeps."""

    def __init__(self, recorder: Recorder, redactor: Redactor) -> None:
        self._recorder = recorder
        self._redactor = redactor

    def identify(self, memory: StackMemory, id: StackId) -> None:
        """Use another id for a Stack. The environment is a label, so another one is another series."""
        if id.environment != memory.id.environment:
            self._recorder.forget(memory.id)
        memory.id = id

    def forget(self, memory: StackMemory) -> None:
        """Drop the series of a Stack that is gone."""
        self._recorder.forget(memory.id)

    def record(self, stack: StackObject, result: StackResult, judgement: Judgement) -> None:
        """Report a run that reached the stack."""
        if judgement.reason in _ANNOUNCED:
            result = replace(result, reason=judgement.reason)
        self._recorder.record(result, interval_seconds=stack.interval)

    def record_not_begun(
        self, stack: StackObject, memory: StackMemory, reason: str, message: str
    ) -> None:
        """Report a run that ended before it reached the stack, as a failure."""
        environment = None if stack.spec is None else stack.spec.environment
        id = stack_id(stack.key, environment, memory.id.name)
        self.identify(memory, id)
        result = not_begun(id, reason, self._redactor(message))
        self._recorder.record(result, interval_seconds=stack.interval)
