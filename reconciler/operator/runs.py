"""Plans and applies one Stack, through `fleet/`. An apply needs a grant, and checks it once more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from reconciler.app.plans import PlanRequest
from reconciler.app.sharing import Sharing
from reconciler.app.spend import SpendReader
from reconciler.errors import StalePlanError
from reconciler.fleet.stack_run import FleetContext, FleetStack, StackRequest, run_stack
from reconciler.manifests.configuration import DEFAULT_ENVIRONMENT
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from reconciler.model.secret import Redactor
from reconciler.operator.approval import Grant, still_holds
from reconciler.operator.crds import APPROVE
from reconciler.operator.inputs import RunInputs
from reconciler.operator.kube import KubeClient
from reconciler.operator.resources import Mode, ObjectKey, stack_of
from reconciler.telemetry.recorder import NoRecorder, Recorder

LOG = logging.getLogger("reconciler.operator")
_POINTER = f"/metadata/annotations/{APPROVE.replace('/', '~1')}"


def stack_id(key: ObjectKey, environment: str | None, name: str = "") -> StackId:
    """The id of a Stack in results and metrics. Its namespace and name stand for the folder."""
    return StackId(str(key), environment or DEFAULT_ENVIRONMENT, name)


def not_begun(id: StackId, reason: str, message: str) -> StackResult:
    """The result of a run that never reached the stack."""
    now = time.time()
    return StackResult(
        id,
        Command.PLAN,
        StackStatus.FAILED,
        1,
        reason=reason,
        message=message,
        began_at=now,
        ended_at=now,
    )


class StackRun(Struct, frozen=True):
    """The plan and the apply of one run."""

    key: ObjectKey
    mode: Mode
    inputs: RunInputs
    redactor: Redactor
    stop: threading.Event
    name: str = ""
    """The name of the stack in its stack file."""
    sharing: Sharing | None = None
    recorder: Recorder = NoRecorder()
    parallelism: int = 10
    spend: SpendReader | None = None

    def plan(self, *, destroy: bool) -> StackResult:
        """Plan, or search for drift if the mode never writes. Writes nothing."""
        command = Command.PLAN
        if self.mode is Mode.OBSERVE and not destroy:
            command = Command.DRIFT
        return self._do(StackRequest(command, PlanRequest(destroy=destroy)))

    def apply(self, grant: Grant, confirm: Callable[[StackResult], None]) -> StackResult:
        """Apply what the grant covers. Nothing else in the operator writes to the API."""
        request = StackRequest(
            Command.APPLY,
            PlanRequest(destroy=grant.destroy),
            approved=grant.digest or None,
            confirm=confirm,
        )
        return self._do(request)

    def _do(self, request: StackRequest) -> StackResult:
        inputs = self.inputs
        id = stack_id(self.key, inputs.settings.environment, self.name)
        context = FleetContext(
            base_url=inputs.base_url,
            stop=self.stop,
            redactor=self.redactor,
            notice=lambda sentence: LOG.info("%s", sentence),
            sharing=self.sharing,
            program="operator",
            is_background=True,
            recorder=self.recorder,
            spend=self.spend,
        )
        request = replace(request, policies=inputs.policies, parallelism=self.parallelism)
        return run_stack(FleetStack(id, inputs.root, inputs.settings), request, context)


class Taking(Struct):
    """Checks a grant against the cluster just before the first write, and uses up its approval."""

    kube: KubeClient
    grant: Grant
    key: ObjectKey
    taken: str = ""
    """The digest of the approval that was used up; empty for none."""

    def confirm(self) -> None:
        """Raise StalePlanError if the grant no longer holds."""
        if self.grant.approval:
            self._use_up_approval()
            return
        body = self.kube.stack(self.key)
        if body is None or not still_holds(self.grant, stack_of(body)):
            raise StalePlanError("The Stack changed during the run, so nothing was applied.")

    def _use_up_approval(self) -> None:
        # The removal of the annotation makes an approval valid once, since the API server lets only
        # one request succeed. If this process dies after it, the plan has to be approved again.
        approval = self.grant.approval
        answer = self.kube.patch(
            self.key,
            [
                {"op": "test", "path": "/metadata/uid", "value": self.grant.uid},
                {"op": "test", "path": "/spec/mode", "value": str(self.grant.mode)},
                {"op": "test", "path": _POINTER, "value": approval},
                {"op": "remove", "path": _POINTER},
            ],
        )
        if answer is None:
            raise StalePlanError("The approval was withdrawn or used meanwhile.")
        self.taken = approval
        current = stack_of(answer)
        if current is not None:
            # The answer no longer has the annotation, and everything else has to be as it was.
            current = replace(current, approve=approval)
        if not still_holds(self.grant, current):
            raise StalePlanError("The Stack changed during the run, so nothing was applied.")
