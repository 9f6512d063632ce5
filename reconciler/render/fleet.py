"""Reports of fleets in every format: worst first, on one page; stacks in sync are a count.

JUnit, SARIF, GitLab and GitHub show `fleet_findings`. All formats share the sentences of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from msgspec.structs import asdict

from reconciler.model.diagnostic import Diagnostic, SourceLocation
from reconciler.model.finding import CaseVerdict, Finding, FindingRule, Level
from reconciler.model.fleet import (
    MOST_NOTES,
    DriftNote,
    FailureNote,
    FleetReport,
    LossNote,
    StackHealth,
    StackReport,
    StackStatus,
)
from reconciler.render import phrases
from reconciler.render.escape import code_span, prose
from reconciler.render.findings import PROBLEMS
from reconciler.render.jsonview import document
from reconciler.render.lines import MOST_COLUMN, Line, StyledText, line, padded
from reconciler.render.sections import Section
from reconciler.render.values import count, enclosed, grouped, redacted, tally

FORMAT_VERSION = "1.0"

STYLES = {
    StackStatus.FAILED: "bold red",
    StackStatus.REFUSED: "bold red",
    StackStatus.LOCKED: "bold yellow",
    StackStatus.DRIFTED: "bold yellow",
    StackStatus.PENDING: "yellow",
    StackStatus.INTERRUPTED: "yellow",
    StackStatus.APPLIED: "green",
    StackStatus.IN_SYNC: "green",
}
_SIGNS = {
    StackStatus.FAILED: "❌",
    StackStatus.REFUSED: "⛔",
    StackStatus.LOCKED: "🔒",
    StackStatus.DRIFTED: "⚠️",
    StackStatus.PENDING: "🟡",
    StackStatus.INTERRUPTED: "⏸️",
    StackStatus.APPLIED: "✅",
    StackStatus.IN_SYNC: "✅",
}
_LEVELS = {
    StackStatus.FAILED: (Level.ERROR, CaseVerdict.ERROR),
    StackStatus.REFUSED: (Level.ERROR, CaseVerdict.FAILED),
    StackStatus.LOCKED: (Level.WARNING, CaseVerdict.SKIPPED),
    StackStatus.DRIFTED: (Level.WARNING, CaseVerdict.FAILED),
    StackStatus.PENDING: (Level.NONE, CaseVerdict.PASSED),
    StackStatus.INTERRUPTED: (Level.NOTE, CaseVerdict.SKIPPED),
    StackStatus.APPLIED: (Level.NONE, CaseVerdict.PASSED),
    StackStatus.IN_SYNC: (Level.NONE, CaseVerdict.PASSED),
}
_HELP = {
    StackStatus.FAILED: "The stack could not be planned, or not all of it was applied.",
    StackStatus.REFUSED: "A guard, a policy or a missing approval stopped it.",
    StackStatus.LOCKED: "Another run held the lock of its state.",
    StackStatus.DRIFTED: "Somebody changed its objects outside reconciler.",
}
_QUIET = (StackStatus.APPLIED, StackStatus.IN_SYNC)
# The number of stacks of a status that have notes in text; the others have a line each.
_MOST_DETAILED = 30
# The number of stacks of a status that have a line in text.
_MOST_LINES = 60
# The number of notes of one kind for a stack, unless everything is shown.
_MOST_SHOWN = 5
_INDENT = "      "


class StackNote(NamedTuple):
    """A statement about a stack, below `head`: an address, a place, or nothing."""

    head: str
    text: str
    style: str = ""


# --- sentences


def headline(report: FleetReport) -> str:
    """`500 stacks: 3 failed, 12 drifted, 485 in sync`."""
    return count(len(report.stacks), "stack") + enclosed(": ", ", ".join(tally(report.counts)))


def stacks_by_status(report: FleetReport) -> dict[StackStatus, list[StackReport]]:
    """The stacks in groups, worst first."""
    return grouped(report.stacks, lambda stack: stack.status)


def is_quiet(status: StackStatus, command: str) -> bool:
    """Whether stacks of a status are only counted."""
    # A run lists the stacks that it changed; in a history, all stacks were applied at some time.
    if command == "report" and status is StackStatus.APPLIED:
        return True
    return status is StackStatus.IN_SYNC


def is_critical(stack: StackReport) -> bool:
    """Whether a stack needs attention first: it failed, was refused or loses something."""
    return stack.status.rank <= StackStatus.REFUSED.rank or stack.destructive > 0


def sentence_of(stack: StackReport) -> str:
    """The reason of a stack's status in one line: its message, or its numbers."""
    if stack.message:
        return " ".join(stack.message.split())
    if stack.health is not None:
        return health_text(stack.health)
    parts = []
    if stack.refused:
        parts.append(count(stack.refused, "refusal"))
    if stack.problems:
        parts.append(count(stack.problems, "problem"))
    if stack.outcomes:
        parts += tally(stack.outcomes)
    else:
        if stack.drifted:
            parts.append(f"{count(stack.drifted, 'object')} changed outside")
        if stack.unmanaged:
            parts.append(count(stack.unmanaged, "unmanaged object"))
        parts += tally(stack.counts, "to ")
    if stack.destructive:
        parts.append(f"{stack.destructive:,} destructive")
    return ", ".join(parts) or (stack.reason or "no changes")


