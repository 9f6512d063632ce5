"""Runs plan, apply or drift on one stack of a fleet.

A fleet goes on when a stack fails, so every error of a stack becomes a `StackResult`. Only a fault of
this program raises.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.app.applying import apply_checked_plan, is_complete, locked
from reconciler.app.handover import refuse_while_waiting
from reconciler.app.plans import PlanRequest, plan_stack, with_refusals
from reconciler.app.policies import with_live_policies, with_policies
from reconciler.app.session import Session
from reconciler.errors import (
    ConfigurationError,
    CredentialError,
    Interrupted,
    LockedError,
    ReconcilerError,
    StalePlanError,
)
from reconciler.manifests import Settings
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from reconciler.model.plan_digest import plan_digest
from reconciler.model.secret import Redactor

_REASONS: tuple[tuple[type[ReconcilerError], str], ...] = (
    (ConfigurationError, "ConfigurationInvalid"),
    (CredentialError, "CredentialMissing"),
    (StalePlanError, "PlanStale"),
)


class FleetStack(Struct, frozen=True):
    """A stack of a fleet: its folder, and the settings of its session."""

    id: StackId
    root: Path
    settings: Settings


class StackRequest(Struct, frozen=True):
    """What to do with a stack."""

    command: Command
    plan: PlanRequest = PlanRequest()
    approved: str | None = None
    """The digest of the only plan that may be applied; None for any plan that is not refused."""
    parallelism: int = 10
    lock_wait: float = 0.0
    """Seconds to wait for another run that holds the lock."""


class FleetContext(Struct, frozen=True):
    """What the stacks of a fleet share."""

    base_url: str | None = None
    """Overrides OPENAI_BASE_URL."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Setting it ends the run after the calls in flight."""
    redactor: Redactor = field(default_factory=Redactor)
    notice: Callable[[str], None] = lambda _: None
    network_environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


def run_stack(stack: FleetStack, request: StackRequest, context: FleetContext) -> StackResult:
    """Run a command on one stack. Errors of the stack are in the result."""
    began_at = time.time()
    calls = 0
    try:
        with _session(stack, request, context) as session:
            try:
                result = _run(session, stack, request)
            finally:
                calls = session.client.calls
    except ReconcilerError as error:
        result = _failed(stack, request, error, context.redactor)
    return replace(result, calls=calls, began_at=began_at, ended_at=time.time())


def _session(stack: FleetStack, request: StackRequest, context: FleetContext) -> Session:
    session = Session(
        stack.settings,
        base_url=context.base_url,
        parallelism=request.parallelism,
        redactor=context.redactor,
        stop=context.stop,
        notice=lambda sentence: context.notice(f"{stack.id}: {sentence}"),
    )
    session.command = f"fleet {request.command}"
    session.lock_wait = request.lock_wait
    session.network_environ = context.network_environ
    return session


def _run(session: Session, stack: FleetStack, request: StackRequest) -> StackResult:
    if request.command is Command.DRIFT:
        plan = plan_stack(session, request.plan, tolerant=True)
        return _of_drift(stack, with_live_policies(session, plan))
    if request.command is Command.PLAN:
        plan = with_refusals(session, plan_stack(session, request.plan), request.plan)
        return _of_plan(stack, request, plan)
    with locked(session, "fleet apply"):
        refuse_while_waiting(session.store)
        plan = with_policies(session, plan_stack(session, request.plan))
        plan = with_refusals(session, plan, request.plan)
        refused = _of_plan(stack, request, plan)
        if plan.refusals:
            return refused
        if request.approved is not None and request.approved != refused.digest:
            message = "The plan is not the one that was approved."
            status, reason = StackStatus.REFUSED, "ApprovalMissing"
            return replace(refused, status=status, reason=reason, message=message, exit_code=10)
        result = apply_checked_plan(session, plan, command="fleet apply")
        return _of_apply(refused, result)


def _of_drift(stack: FleetStack, plan: Plan) -> StackResult:
    status, code = StackStatus.IN_SYNC, 0
    if any(change.id for change in plan.blocked):
        status, code = StackStatus.FAILED, 1
    elif plan.policies.refusing:
        status, code = StackStatus.REFUSED, 11
    elif plan.drift:
        status, code = StackStatus.DRIFTED, 2
    elif not plan.is_empty:
        status = StackStatus.PENDING
    digest = plan_digest(plan)
    return StackResult(stack.id, Command.DRIFT, status, code, plan=plan, digest=digest)


def _of_plan(stack: FleetStack, request: StackRequest, plan: Plan) -> StackResult:
    status, code, reason = StackStatus.IN_SYNC, 0, ""
    if plan.refusals:
        status, code, reason = StackStatus.REFUSED, 11, "GuardRefused"
    elif plan.blocked:
        status, code, reason = StackStatus.FAILED, 1, "ResourceBlocked"
    elif plan.drift:
        status = StackStatus.DRIFTED
    elif not plan.is_empty:
        status = StackStatus.PENDING
    digest = plan_digest(plan)
    return StackResult(
        stack.id, request.command, status, code, reason=reason, plan=plan, digest=digest
    )


def _of_apply(planned: StackResult, result: ApplyResult) -> StackResult:
    status, code, reason = StackStatus.APPLIED, 0, ""
    if result.interrupted:
        status, code, reason = StackStatus.INTERRUPTED, 130, "Interrupted"
    elif not is_complete(result):
        status, code, reason = StackStatus.FAILED, 1, "ApplyFailed"
        if result.of(OutcomeStatus.APPLIED):
            code, reason = 13, "ApplyIncomplete"
    elif not result.outcomes:
        status = StackStatus.IN_SYNC
    return replace(planned, status=status, exit_code=code, reason=reason, result=result)


def _failed(
    stack: FleetStack, request: StackRequest, error: ReconcilerError, redact: Redactor
) -> StackResult:
    status, code, reason = StackStatus.FAILED, 1, "Failed"
    if isinstance(error, LockedError):
        status, code, reason = StackStatus.LOCKED, 12, "Locked"
    elif isinstance(error, Interrupted):
        status, code, reason = StackStatus.INTERRUPTED, 130, "Interrupted"
    for type, name in _REASONS:
        if isinstance(error, type):
            reason = name
    diagnostics = error.diagnostics if isinstance(error, ConfigurationError) else ()
    return StackResult(
        stack.id,
        request.command,
        status,
        code,
        reason=reason,
        message=redact(str(error)),
        diagnostics=diagnostics,
    )
