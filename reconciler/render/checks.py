"""Results of checks as text, Markdown, JSON and JUnit XML.

Addresses come from manifests, and findings quote API responses; both are untrusted and escaped
here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from reconciler.model.checking import CheckFinding, CheckOutcome, CheckReport, CheckStatus
from reconciler.render.escape import code_span, prose, terminal
from reconciler.render.jsonview import document
from reconciler.render.lines import Line, Span, cells, line, padded, painted
from reconciler.render.sections import COMMENT_LIMIT, Section, assemble
from reconciler.render.values import count

_SYMBOLS = {
    CheckStatus.PASSED: ("✓", "green"),
    CheckStatus.FAILED: ("✗", "red"),
    CheckStatus.ERROR: ("✗", "red"),
    CheckStatus.SKIPPED: ("-", "dim"),
}
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NOT_IN_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def totals(report: CheckReport) -> str:
    """`3 checks: 2 passed, 1 failed.`"""
    counts = report.counts()
    parts = []
    for status in CheckStatus:
        number = counts[status]
        if number and status is CheckStatus.ERROR:
            parts.append(count(number, "error"))
        elif number:
            parts.append(f"{number} {status}")
    stopped = " The run was interrupted." if report.interrupted else ""
    checks = count(len(report.outcomes), "check")
    return f"{checks}: {', '.join(parts) or 'none declared'}.{stopped}"


def text_view(report: CheckReport, *, color: bool = False) -> str:
    """A line per check with its findings below, and a line of totals."""
    return painted(check_lines(report), color=color)


def check_lines(report: CheckReport) -> list[Line]:
    """The lines of `text_view`, for callers that add them to a larger report."""
    width = max((cells(str(outcome.address)) for outcome in report.outcomes), default=0)
    lines: list[Line] = []
    for outcome in report.outcomes:
        lines += _lines(outcome, width)
    if lines:
        lines.append(line(""))
    return [*lines, line(Span(totals(report), "bold"))]


def _lines(outcome: CheckOutcome, width: int) -> Iterator[Line]:
    symbol, style = _SYMBOLS[outcome.status]
    head = line(Span(f"  {symbol} ", style), Span(padded(str(outcome.address), width), "bold"))
    if outcome.status is CheckStatus.SKIPPED:
        yield (*head, *line(Span(f"   not run: {outcome.message}", "dim")))
        yield from _notes(outcome)
        return
    yield (*head, *line(f"   {outcome.what}", Span(f"   {outcome.seconds:.1f} s", "dim")))
    if outcome.status is not CheckStatus.PASSED and outcome.location:
        yield line("      ", Span(str(outcome.location), "dim"))
    for text in _complaints(outcome):
        yield line("      ", Span(text, style))
    yield from _notes(outcome)


def _notes(outcome: CheckOutcome) -> Iterator[Line]:
    for note in outcome.notes:
        yield line("      ", Span("warning: ", "yellow"), note)


def _complaints(outcome: CheckOutcome) -> list[str]:
    return [text for text in (*map(str, outcome.findings), outcome.message) if text]


def markdown_view(report: CheckReport, *, limit: int = COMMENT_LIMIT) -> str:
    """A table for a comment, failures first; the last rows are left out beyond `limit`."""
    head = f"**{prose(totals(report))}**\n\n"
    if report.outcomes:
        head += "| | Check | Problem |\n|---|---|---|\n"
    ordered = sorted(report.outcomes, key=lambda outcome: outcome.status is CheckStatus.PASSED)
    sections = [Section(partial(_row, outcome), "check") for outcome in ordered]
    return assemble(head, sections, "", "the command with `--format text`", limit)


def _row(outcome: CheckOutcome) -> str:
    texts = [prose(text).replace("|", "\\|") for text in (*_complaints(outcome), *outcome.notes)]
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
        "status": outcome.status.value,
        "what": outcome.what,
        "place": str(outcome.location) if outcome.location else None,
        "seconds": round(outcome.seconds, 3),
        "findings": list(map(_finding, outcome.findings)),
        "message": outcome.message,
        "notes": list(outcome.notes),
    }


def _finding(finding: CheckFinding) -> dict[str, str]:
    return {"about": finding.about, "message": finding.message}


def junit_view(report: CheckReport) -> str:
    """JUnit XML, which CI systems read; the checks of a project share a class name."""
    counts = report.counts()
    numbers = {
        "tests": str(len(report.outcomes)),
        "failures": str(counts[CheckStatus.FAILED]),
        "errors": str(counts[CheckStatus.ERROR]),
        "skipped": str(counts[CheckStatus.SKIPPED]),
        "time": f"{report.seconds:.3f}",
    }
    name = f"{report.stack}/{report.environment}"
    cases = "".join(_case(outcome) for outcome in report.outcomes)
    suite = f"  <testsuite{_attributes({'name': name, **numbers})}>\n{cases}  </testsuite>\n"
    return f"{_XML}<testsuites{_attributes(numbers)}>\n{suite}</testsuites>\n"


def junit_error(name: str, messages: Sequence[str]) -> str:
    """A suite with a single case, for a run that failed before any check."""
    numbers = {"tests": "1", "failures": "0", "errors": "1", "skipped": "0", "time": "0.000"}
    first = _attributes({"message": messages[0]}) if messages else ""
    text = "&#10;".join(map(_xml, messages))
    case = _attributes({"classname": "reconciler", "name": name, "time": "0.000"})
    return (
        f"{_XML}<testsuites{_attributes(numbers)}>\n"
        f"  <testsuite{_attributes({'name': name, **numbers})}>\n"
        f"    <testcase{case}><error{first}>{text}</error></testcase>\n"
        "  </testsuite>\n</testsuites>\n"
    )


def _case(outcome: CheckOutcome) -> str:
    address = outcome.address
    classname = ".".join(filter(None, (address.kind, address.project)))
    case = {"classname": classname, "name": address.name, "time": f"{outcome.seconds:.3f}"}
    if outcome.location:
        case["file"] = outcome.location.file
        case["line"] = str(outcome.location.line)
    notes = f"<system-err>{_xml(' '.join(outcome.notes))}</system-err>" if outcome.notes else ""
    inner = f"{_verdict(outcome)}{notes}"
    tag = f"testcase{_attributes(case)}"
    return f"    <{tag}>{inner}</testcase>\n" if inner else f"    <{tag}/>\n"


def _verdict(outcome: CheckOutcome) -> str:
    complaints = _complaints(outcome)
    first = _attributes({"message": complaints[0]}) if complaints else ""
    match outcome.status:
        case CheckStatus.PASSED:
            return ""
        case CheckStatus.SKIPPED:
            return f"<skipped{first}/>"
        case status:
            tag = "failure" if status is CheckStatus.FAILED else "error"
            return f"<{tag}{first}>{'&#10;'.join(map(_xml, complaints))}</{tag}>"


def _attributes(values: dict[str, str]) -> str:
    return "".join(f' {name}="{_xml(value)}"' for name, value in values.items())


def _xml(text: str) -> str:
    return html.escape(_NOT_IN_XML.sub("\ufffd", terminal(text)), quote=True)
