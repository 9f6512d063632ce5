"""Rehearses a plan: loads the copy, applies the plan to it for real, and checks the result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reconciler.api.transport.client import Client
from reconciler.app.applying import apply_checked_plan, locked
from reconciler.app.plans import PlanRequest, with_refusals
from reconciler.app.policies import refusals_of
from reconciler.app.rollback import rollback_plan
from reconciler.app.saved_plans import prove_organization
from reconciler.app.session import Session
from reconciler.errors import ConfigurationError, ReconcilerError, StalePlanError
from reconciler.kinds import ALL_KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, ApplyResult, Change, Outcome, OutcomeStatus, Plan
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.rehearsal import (
    Rehearsal,
    RehearsalCheck,
    RehearsalVerdict,
    RehearsedStep,
    RollbackPreview,
    RouteCalls,
)
from reconciler.rehearsal.copies import CopyPlace, CopySession
from reconciler.rehearsal.kills import Census, kill_and_resume
from reconciler.rehearsal.observed import calls_by_route, guessed_lists, refused_calls
from reconciler.rehearsal.pace import REQUESTS_PER_MINUTE, pace_of
from reconciler.rehearsal.planning import plan_in_copy, saved_plan_in_copy
from reconciler.rehearsal.recording import Recording
from reconciler.rehearsal.stage import OrderListener, Stage
from reconciler.state import StateStore

_PARAMETER = re.compile(r"\{\w+\}")
_SHOWN = 20

COPY_EQUALS = "The copy shows what was read"
PLAN_IS_CURRENT = "The saved plan is current"
GUARDS_ALLOW = "Guards and policies allow the plan"
ALL_PLANNED = "Every address can be planned"
ALL_APPLIED = "Every change is applied"
POLICIES_HOLD = "Policies hold after the apply"
SECOND_IS_EMPTY = "A second plan is empty"


class RehearsalRequest(Struct, frozen=True):
    """The plan to rehearse, and how."""

    planning: PlanRequest = PlanRequest()
    saved: Plan | None = None
    """The saved plan to rehearse, in place of a new one."""
    saved_name: str = ""
    faults: tuple[str, ...] = ()
    """Faults of the emulator during the apply, in their one-line form."""
    kill_at: tuple[int, ...] = ()
    requests_per_minute: float | None = None
    lag_seconds: float = 0.0
    """How long new objects are missing from answers."""


def rehearse(
    session: Session,
    recording: Recording,
    request: RehearsalRequest,
    *,
    name: str,
    source: StateStore | None,
    dump: Callable[[Plan], str],
) -> Rehearsal:
    """Rehearse a plan on a copy of the recorded organization.

    The session is that of the original and makes no call. `name` says where the recording comes
    from. `source` is the state to copy, None for the recorded one. `dump` writes a saved plan.
    Raises ConfigurationError for problems of the manifests.
    """
    with Stage(session, recording, source, lag_seconds=request.lag_seconds) as stage:
        return _Rehearser(session, stage, request, dump).run(name)


class _Rehearser:
    def __init__(
        self,
        session: Session,
        stage: Stage,
        request: RehearsalRequest,
        dump: Callable[[Plan], str],
    ) -> None:
        self._session = session
        self._stage = stage
        self._request = request
        self._dump = dump
        self._checks: list[RehearsalCheck] = []
        self._guessed: Sequence[str] = ()

    def run(self, name: str) -> Rehearsal:
        stage, recording = self._stage, self._stage.recording
        place = stage.reset()
        self._check(COPY_EQUALS, stage.loaded["missing"])
        begun = Rehearsal(
            plan=Plan(recording.stack, recording.environment, ()),
            source=name,
            read_at=recording.read_at,
            saved_plan=self._request.saved_name,
            reading=tuple(_recorded_calls(recording)),
            unread=tuple(recording.unread),
            faults=self._request.faults,
        )
        ended = self._applied(place, begun)
        if ended.result is not None:
            ended = self._followed_up(place, ended)
        pace = self._request.requests_per_minute or self._stack_pace()
        return replace(
            ended,
            checks=tuple(self._checks),
            pace=pace_of(ended.reading, ended.applying, pace),
            not_modelled=tuple(self._not_modelled(ended)),
        )

    def _stack_pace(self) -> float:
        return self._session.stack.admin_requests_per_minute or REQUESTS_PER_MINUTE

    # The apply

    def _applied(self, place: CopyPlace, begun: Rehearsal) -> Rehearsal:
        """Plan and apply; without a result if the plan is stale or refused."""
        listeners: list[OrderListener] = []

        def listening(client: Client) -> OrderListener:
            listeners.append(OrderListener(client))
            return listeners[-1]

        with self._stage.session(place, listening) as copy, locked(copy, "apply"):
            try:
                plan = self._plan(copy)
            except StalePlanError as error:
                self._check(PLAN_IS_CURRENT, [str(error)])
                self._skip(GUARDS_ALLOW, ALL_PLANNED, ALL_APPLIED, SECOND_IS_EMPTY)
                return replace(begun, plan=self._request.saved or begun.plan)
            plan = with_refusals(copy, plan, self._request.planning)
            begun = replace(begun, plan=plan, refusals=plan.refusals)
            self._check(GUARDS_ALLOW, plan.refusals)
            self._check(ALL_PLANNED, _blocked(plan))
            if plan.refusals:
                self._skip(ALL_APPLIED, SECOND_IS_EMPTY)
                return begun
            ended = self._apply(copy, begun)
        outcomes = listeners[0].outcomes if listeners else []
        return replace(ended, steps=tuple(map(_step, outcomes)))

    def _apply(self, copy: CopySession, begun: Rehearsal) -> Rehearsal:
        emulator = self._stage.emulator
        planned = emulator.requests
        copy.use_placeholders()
        # From here on, requests are those of the apply, which are counted by route.
        emulator.clear_requests()
        if self._request.saved is not None:
            prove_organization(copy, begun.plan)
        for fault in self._request.faults:
            emulator.add_fault(fault)
        result = apply_checked_plan(copy, begun.plan, command="apply")
        # Faults apply to the apply alone: the steps after it examine its result.
        emulator.clear_faults()
        requests = emulator.requests
        self._guessed = tuple(guessed_lists([*planned, *requests], self._stage.recording))
        return replace(
            begun,
            result=result,
            applying=tuple(calls_by_route(requests)),
            api_refusals=tuple(refused_calls(requests, self._session.redactor)),
            withheld_keys=tuple(copy.withheld),
        )

    def _plan(self, copy: CopySession) -> Plan:
        saved = self._request.saved
        if saved is None:
            return plan_in_copy(copy, self._request.planning)
        return saved_plan_in_copy(copy, saved, self._stage.recording)

    # The steps after the apply

    def _followed_up(self, place: CopyPlace, rehearsal: Rehearsal) -> Rehearsal:
        result = rehearsal.result
        if result is None:
            return rehearsal
        if self._request.saved is not None:
            stale = result.of(OutcomeStatus.STALE)
            self._check(PLAN_IS_CURRENT, [_line(outcome) for outcome in stale])
        self._check(ALL_APPLIED, _unapplied(result))
        if result.policies.policies:
            self._check(POLICIES_HOLD, refusals_of(result.policies))
        census = self._stage.census()
        self._check(SECOND_IS_EMPTY, self._remaining_changes(place, rehearsal.plan))
        rollback = self._rollback(place, result)
        # Last, because it loads the copy again.
        self._kill(rehearsal, census)
        return replace(rehearsal, rollback=rollback)

    def _later_request(self) -> PlanRequest:
        """The request of a plan after the apply: requested replacements are done."""
        request = replace(self._request.planning, replace=(), budget=None)
        saved = self._request.saved
        if saved is None:
            return request
        targets: tuple[str, ...] = ()
        if not saved.refresh.whole:
            targets = tuple(str(change.address) for change in saved.pending)
        adopts = any(change.action is Action.ADOPT for change in saved.pending)
        return replace(request, destroy=saved.destroy, target=targets, adopt=adopts)

    def _remaining_changes(self, place: CopyPlace, plan: Plan) -> list[str]:
        """The changes that a second plan still contains."""
        try:
            with self._stage.session(place) as copy:
                second = plan_in_copy(copy, self._later_request())
        except ReconcilerError as error:
            return [str(error)]
        pending: Iterable[Change] = second.pending
        if self._request.saved is not None:
            # A saved plan may be one of a few targets.
            known = {change.address for change in plan.changes}
            pending = [change for change in pending if change.address in known]
        return [f"{change.action} {change.address}: {change.reason}" for change in pending]

    def _rollback(self, place: CopyPlace, result: ApplyResult) -> RollbackPreview | None:
        if result.run is None or not result.of(OutcomeStatus.APPLIED):
            return None
        request = PlanRequest(refresh="full")
        try:
            with self._stage.session(place) as copy:
                plan = with_refusals(copy, rollback_plan(copy, result.run.number, request), request)
        except ConfigurationError as error:
            return RollbackPreview(obstacles=tuple(map(_obstacle, error.diagnostics)))
        except ReconcilerError as error:
            return RollbackPreview(obstacles=(str(error),))
        return RollbackPreview(
            tuple(f"{change.action} {change.address}" for change in plan.pending), plan.refusals
        )

    def _kill(self, rehearsal: Rehearsal, census: Census) -> None:
        # The emulator counts stored objects, and stores nothing for a refused call.
        writes = [route for route in rehearsal.applying if route.writes]
        made = sum(route.calls - route.refused for route in writes)
        for at in self._request.kill_at:
            if at > made:
                self._checks.append(
                    RehearsalCheck(
                        f"An apply that is killed at write {at} resumes",
                        RehearsalVerdict.SKIPPED,
                        f"the apply makes {made:,} writes",
                    )
                )
                continue
            self._checks.append(
                kill_and_resume(
                    self._stage,
                    rehearsal.plan,
                    self._later_request(),
                    at=at,
                    expected=census,
                    settings=self._session.settings,
                    dump=self._dump,
                )
            )

    # Checks

    def _check(self, name: str, problems: Sequence[str]) -> None:
        verdict = RehearsalVerdict.FAILED if problems else RehearsalVerdict.PASSED
        shown = list(problems[:_SHOWN])
        if len(problems) > _SHOWN:
            shown.append(f"… and {len(problems) - _SHOWN:,} more")
        redacted = self._session.redactor("\n".join(shown))
        self._checks.append(RehearsalCheck(name, verdict, redacted))

    def _skip(self, *names: str) -> None:
        self._checks += [RehearsalCheck(name, RehearsalVerdict.SKIPPED) for name in names]

    def _not_modelled(self, rehearsal: Rehearsal) -> Iterator[str]:
        """The features that the copy does not reproduce, as far as they concern the kinds of the
        plan.
        """
        loaded = self._stage.loaded
        paths = _paths_of(rehearsal.plan)
        sentences = loaded["not_modelled"].items()
        # Several paths can share a sentence.
        yield from sorted({text for path, text in sentences if _bare(path) in paths})
        for path, names in loaded["copied"].items():
            if _bare(path) in paths:
                yield f"{path}: {', '.join(names)} stay as they were read until the object changes"
        for path in loaded["unknown"]:
            yield f"{path}: not loaded, because the emulator has no such objects"
        yield from self._guessed
        if self._stage.recording.has_unfinished_work:
            yield "the work that an interrupted run left, which a recording does not hold"


def _recorded_calls(recording: Recording) -> Iterator[RouteCalls]:
    for entry in recording.calls:
        yield RouteCalls(entry.method, entry.path, entry.calls, is_admin=entry.is_admin)


def _blocked(plan: Plan) -> list[str]:
    causes: dict[Address | None, str] = {}
    for diagnostic in plan.diagnostics:
        causes[diagnostic.address] = (diagnostic.detail or diagnostic.summary).split("\n")[0]
    lines = []
    for change in plan.blocked:
        cause = causes.get(change.address) or change.reason
        lines.append(f"{change.address}: {cause}")
    return lines


def _unapplied(result: ApplyResult) -> list[str]:
    """The planned changes that were not applied. A separate check covers addresses that could not
    be planned.
    """
    lines: list[str] = []
    refused: list[str] = []
    for outcome in result.outcomes:
        if outcome.status is not OutcomeStatus.APPLIED and not outcome.change.blocked:
            lines.append(_line(outcome))
        refused += outcome.refused
    return lines + refused


def _obstacle(problem: Diagnostic) -> str:
    return f"{problem.address}: {problem.detail or problem.summary}"


def _line(outcome: Outcome) -> str:
    return f"{outcome.change.address} {outcome.status}: {outcome.message}"


def _step(outcome: Outcome) -> RehearsedStep:
    change = outcome.change
    status = outcome.status
    message = "" if status is OutcomeStatus.APPLIED else outcome.message.split("\n")[0]
    return RehearsedStep(str(change.address), change.action.value, status.value, message)


def _paths_of(plan: Plan) -> frozenset[str]:
    paths: set[str] = set()
    for name in {change.address.kind for change in plan.pending}:
        paths.update(map(_bare, ALL_KINDS[name].collections))
    return frozenset(paths)


def _bare(path: str) -> str:
    return _PARAMETER.sub("{}", path)