def health_text(health: StackHealth) -> str:
    """`since 2026-11-30 08:15 UTC, last look 2026-11-30 22:10 UTC, …`."""
    parts = [f"since {_time(health.status_since)}"]
    if health.drift_since is not None:
        parts.append(f"drift since {_time(health.drift_since)}")
    looked = "never looked at"
    if health.last_look is not None:
        looked = f"last look {_time(health.last_look)}"
    parts.append(looked)
    if health.last_apply is not None:
        by = enclosed(" by ", health.last_apply_by)
        parts.append(f"last apply {_time(health.last_apply)}{by}: {health.last_apply_status}")
    if health.failures:
        parts.append(f"{count(health.failures, 'failure')} in {count(health.runs, 'run')}")
    return ", ".join(parts)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def notes_of(stack: StackReport, *, most: int) -> Iterator[StackNote]:
    """The notes of a stack: losses, refusals, problems, failures and drift, `most` of each."""
    # The totals are of the run: a report keeps a bounded number of notes of each stack.
    yield from _bounded(_losses(stack), stack.destructive, most, "destructive change")
    yield from _bounded(_refusals(stack), stack.refused, most, "refusal")
    problems = list(_problems(stack))
    repeated = len(stack.diagnostics) - len(problems)
    yield from _bounded(problems, stack.problems - repeated, most, "problem")
    changes = ("change not applied", "changes not applied")
    yield from _bounded(_failures(stack), stack.failed, most, *changes)
    yield from _bounded(_drift(stack), stack.drifted, most, "drifted object")


def _losses(stack: StackReport) -> Iterator[StackNote]:
    for loss in stack.losses:
        text = f"{loss.action} destroys: {loss.sentence}"
        yield StackNote(loss.address, text, "red")


def _refusals(stack: StackReport) -> Iterator[StackNote]:
    for sentence in stack.refusals:
        yield StackNote("", f"Refused: {sentence}", "red")


def _problems(stack: StackReport) -> Iterator[StackNote]:
    for problem in stack.diagnostics:
        if not _repeats(problem, stack):
            parts = filter(None, (problem.address, problem.summary, problem.detail))
            text = ": ".join(map(str, parts))
            where = phrases.where(problem.location)
            yield StackNote(where, " ".join(text.split()), "red")


def _failures(stack: StackReport) -> Iterator[StackNote]:
    for failure in stack.failures:
        yield StackNote(failure.address, failure.message, "red")


def _drift(stack: StackReport) -> Iterator[StackNote]:
    for drift in stack.drift:
        yield StackNote(drift.address, drift_text(drift), "yellow")


def drift_text(drift: DriftNote) -> str:
    """The drift of an object, and who caused it."""
    if drift.deleted:
        text = "deleted outside reconciler"
    elif drift.overdue and not drift.fields:
        text = drift.overdue
    else:
        text = "changed outside reconciler" + enclosed(": ", ", ".join(drift.fields))
    return text + enclosed(" (", drift.blame, ")")


def cost(report: FleetReport) -> str:
    """The calls and the time of the run, and the number of stacks that the audit log alone answered
    for.
    """
    text = phrases.cost_of(report.calls, report.seconds)
    by_log = sum(stack.answered_by_log for stack in report.stacks)
    if by_log:
        text += f"; {count(by_log, 'stack')} not read, as the audit log shows no change"
    return text


def _bounded(
    notes: Iterable[StackNote], total: int, most: int, word: str, plural: str = ""
) -> Iterator[StackNote]:
    """The first notes of `total`, and a note with the number of the others."""
    shown = list(islice(notes, most))
    yield from shown
    left = total - len(shown)
    if left > 0 and shown:
        others = count(left, f"more {word}", enclosed("more ", plural))
        yield StackNote("", f"… and {others}")
    elif left > 0:  # a history keeps no notes, only their numbers
        yield StackNote("", count(left, word, plural))


