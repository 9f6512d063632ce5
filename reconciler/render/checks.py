"""Results of checks as text, Markdown and JSON.

Addresses come from manifests, and findings quote API responses; both are untrusted and escaped
here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.model.checking import CheckFinding, CheckOutcome, CheckReport, CheckStatus
from reconciler.render.escape import code_span, prose
from reconciler.render.jsonview import document
from reconciler.render.lines import Line, StyledText, cells, line, padded, painted
from reconciler.render.phrases import complaints
from reconciler.render.sections import COMMENT_LIMIT, assemble, sections_of
from reconciler.render.values import count

_SYMBOLS = {
    CheckStatus.PASSED: ("✓", "green"),
    CheckStatus.FAILED: ("✗", "red"),
    CheckStatus.ERROR: ("✗", "red"),
    CheckStatus.SKIPPED: ("-", "dim"),
}


def totals(report: CheckReport) -> str:
    """`3 checks: 2 passed, 1 failed.`"""
    counts = report.counts()
    parts = []
    for status in CheckStatus:
        number = counts[status]
        if number and status is CheckStatus.ERROR:
            parts.append(count(number, "error"))
        elif number:
            parts.append(f"{number:,} {status}")
    checks = count(len(report.outcomes), "check")
    text = f"{checks}: {', '.join(parts) or 'none declared'}."
    if report.interrupted:
        text += " The run was interrupted."
    return text


def text_view(report: CheckReport, *, color: bool = False) -> str:
    """A line per check with its findings below, and a line of totals."""
    return painted(check_lines(report), color=color)


def check_lines(report: CheckReport) -> list[Line]:
    """The lines of `text_view`, for callers that add them to a larger report."""
    # Unlike in plans, addresses of any length count: there are few checks, and all have one line.
    width = max((cells(str(outcome.address)) for outcome in report.outcomes), default=0)
    lines: list[Line] = []
    for outcome in report.outcomes:
        lines += _lines(outcome, width)
    if lines:
        lines.append(line(""))
    return [*lines, line(StyledText(totals(report), "bold"))]


def _lines(outcome: CheckOutcome, width: int) -> Iterator[Line]:
    symbol, style = _SYMBOLS[outcome.status]
    head = line(
        StyledText(f"  {symbol} ", style), StyledText(padded(str(outcome.address), width), "bold")
    )
    if outcome.status is CheckStatus.SKIPPED:
        yield (*head, *line(StyledText(f"   not run: {outcome.message}", "dim")))
        yield from _notes(outcome)
        return
    yield (*head, *line(f"   {outcome.what}", StyledText(f"   {outcome.seconds:.1f} s", "dim")))
    if outcome.status is not CheckStatus.PASSED and outcome.location:
        yield line("      ", StyledText(str(outcome.location), "dim"))
    for text in complaints(outcome):
        yield line("      ", StyledText(text, style))
    yield from _notes(outcome)


def _notes(outcome: CheckOutcome) -> Iterator[Line]:
    for note in outcome.notes:
        yield line("      ", StyledText("Warning: ", "yellow"), note)


def markdown_view(report: CheckReport, *, limit: int = COMMENT_LIMIT) -> str:
    """A table for a comment, failures first; the last rows are left out beyond `limit`."""
    head = f"**{prose(totals(report))}**\n\n"
    if report.outcomes:
        head += "| | Check | Problem |\n|---|---|---|\n"
    ordered = sorted(report.outcomes, key=lambda outcome: outcome.status is CheckStatus.PASSED)
    sections = sections_of(ordered, _row, "check")
    return assemble(head, sections, "", "the command with `--format text`", limit)


def _row(outcome: CheckOutcome) -> str:
    # A bar would end the cell.
    texts = [prose(text).replace("|", "\\|") for text in (*complaints(outcome), *outcome.notes)]
    symbol, _ = _SYMBOLS[outcome.status]
    address = code_span(str(outcome.address), in_table=True)
    return f"| {symbol} {outcome.status} | {address} | {'<br>'.join(texts)} |\n"


def json_view(report: CheckReport) -> str:
    """The report as a JSON document."""
    return document(as_json(report))


def as_json(report: CheckReport) -> dict[str, Any]:
    """The report as a JSON object, to embed in other documents."""
    summary = {}
    for status, number in report.counts().items():
        summary[status.value.replace(" ", "_")] = number
    return {
        "stack": report.stack,
        "environment": report.environment,
        "passed": report.passed,
        "interrupted": report.interrupted,
        "calls": report.calls,
        "seconds": round(report.seconds, 3),
        "summary": summary,
        "checks": list(map(_outcome, report.outcomes)),
    }


def _outcome(outcome: CheckOutcome) -> dict[str, Any]:
    return {
        "address": str(outcome.address),
        "project": outcome.address.project,
        "status": outcome.status.value,
        "what": outcome.what,
        "place": outcome.location and str(outcome.location),
        "seconds": round(outcome.seconds, 3),
        "findings": list(map(_finding, outcome.findings)),
        "message": outcome.message,
        "notes": list(outcome.notes),
    }


def _finding(finding: CheckFinding) -> dict[str, str]:
    return {"about": finding.about, "message": finding.message}
