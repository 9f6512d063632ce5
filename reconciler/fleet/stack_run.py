"""Runs plan, apply or drift on one stack of a fleet.

A fleet goes on when a stack fails, so every error of a stack becomes a `StackResult`, even one of
this program. Exit codes are those of the command for this stack alone.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.app.applying import apply_checked_plan, locked
from reconciler.app.blame import with_blame
from reconciler.app.exit_codes import exit_code_of_error, final_exit_code
from reconciler.app.failures import problems_of, sentences, translated
from reconciler.app.handover import refuse_while_waiting
from reconciler.app.plans import PlanRequest, plan_stack, require_credentials, with_refusals
from reconciler.app.policies import with_live_policies, with_policies
from reconciler.app.policy_request import PolicyRequest
from reconciler.app.session import Session
from reconciler.app.sharing import Sharing
from reconciler.app.spend import SpendReader
from reconciler.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    CredentialError,
    GuardError,
    Interrupted,
    LockedError,
    OrganizationError,
    ReconcilerError,
    SinkError,
    StalePlanError,
    StateError,
    ThrottledError,
    UsageError,
)
from reconciler.manifests import Settings
from reconciler.model.change import ApplyResult, Plan
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from reconciler.model.plan_digest import plan_digest
from reconciler.model.secret import Redactor
from reconciler.model.tracing import root_span
from reconciler.state.lock import Holder
from reconciler.state.store import StateStore
from reconciler.telemetry.recorder import NoRecorder, Recorder

LOG = logging.getLogger("reconciler.fleet")

_REASONS: tuple[tuple[type[ReconcilerError], str], ...] = (
    (ConfigurationError, "ConfigurationInvalid"),
    (CredentialError, "CredentialMissing"),
    (StalePlanError, "PlanStale"),
    (GuardError, "GuardRefused"),
    (LockedError, "Locked"),
    (Interrupted, "Interrupted"),
    (AuthenticationError, "KeyRefused"),
    (ThrottledError, "Throttled"),
    (OrganizationError, "OrganizationMismatch"),
    (ApiError, "ApiFailed"),
    (StateError, "StateUnavailable"),
    (SinkError, "SinkFailed"),
    (UsageError, "RequestInvalid"),
)
_STATUSES: tuple[tuple[type[ReconcilerError], StackStatus], ...] = (
    (StalePlanError, StackStatus.REFUSED),
    (GuardError, StackStatus.REFUSED),
    (LockedError, StackStatus.LOCKED),
    (Interrupted, StackStatus.INTERRUPTED),
)


class FleetStack(Struct, frozen=True):
    """A stack of a fleet: its folder, and the settings of its session."""

    id: StackId
    root: Path
    settings: Settings


class StackRequest(Struct, frozen=True):
    """The treatment of a stack."""

    command: Command
    plan: PlanRequest = PlanRequest()
    approved: str | None = None
    """The digest of the only plan that may be applied; None for any plan that is not refused."""
    parallelism: int = 10
    lock_wait: float = 0.0
    """Seconds to wait for another run that holds the lock."""
    policies: PolicyRequest = PolicyRequest()
    blame: bool = False
    """Whether drift names who caused it, from the audit log."""
    check: bool = False
    """Whether a complete apply runs the checks that refer to its changes."""
    confirm: Callable[[StackResult], None] = lambda _: None
    """Called under the lock with the plan that is about to be applied. Raises ReconcilerError to
    prevent it, for example because an approval was withdrawn meanwhile."""


class FleetContext(Struct, frozen=True):
    """The shared parts of a fleet's stacks."""

    base_url: str | None = None
    """Overrides OPENAI_BASE_URL."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Setting it ends the run after the calls in flight. A stack that loses its lock sets it too, so
    stacks that run side by side have one each."""
    redactor: Redactor = field(default_factory=Redactor)
    notice: Callable[[str], None] = lambda _: None
    network_environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    sharing: Sharing | None = None
    """The answers, connections and paces that the stacks share. Its maker closes it."""
    program: str = "fleet"
    """The program that runs the stacks, as shown to other runs that share a limit."""
    is_background: bool = False
    """Whether the run is unattended, and so gives way to others at a shared limit."""
    recorder: Recorder = NoRecorder()
    """Counts requests. The caller records the results."""
    spend: SpendReader | None = None
    """Reads the costs to compare with spend limits; None if they are not wanted."""


