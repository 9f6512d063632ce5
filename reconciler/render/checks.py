"""What became of checks, for people, programs and CI: text, Markdown, JSON and JUnit's XML.

Addresses come from manifests, and what findings quote from answers: both are of strangers, and are escaped here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from reconciler.model.checking import CheckOutcome, CheckReport, CheckStatus
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
_NOT_IN_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def totals(report: CheckReport) -> str:
    """One sentence that counts."""
    counts = report.counts()
    parts = [f"{counts[status]} {status}" for status in CheckStatus if counts[status]]
    errors = counts[CheckStatus.ERROR]
    words = ", ".join(parts).replace(f"{errors} error", count(errors, "error")) if errors else ", ".join(parts)
    stopped = " The run was stopped." if report.interrupted else ""
    return f"{count(len(report.outcomes), 'check')}: {words or 'none declared'}.{stopped}"


def text_view(report: CheckReport, *, color: bool = False) -> str:
    """A line for each check, below it what was not as expected, and a line that counts."""
    return painted(check_lines(report), color=color)


def check_lines(report: CheckReport) -> list[Line]:
    """The same, before anyone knows whether there will be colours."""
    width = max((cells(str(outcome.address)) for outcome in report.outcomes), default=0)
    lines = [part for outcome in report.outcomes for part in _lines(outcome, width)]
    return [*lines, *([line("")] if lines else []), line(Span(totals(report), "bold"))]


def _lines(outcome: CheckOutcome, width: int) -> Iterator[Line]:
    symbol, style = _SYMBOLS[outcome.status]
    head = line(Span(f"  {symbol} ", style), Span(padded(str(outcome.address), width), "bold"))
    if outcome.status is CheckStatus.SKIPPED:
        yield (*head, *line(Span(f"   not run: {outcome.message}", "dim")))
        yield from _notes(outcome)
        return
    yield (*head, *line(f"   {outcome.what}", Span(f"   {outcome.seconds:.1f} s", "dim")))
    if outcome.status is not CheckStatus.PASSED and outcome.place:
        yield line("      ", Span(str(outcome.place), "dim"))
    yield from (line("      ", Span(text, style)) for text in _complaints(outcome))
    yield from _notes(outcome)


def _notes(outcome: CheckOutcome) -> Iterator[Line]:
    yield from (line("      ", Span("warning: ", "yellow"), note) for note in outcome.notes)


def _complaints(outcome: CheckOutcome) -> list[str]:
    return [*map(str, outcome.findings), *([outcome.message] if outcome.message else [])]


def markdown_view(report: CheckReport, *, limit: int = COMMENT_LIMIT) -> str:
    """A table for a comment, the last rows left out where it would be too long."""
    head = f"**{prose(totals(report))}**\n\n" + (
        "| | Check | What is wrong |\n|---|---|---|\n" if report.outcomes else ""
    )
    ordered = sorted(report.outcomes, key=lambda outcome: outcome.status is CheckStatus.PASSED)
    sections = [Section(partial(_row, outcome), "check") for outcome in ordered]
    return assemble(head, sections, "", "it as text", limit)


def _row(outcome: CheckOutcome) -> str:
    texts = [prose(text).replace("|", "\\|") for text in (*_complaints(outcome), *outcome.notes)]
    address = code_span(str(outcome.address), in_table=True)
    return f"| {_SYMBOLS[outcome.status][0]} {outcome.status} | {address} | {'<br>'.join(texts)} |\n"


def json_view(report: CheckReport) -> str:
    """The report as a document."""
    return document(as_json(report))


def as_json(report: CheckReport) -> dict[str, Any]:
    """The report as a map of JSON, for whoever adds it to a document of theirs."""
    return {
        "stack": report.stack,
        "environment": report.environment,
        "passed": report.passed,
        "interrupted": report.interrupted,
        "calls": report.calls,
        "seconds": round(report.seconds, 3),
        "summary": {status.value.replace(" ", "_"): number for status, number in report.counts().items()},
        "checks": [_item(outcome) for outcome in report.outcomes],
    }


def _item(outcome: CheckOutcome) -> dict[str, Any]:
    return {
        "address": str(outcome.address),
        "status": outcome.status.value,
        "what": outcome.what,
        "place": str(outcome.place) if outcome.place else None,
        "seconds": round(outcome.seconds, 3),
        "findings": [{"about": finding.about, "message": finding.message} for finding in outcome.findings],
        "message": outcome.message,
        "notes": list(outcome.notes),
    }


def junit_view(report: CheckReport) -> str:
    """XML as JUnit writes it, which every CI reads; a project's checks are a class there."""
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
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites{_attributes(numbers)}>\n{suite}</testsuites>\n'


def junit_error(name: str, messages: Sequence[str]) -> str:
    """A suite of one case that ended in an error before any check was made."""
    numbers = {"tests": "1", "failures": "0", "errors": "1", "skipped": "0", "time": "0.000"}
    first = _attributes({"message": messages[0]}) if messages else ""
    text = "&#10;".join(map(_xml, messages))
    case = _attributes({"classname": "reconciler", "name": name, "time": "0.000"})
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<testsuites{_attributes(numbers)}>\n"
        f"  <testsuite{_attributes({'name': name, **numbers})}>\n"
        f"    <testcase{case}><error{first}>{text}</error></testcase>\n"
        "  </testsuite>\n</testsuites>\n"
    )


def _case(outcome: CheckOutcome) -> str:
    address = outcome.address
    where = {"file": outcome.place.file, "line": str(outcome.place.line)} if outcome.place else {}
    classname = ".".join(part for part in (address.kind, address.project) if part)
    case = {"classname": classname, "name": address.name, "time": f"{outcome.seconds:.3f}", **where}
    notes = f"<system-err>{_xml(' '.join(outcome.notes))}</system-err>" if outcome.notes else ""
    inner = f"{_verdict(outcome)}{notes}"
    return (
        f"    <testcase{_attributes(case)}>{inner}</testcase>\n" if inner else f"    <testcase{_attributes(case)}/>\n"
    )


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
