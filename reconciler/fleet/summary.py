"""Reduces results of stacks to the parts that a report and the history keep.

A plan of a large stack takes megabytes. A `StackReport` has counts, and a bounded number of
addresses and sentences.
"""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from reconciler.manifests.configuration import STACK_FILES
from reconciler.model.change import Action, ApplyResult, Change, Drift, Outcome, OutcomeStatus, Plan
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.fleet import (
    MOST_NOTES,
    Command,
    DriftNote,
    FailureNote,
    FleetReport,
    LossNote,
    StackId,
    StackReport,
    StackResult,
    StackStatus,
)

HERE = Path()
_MOST_FIELDS = 8
_MOST_CHARACTERS = 2_000
_VERSION = b"reconciler fleet 1\n"
_FAILED = (OutcomeStatus.FAILED, OutcomeStatus.STALE)
_EXIT_CODES = (10, 11, 12, 2)
"""Exit codes of stacks by precedence, if no stack failed and the run was not stopped."""


def summarized(result: StackResult, base: Path = HERE) -> StackReport:
    """The result of a stack as a report keeps it. `base` is the folder of the fleet."""
    report = StackReport(
        result.id,
        str(result.command),
        result.status,
        result.exit_code,
        reason=result.reason,
        message=_bounded(result.message),
        organization=result.organization,
        problems=len(result.diagnostics),
        diagnostics=tuple(map(_bounded_problem, result.diagnostics[:MOST_NOTES])),
        calls=result.calls,
        shared_answers=result.shared_answers,
        answered_by_log=result.answered_by_log,
        began_at=result.began_at,
        ended_at=result.ended_at,
        file=stack_file(result.id, base),
        next_command=next_command(result.id, result.status, result.reason, base),
    )
    if result.plan is not None:
        report = _with_plan(report, result, result.plan)
    if result.result is not None:
        report = _with_outcomes(report, result.result)
    return report


def fleet_digest(stacks: Iterable[StackReport]) -> str:
    """The digest that approves the plans of all stacks; empty if there is nothing to approve."""
    hashed, is_empty = hashlib.sha256(_VERSION), True
    # By id: stacks end in another order in each run, and the same plans must have one digest.
    for stack in sorted(stacks, key=lambda stack: stack.id):
        if stack.digest:
            is_empty = False
            # A name of a folder can be any bytes, which Python keeps as surrogates.
            line = (stack.id.folder, stack.id.environment, stack.id.name, stack.digest)
            hashed.update("\0".join(line).encode("utf-8", "surrogatepass") + b"\n")
    return "" if is_empty else hashed.hexdigest()


def fleet_report(
    command: str, stacks: Sequence[StackReport], *, seconds: float, interrupted: bool = False
) -> FleetReport:
    """The report of a run, worst first, then what destroys most."""
    ordered = sorted(
        stacks, key=lambda stack: (stack.status.rank, -stack.destructive, -stack.drifted, stack.id)
    )
    is_apply = command == Command.APPLY
    return FleetReport(
        command,
        tuple(ordered),
        digest="" if is_apply else fleet_digest(ordered),
        calls=sum(stack.calls for stack in ordered),
        seconds=seconds,
        interrupted=interrupted,
        exit_code=130 if interrupted else exit_code_of_fleet(ordered),
    )


def exit_code_of_fleet(stacks: Sequence[StackReport]) -> int:
    """The exit code of a run, from those of its stacks.

    130 interrupted; with failures, 13 if anything was applied and else 1; 10, 11 and 12 for stale
    plans, refusals and locks; 2 for drift; 0 otherwise.
    """
    codes = {stack.exit_code for stack in stacks}
    if 130 in codes:
        return 130
    if 13 in codes:
        return 13
    if 1 in codes:
        has_applied = any(stack.outcomes.get(OutcomeStatus.APPLIED) for stack in stacks)
        return 13 if has_applied else 1
    return next((code for code in _EXIT_CODES if code in codes), 0)


def _with_plan(report: StackReport, result: StackResult, plan: Plan) -> StackReport:
    counts = {str(action): number for action, number in plan.counts().items()}
    counts.pop(str(Action.NO_OP), None)
    destructive = plan.destructive
    has_changes = bool(counts or plan.outputs)
    return replace(
        report,
        digest=result.digest if has_changes else "",
        counts=counts,
        destructive=len(destructive),
        losses=tuple(map(_loss, destructive[:MOST_NOTES])),
        drifted=len(plan.drift),
        drift=tuple(map(_drift, plan.drift[:MOST_NOTES])),
        refused=len(plan.refusals),
        refusals=tuple(map(_bounded, plan.refusals[:MOST_NOTES])),
        unmanaged=len(plan.unmanaged),
    )


def _with_outcomes(report: StackReport, result: ApplyResult) -> StackReport:
    counts: Counter[str] = Counter()
    failed, skipped = [], []
    for outcome in result.outcomes:
        counts[str(outcome.status)] += 1
        if outcome.status is OutcomeStatus.SKIPPED:
            skipped.append(outcome)
        elif outcome.status in _FAILED or outcome.refused:
            failed.append(outcome)
    # Skipped stacks last: their cause is among the others, which must not be cut off.
    failed += skipped
    return replace(
        report,
        outcomes=dict(counts),
        failed=len(failed),
        failures=tuple(map(_failure, failed[:MOST_NOTES])),
    )


def _loss(change: Change) -> LossNote:
    return LossNote(str(change.address), str(change.action), change.destroys)


def _drift(drift: Drift) -> DriftNote:
    fields = tuple(dict.fromkeys(change.dotted for change in drift.fields))
    return DriftNote(
        str(drift.address), fields[:_MOST_FIELDS], drift.deleted, drift.overdue, drift.blame
    )


def _failure(outcome: Outcome) -> FailureNote:
    message = outcome.message or "; ".join(outcome.refused) or str(outcome.status)
    return FailureNote(str(outcome.change.address), _bounded(message))


def _bounded_problem(problem: Diagnostic) -> Diagnostic:
    return replace(problem, detail=_bounded(problem.detail))


def _bounded(text: str) -> str:
    """A text of the API or of a manifest, cut where it is too long for a report of many stacks."""
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def stack_file(id: StackId, base: Path = HERE) -> str:
    """The path of a stack file; a few are named `reconciler.yml` instead."""
    folder = base / id.folder
    other = folder / STACK_FILES[1]
    return (other if other.is_file() else folder / STACK_FILES[0]).as_posix()


def next_command(id: StackId, status: StackStatus, reason: str, base: Path = HERE) -> str:
    """The command that shows more of a stack, or that a person runs next; empty if in sync."""
    if status in (StackStatus.IN_SYNC, StackStatus.APPLIED):
        return ""
    words = ["reconciler"]
    folder = (base / id.folder).as_posix()
    if folder.startswith("-"):  # it would read as an option
        folder = f"./{folder}"
    if folder != ".":
        words += ["-C", folder]
    # A stack without environments takes none.
    if id.environment not in ("", "default"):
        words += ["-e", id.environment]
    if not id.environment or reason == "ConfigurationInvalid":
        words.append("validate")
    elif status is StackStatus.DRIFTED:
        words += ["drift", "--blame"]
    else:
        words.append("plan")
    return shlex.join(words)