def run_stack(stack: FleetStack, request: StackRequest, context: FleetContext) -> StackResult:
    """Run a command on one stack. Every error is in the result."""
    began_at = time.time()
    run = _StackRun(stack, request, context)
    attributes = {
        "reconciler.command": request.command.value,
        "reconciler.stack": stack.id.name or stack.id.folder,
        "reconciler.environment": stack.id.environment,
    }
    with root_span(f"{request.command.value} stack", attributes) as part:
        result = run.result()
        part.set("reconciler.status", result.status.value)
        part.set("reconciler.calls", run.calls)
        if result.status is StackStatus.FAILED:
            part.fail(result.reason or "Failed")
    return replace(
        result,
        calls=run.calls,
        shared_answers=run.shared_answers,
        began_at=began_at,
        ended_at=time.time(),
    )


class _StackRun:
    """One command on one stack. The result keeps every fact from before an error."""

    def __init__(self, stack: FleetStack, request: StackRequest, context: FleetContext) -> None:
        self._stack = stack
        self._request = request
        self._context = context
        self._applied: StackResult | None = None
        self._organization = ""
        self.calls = 0
        self.shared_answers = 0

    def result(self) -> StackResult:
        """Run the command; errors become a result."""
        try:
            with self._session() as session:
                try:
                    result = self._with_spend(session, self._run(session))
                finally:
                    self._keep_facts(session)
        except Exception as error:  # noqa: BLE001 - one stack must not end the fleet
            result = self._failed(translated(error))
        return replace(result, organization=self._organization)

    def _session(self) -> Session:
        stack, request, context = self._stack, self._request, self._context
        session = Session(
            stack.settings,
            base_url=context.base_url,
            parallelism=request.parallelism,
            redactor=context.redactor,
            stop=context.stop,
            notice=lambda sentence: context.notice(f"{stack.id}: {sentence}"),
            sharing=context.sharing,
            traffic=context.recorder,
        )
        session.program = context.program
        session.command = f"{context.program} {request.command}"
        session.is_background = context.is_background
        session.lock_wait = request.lock_wait
        session.network_environ = context.network_environ
        session.policy_request = request.policies
        return session

    def _with_spend(self, session: Session, result: StackResult) -> StackResult:
        """The result with the used share of spend limits, which an apply may just have changed."""
        # A stopped run makes no further call.
        if self._context.spend is None or result.plan is None or self._context.stop.is_set():
            return result
        return replace(result, spend_share=self._context.spend.share(session, result.plan))

    def _keep_facts(self, session: Session) -> None:
        """Keep the facts from the calls so far, whatever ends the run."""
        if session.has_client:
            self.calls = session.client.calls
            self.shared_answers = session.client.shared_answers
            self._organization = session.client.organization.seen
            self._context.recorder.limits(self._organization, session.client.admin_limits())

    def _run(self, session: Session) -> StackResult:
        request = self._request
        if request.command is Command.DRIFT:
            plan = with_live_policies(session, self._unlocked_plan(session, tolerant=True))
            if request.blame:
                plan = with_blame(session, plan)
            return self._result_of_drift(plan)
        if request.command is Command.PLAN:
            plan = with_refusals(session, self._unlocked_plan(session), request.plan)
            return self._result_of_plan(plan)
        request.plan.refuse_offline()
        require_credentials(session)
        with locked(session, session.command):
            return self._apply(session)

    def _unlocked_plan(self, session: Session, *, tolerant: bool = False) -> Plan:
        """A plan of the state, read without the lock.

        Raises LockedError if an object is blocked in a plan during which another run wrote the state:
        what that run has just created is in the lists, and not yet in the state that was read before.
        """
        require_credentials(session)
        before = _lock_and_serial(session.store)
        plan = plan_stack(session, self._request.plan, tolerant=tolerant)
        if plan.blocked:
            with self._session() as later:
                if _lock_and_serial(later.store) != before:
                    raise LockedError(
                        "another run changed the state while this plan was made",
                        hint="Wait for it to end, then run again.",
                    )
        return plan

    def _apply(self, session: Session) -> StackResult:
        request = self._request
        refuse_while_waiting(session.store)
        plan = with_policies(session, plan_stack(session, request.plan))
        plan = with_refusals(session, plan, request.plan)
        planned = self._result_of_plan(plan)
        if request.approved is not None and request.approved != planned.digest:
            return replace(
                planned,
                status=StackStatus.REFUSED,
                exit_code=exit_code_of_error(StalePlanError("")),
                reason="PlanStale",
                message="The plan is not the one that was approved: something changed since the "
                "review. Review the present plan, and approve its digest.",
            )
        if plan.refusals:
            return planned
        # As late as possible: an approval can be withdrawn while the plan is made.
        if not plan.is_empty:
            request.confirm(planned)
        result = apply_checked_plan(session, plan, command=session.command, check=request.check)
        # Leaving the lock raises again if it was lost, and what was done must be reported.
        self._applied = _result_of_apply(planned, result)
        return self._applied

    def _result_of_drift(self, plan: Plan) -> StackResult:
        status, code, reason = StackStatus.IN_SYNC, 0, ""
        if any(change.id for change in plan.blocked):
            # An object that could not be read may have drifted.
            status, code, reason = StackStatus.FAILED, 1, "ResourceUnreadable"
        elif plan.policies.refusing:
            status, code, reason = StackStatus.REFUSED, 11, "PolicyFailed"
        elif plan.drift:
            status, code, reason = StackStatus.DRIFTED, 2, "ChangedOutside"
        elif plan.unmanaged:
            status, code, reason = StackStatus.DRIFTED, 2, "UnmanagedObjects"
        elif not plan.is_empty:
            status, reason = StackStatus.PENDING, "ChangesPending"
        return self._of(plan, status, code, reason)

    def _result_of_plan(self, plan: Plan) -> StackResult:
        status, code, reason = StackStatus.IN_SYNC, 0, ""
        if plan.refusals:
            status, code, reason = StackStatus.REFUSED, 11, "GuardRefused"
        elif plan.blocked:
            status, code, reason = StackStatus.FAILED, 1, "ResourceBlocked"
        elif plan.drift:
            status, reason = StackStatus.DRIFTED, "ChangedOutside"
        elif not plan.is_empty:
            status, reason = StackStatus.PENDING, "ChangesPending"
        return self._of(plan, status, code, reason)

    def _of(self, plan: Plan, status: StackStatus, code: int, reason: str) -> StackResult:
        errors = [each for each in plan.diagnostics if each.severity is Severity.ERROR]
        return StackResult(
            self._stack.id,
            self._request.command,
            status,
            code,
            reason=reason,
            diagnostics=tuple(errors),
            plan=plan,
            digest=plan_digest(plan),
        )

    def _failed(self, error: Exception) -> StackResult:
        status = next((own for kind, own in _STATUSES if isinstance(error, kind)), None)
        # The first match counts: some of the errors are derived from later ones.
        reason = next((own for kind, own in _REASONS if isinstance(error, kind)), "Unexpected")
        if isinstance(error, OSError):
            reason = "SystemFailed"
        if reason == "Unexpected":
            LOG.debug("%s: unexpected error", self._stack.id, exc_info=error)
        problems = tuple(map(self._redacted, problems_of(error)))
        message = self._context.redactor(str(error))
        # The text of a ConfigurationError counts its problems, which are in the result themselves.
        if not isinstance(error, ConfigurationError) and len(problems) == 1:
            message = sentences(problems[0].summary, problems[0].detail)
        # An apply that has ended is reported even if leaving the lock failed after it.
        base = self._applied or StackResult(
            self._stack.id, self._request.command, StackStatus.FAILED, 1
        )
        return replace(
            base,
            status=status or StackStatus.FAILED,
            exit_code=exit_code_of_error(error),
            reason=reason,
            message=message,
            diagnostics=problems,
        )

    def _redacted(self, problem: Diagnostic) -> Diagnostic:
        redact = self._context.redactor
        return replace(problem, summary=redact(problem.summary), detail=redact(problem.detail))


def _lock_and_serial(store: StateStore) -> tuple[int, Holder | None]:
    """A value that differs once another run has begun or written."""
    return store.serial, store.holder()


def _result_of_apply(planned: StackResult, result: ApplyResult) -> StackResult:
    code = final_exit_code(result)
    status, reason = {
        0: (StackStatus.APPLIED, ""),
        10: (StackStatus.FAILED, "ObjectChanged"),
        11: (StackStatus.REFUSED, "PolicyFailed"),
        13: (StackStatus.FAILED, "ApplyIncomplete"),
        130: (StackStatus.INTERRUPTED, "Interrupted"),
    }.get(code, (StackStatus.FAILED, "ApplyFailed"))
    if code == 1 and result.checks is not None:
        reason = "CheckFailed"
    if code == 0 and not result.outcomes:
        status = StackStatus.IN_SYNC
    return replace(planned, status=status, exit_code=code, reason=reason, result=result)