def _repeats(problem: Diagnostic, stack: StackReport) -> bool:
    """Whether the message of the stack says the same."""
    # The message may begin with the same sentence in the other case.
    return bool(stack.message) and problem.summary[1:] in stack.message


# --- text


def text_lines(report: FleetReport, *, full: bool) -> Iterator[Line]:
    """The stacks by status, worst first, and the totals; at most a few pages of a terminal."""
    width = max((len(str(stack.id)) for stack in report.stacks), default=0)
    width = min(width, MOST_COLUMN)
    for status, stacks in stacks_by_status(report).items():
        if is_quiet(status, report.command) and not full:
            continue
        yield line(StyledText(str(status).capitalize(), STYLES[status]), f": {len(stacks):,}")
        yield from _group_lines(stacks, width, full=full)
        yield ()
    yield line(StyledText(f"{headline(report)}.", "bold"), f" {cost(report)}.")
    if report.digest:
        yield line(StyledText(f"Fleet digest: {report.digest}", "dim"))


def _group_lines(stacks: Sequence[StackReport], width: int, *, full: bool) -> Iterator[Line]:
    shown = stacks
    if not full:
        shown = stacks[:_MOST_LINES]
    for index, stack in enumerate(shown):
        head = padded(str(stack.id), width)
        reason = ""
        if stack.status not in _QUIET:
            reason = enclosed("", stack.reason, ": ")
        yield line("  ", StyledText(head, "bold"), f"  {reason}{redacted(sentence_of(stack))}")
        if index < _MOST_DETAILED or full:
            yield from _note_lines(stack, full=full)
    if len(shown) < len(stacks):
        yield line(f"  … and {len(stacks) - len(shown):,} more (--full shows them)")


def _note_lines(stack: StackReport, *, full: bool) -> Iterator[Line]:
    for note in _shown_notes(stack, full=full):
        text = StyledText(redacted(note.text), note.style)
        yield line(_INDENT, enclosed("", note.head, "  "), text)
    if stack.next_command:
        yield line(_INDENT, StyledText(f"$ {stack.next_command}", "dim"))


def _shown_notes(stack: StackReport, *, full: bool) -> Iterator[StackNote]:
    if full:
        return notes_of(stack, most=MOST_NOTES)
    return notes_of(stack, most=_MOST_SHOWN)


# --- JSON


def as_json(report: FleetReport, findings: Sequence[Mapping[str, Any]] = ()) -> str:
    """Every stack, in sync or not. Documented in docs/fleets.md."""
    return document(
        {
            "format_version": FORMAT_VERSION,
            "command": report.command,
            "exit_code": report.exit_code,
            "digest": report.digest or None,
            "interrupted": report.interrupted,
            "calls": report.calls,
            "seconds": round(report.seconds, 3),
            "counts": {str(status): report.counts.get(status, 0) for status in StackStatus},
            "stacks": list(map(stack_view, report.stacks)),
            "findings": list(findings),
        }
    )


def stack_view(stack: StackReport) -> dict[str, Any]:
    """A stack as a JSON object."""
    return {
        "folder": stack.id.folder,
        "environment": stack.id.environment,
        "stack": stack.id.name,
        "command": stack.command,
        "status": str(stack.status),
        "exit_code": stack.exit_code,
        "reason": stack.reason,
        "message": redacted(stack.message),
        "organization": stack.organization,
        "digest": stack.digest or None,
        "changes": dict(stack.counts),
        "outcomes": dict(stack.outcomes),
        "destructive": stack.destructive,
        "losses": list(map(_loss_view, stack.losses)),
        "drifted": stack.drifted,
        "drift": list(map(_drift_view, stack.drift)),
        "refused": stack.refused,
        "refusals": list(map(redacted, stack.refusals)),
        "failed": stack.failed,
        "failures": list(map(_failure_view, stack.failures)),
        "problems": stack.problems,
        "diagnostics": list(map(_diagnostic_view, stack.diagnostics)),
        "unmanaged": stack.unmanaged,
        "calls": stack.calls,
        "shared_answers": stack.shared_answers,
        "answered_by_log": stack.answered_by_log,
        "began_at": stack.began_at,
        "ended_at": stack.ended_at,
        "next": stack.next_command,
        "standing": stack.health and asdict(stack.health),
    }


