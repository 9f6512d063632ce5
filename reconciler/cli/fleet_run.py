"""Runs the stacks of a fleet for a command, shows progress, and reports."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import click
from msgspec import Struct
from msgspec.structs import replace

from reconciler.cli.applying import ask_or_refuse
from reconciler.cli.fleet_options import CommandFleet
from reconciler.cli.reporting import echo, publish_fleet, talk, text_renderer, wants_color
from reconciler.errors import UsageError
from reconciler.fleet.dependencies import needs_of
from reconciler.fleet.history import HistoryRecorder
from reconciler.fleet.runner import FleetJob, FleetOptions, run_fleet
from reconciler.fleet.stack_run import StackRequest
from reconciler.fleet.summary import fleet_report, summarized
from reconciler.fleet.waiting import REASON as WAITS
from reconciler.fleet.waiting import lacks_outputs, with_waiting
from reconciler.model.fleet import (
    Command,
    FleetReport,
    StackId,
    StackReport,
    StackResult,
    StackStatus,
)
from reconciler.render.fleet import sentence_of
from reconciler.render.progress import Outlook, Progress

NOTHING: Mapping[StackId, StackReport] = {}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DOING = {
    Command.PLAN: "Planning",
    Command.DRIFT: "Looking for drift",
    Command.APPLY: "Applying",
}


def run_and_report(
    fleet: CommandFleet, request: StackRequest, options: FleetOptions
) -> FleetReport:
    """Run a command on all stacks and publish the report."""
    jobs = [FleetJob(stack, request) for stack in fleet.stacks]
    report = _run(fleet, jobs, request, options)
    publish_fleet(fleet.options, report)
    return report


def apply_fleet(
    fleet: CommandFleet,
    request: StackRequest,
    options: FleetOptions,
    *,
    yes: bool,
    approve: tuple[str, ...],
) -> FleetReport:
    """Apply all stacks, after approval of a fleet, of stacks, or of everything."""
    if yes and approve:
        raise UsageError(
            "--yes applies any plan, and --approve only the reviewed one",
            hint="Leave one of the two out.",
        )
    if yes:
        return run_and_report(fleet, request, options)
    digests = frozenset(map(_digest, approve))
    # Before the plans, which take minutes and would be of no use without an answer.
    if not digests and not sys.stdin.isatty():
        ask_or_refuse(yes=False, action="plan")
    planned = _plan(fleet, request, options)
    # Some stacks have no plan then, so nothing is applied.
    if planned.interrupted:
        publish_fleet(fleet.options, planned)
        return planned
    stacks = _approved(planned, digests)
    if not digests and any(stack.digest for stack in planned.stacks):
        _show(fleet, planned)
        ask_or_refuse(yes=False, action="plan")
    jobs = list(_jobs(fleet, request, stacks))
    report = _run(fleet, jobs, request, options, stacks)
    publish_fleet(fleet.options, report)
    return report


class Approval(Struct, frozen=True):
    """The plans that the digests of the command line approve."""

    digests: frozenset[str]
    fleet: str
    """The digest of the present plans of all stacks."""

    def covers(self, stack: StackReport) -> bool:
        """Whether the plan of a stack was approved, alone or with the whole fleet."""
        return self.fleet in self.digests or stack.digest in self.digests


def _plan(fleet: CommandFleet, request: StackRequest, options: FleetOptions) -> FleetReport:
    """Plan all stacks, to show and to approve."""
    plan = replace(request, command=Command.PLAN)
    return _run(fleet, [FleetJob(stack, plan) for stack in fleet.stacks], plan, options)


def _jobs(
    fleet: CommandFleet, request: StackRequest, approved: dict[StackId, StackReport]
) -> Iterator[FleetJob]:
    """A job for each stack: those that were approved are applied, the others keep their result."""
    for stack in fleet.stacks:
        report = approved[stack.id]
        if report.digest and report.status is not StackStatus.REFUSED:
            # Each apply plans again under the lock, and refuses a plan with another digest.
            yield FleetJob(stack, replace(request, approved=report.digest))
            continue
        status = report.status
        # Drift that the plan does not undo leaves nothing to apply.
        if status is StackStatus.DRIFTED:
            status = StackStatus.IN_SYNC
        known = StackResult(stack.id, Command.APPLY, status, report.exit_code)
        yield FleetJob(stack, request, known)


def _approved(planned: FleetReport, digests: frozenset[str]) -> dict[StackId, StackReport]:
    """The stacks by id; with digests, those whose plan was not approved are refused."""
    approval = Approval(digests, planned.digest)
    checked = {}
    for stack in planned.stacks:
        has_plan = bool(stack.digest) and stack.status is not StackStatus.REFUSED
        if digests and has_plan and not approval.covers(stack):
            stack = replace(
                stack,
                status=StackStatus.REFUSED,
                exit_code=10,
                reason="ApprovalMissing",
                message="Its plan is not one that was approved: something changed since the "
                "review, or it was not reviewed.",
            )
        elif stack.reason == WAITS:
            # The applies of other stacks now decide what its next plan is, which needs an approval.
            stack = replace(stack, exit_code=10)
        checked[stack.id] = stack
    return checked


def _run(
    fleet: CommandFleet,
    jobs: Sequence[FleetJob],
    request: StackRequest,
    options: FleetOptions,
    known: Mapping[StackId, StackReport] = NOTHING,
) -> FleetReport:
    """Run jobs and collect their reports. `known` has the reports of jobs that need no run."""
    fleet.check_backend()
    began = time.monotonic()
    needs = None
    if request.command is Command.APPLY:
        needs = needs_of([job.stack for job in jobs])
    known_ids = {job.stack.id for job in jobs if job.known is not None}
    # From here on an interrupt waits until every finished change is recorded and listed.
    with ExitStack() as block:
        block.enter_context(fleet.interrupts.finishing_first())
        context = block.enter_context(fleet.sharing())
        collected = _Collected(fleet, block.enter_context(_recording(fleet, request)))
        block.enter_context(_progress(fleet, request, collected.reports, len(jobs)))
        for result in run_fleet(jobs, fleet.settings, context, options, needs=needs):
            # At once: the plans of thousands of stacks do not fit into memory.
            report = summarized(result, fleet.settings.root)
            if result.id in known_ids:
                report = known[result.id]
                result = replace(result, reason=report.reason, digest=report.digest)
            collected.add(result, report)
        collected.finish(is_apply=request.command is Command.APPLY)
    return fleet_report(
        str(request.command),
        collected.reports,
        seconds=time.monotonic() - began,
        interrupted=fleet.context.stop.is_set(),
    )


class _Collected:
    """The reports of a run. Passes each on to the history, to metrics and to notices.

    A stack that lacks outputs of others has failed or waits. That is decided once all have ended.
    """

    def __init__(self, fleet: CommandFleet, record: Callable[[StackReport], None]) -> None:
        self.reports: list[StackReport] = []
        self._fleet = fleet
        self._record = record
        self._undecided: dict[StackId, StackResult] = {}

    def add(self, result: StackResult, report: StackReport) -> None:
        """Take in the result of a stack."""
        self.reports.append(report)
        if lacks_outputs(report):
            self._undecided[report.id] = result
        else:
            self._pass_on(result, report)
        if self._fleet.options.verbose:
            talk(f"{report.id}: {report.status}: {sentence_of(report)}")

    def finish(self, *, is_apply: bool) -> None:
        """Decide about stacks that lack outputs. An apply leaves none of them waiting."""
        if not is_apply:
            self.reports[:] = with_waiting(self.reports, self._fleet.stacks)
        for report in self.reports:
            result = self._undecided.get(report.id)
            if result is not None:
                changed = replace(
                    result,
                    status=report.status,
                    exit_code=report.exit_code,
                    reason=report.reason,
                    message=report.message,
                    diagnostics=report.diagnostics,
                )
                self._pass_on(changed, report)

    def _pass_on(self, result: StackResult, report: StackReport) -> None:
        self._fleet.telemetry.add(result)
        self._record(report)


@contextmanager
def _recording(
    fleet: CommandFleet, request: StackRequest
) -> Iterator[Callable[[StackReport], None]]:
    """Records results in the history of the fleet."""
    # A plan writes nothing. The plan of a pull request says nothing about the stacks of main.
    if request.command is Command.PLAN:
        yield lambda _: None
        return
    with HistoryRecorder(fleet.settings, talk) as recorder:
        yield recorder.add


@contextmanager
def _progress(
    fleet: CommandFleet, request: StackRequest, reports: Sequence[StackReport], total: int
) -> Iterator[None]:
    options = fleet.options
    at_terminal = sys.stderr.isatty() and options.log_format != "json"
    progress = Progress(
        sys.stderr,
        at_terminal,
        wants_color(options, sys.stderr),
        bars=at_terminal and not options.verbose,
    )
    with progress.phase(_DOING[request.command], lambda: Outlook(len(reports), total, "stacks")):
        yield


def _show(fleet: CommandFleet, report: FleetReport) -> None:
    """Print the plans before the apply; nothing in formats for programs."""
    if fleet.options.format in (None, "text"):
        text = text_renderer(fleet.options, sys.stdout).fleet(report)
        echo(fleet.options, fleet.context.redactor(text))


def _digest(text: str) -> str:
    digest = text.strip().lower()
    if not _DIGEST.fullmatch(digest):
        raise click.BadParameter(
            "A digest has 64 hexadecimal digits. Every report of a plan has it.",
            param_hint="--approve",
        )
    return digest