def _loss_view(loss: LossNote) -> dict[str, Any]:
    return {"address": loss.address, "action": loss.action, "destroys": redacted(loss.sentence)}


def _drift_view(drift: DriftNote) -> dict[str, Any]:
    return {
        "address": drift.address,
        "fields": list(drift.fields),
        "deleted": drift.deleted,
        "overdue": drift.overdue,
        "blame": redacted(drift.blame),
    }


def _failure_view(failure: FailureNote) -> dict[str, Any]:
    return {"address": failure.address, "message": redacted(failure.message)}


def _diagnostic_view(problem: Diagnostic) -> dict[str, Any]:
    view: dict[str, Any] = {
        "severity": str(problem.severity),
        "summary": redacted(problem.summary),
        "detail": redacted(problem.detail),
        "address": problem.address and str(problem.address),
        "file": None,
        "line": None,
        "column": None,
    }
    if problem.location is not None:
        place = problem.location
        view |= {"file": place.file, "line": place.line, "column": place.column}
    return view


# --- Markdown


def markdown_sections(report: FleetReport, *, full: bool) -> list[Section]:
    """A section for each stack that needs a look; `sections` fits them into a comment."""
    sections = []
    for stack in report.stacks:
        if is_quiet(stack.status, report.command):
            continue
        sections.append(
            Section(
                partial(_markdown_stack, stack, full=full),
                "stack",
                line=partial(_markdown_line, stack),
                group=f"{_SIGNS[stack.status]} {str(stack.status).capitalize()}",
                is_critical=is_critical(stack),
            )
        )
    return sections


def _markdown_stack(stack: StackReport, *, full: bool) -> str:
    items = []
    for note in _shown_notes(stack, full=full):
        head = ""
        if note.head:
            head = f"{code_span(note.head)} "
        items.append(f"- {head}{prose(redacted(note.text))}\n")
    if stack.next_command:
        items.append(f"- Next: {code_span(stack.next_command)}\n")
    if stack.digest:
        items.append(f"- Digest: {code_span(stack.digest)}\n")
    head = _markdown_line(stack).removeprefix("- ").rstrip()
    if not items:
        return f"{head}\n\n"
    opening = "<details>"
    if is_critical(stack):
        opening = "<details open>"
    # The head is outside of the summary, which is HTML and would show the escapes of Markdown.
    summary = f"{head}\n\n{opening}<summary>Details</summary>"
    return f"{summary}\n\n{''.join(items)}\n</details>\n\n"


def _markdown_line(stack: StackReport) -> str:
    reason = enclosed(" **", prose(stack.reason), "**")
    name = code_span(str(stack.id))
    sign = _SIGNS[stack.status]
    return f"- {sign} {name}{reason}: {prose(redacted(sentence_of(stack)))}\n"


# --- findings


def fleet_findings(report: FleetReport) -> Iterator[Finding]:
    """A finding for each stack, worst first, and for each problem that has a place in a file."""
    for stack in report.stacks:
        yield _stack_finding(stack)
        for problem in stack.diagnostics:
            if problem.location is not None:
                yield _problem_finding(stack, problem)


def _stack_finding(stack: StackReport) -> Finding:
    status = stack.status
    level, verdict = _LEVELS[status]
    name = str(status).replace(" ", "-")
    rule = FindingRule(f"stack-{name}", f"Stack {status}", _HELP.get(status, ""))
    lines = []
    for note in notes_of(stack, most=_MOST_SHOWN):
        head = enclosed("", note.head, ": ")
        lines.append(f"{head}{note.text}")
    if stack.next_command:
        lines.append(f"Next: {stack.next_command}")
    location = None
    if stack.file:
        location = SourceLocation(stack.file, 1, 1)
    return Finding(
        rule=rule,
        message=redacted(sentence_of(stack)),
        level=level,
        verdict=verdict,
        subject=str(stack.id),
        location=location,
        detail=redacted("\n".join(lines)),
        seconds=max(0.0, stack.ended_at - stack.began_at),
    )


def _problem_finding(stack: StackReport, problem: Diagnostic) -> Finding:
    rule, level, verdict = PROBLEMS[problem.severity]
    return Finding(
        rule=rule,
        message=redacted(problem.summary),
        level=level,
        verdict=verdict,
        subject=str(stack.id),
        key=f"{problem.address or ''}\0{problem.summary}\0{problem.detail}",
        location=problem.location,
        detail=redacted(problem.detail),
    )
