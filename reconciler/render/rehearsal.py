"""A rehearsal as text, JSON, Markdown, JUnit XML and SARIF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from msgspec import to_builtins
from msgspec.structs import asdict

from reconciler.model.change import Action
from reconciler.model.finding import CaseVerdict, Finding, FindingRule, Level
from reconciler.model.rehearsal import (
    Rehearsal,
    RehearsalCheck,
    RehearsalVerdict,
    RehearsedStep,
    RouteCalls,
)
from reconciler.model.report import Report, ReportContext
from reconciler.render.escape import code_span, fenced, prose, terminal_lines
from reconciler.render.jsonview import document
from reconciler.render.junit import JUnitRenderer
from reconciler.render.phrases import duration
from reconciler.render.report_renderer import ReportRenderer
from reconciler.render.sarif import SarifRenderer
from reconciler.render.sections import COMMENT_LIMIT, Section, assemble, sections_of
from reconciler.render.tables import text_table
from reconciler.render.values import count, enclosed, filled_lines

FORMAT_VERSION = "1.0"
_WORDS = {
    RehearsalVerdict.PASSED: "ok",
    RehearsalVerdict.FAILED: "FAILED",
    RehearsalVerdict.SKIPPED: "skipped",
}
_SYMBOLS = {
    RehearsalVerdict.PASSED: "✅",
    RehearsalVerdict.FAILED: "❌",
    RehearsalVerdict.SKIPPED: "⚪",
}
_FOR_ALL = "`reconciler rehearse --format json`"


def as_text(rehearsal: Rehearsal) -> str:
    """The order of the changes, the calls, the time, the checks, and the unknowns."""
    return "\n".join(_text_blocks(rehearsal))


def _text_blocks(rehearsal: Rehearsal) -> Iterator[str]:
    yield terminal_lines([_headline(rehearsal)])
    if rehearsal.steps:
        rows = [_step_row(number, step) for number, step in enumerate(rehearsal.steps, 1)]
        yield text_table(("", "", "Change", "Outcome"), rows, numbers=(0,))
    if rehearsal.applying:
        rows = list(map(_call_row, rehearsal.applying))
        yield text_table(("Calls", "Refused", "Route", "Key"), rows, numbers=(0, 1))
    for title, lines in _notes(rehearsal):
        yield terminal_lines([title, *(f"  {line}" for line in lines)])
    yield terminal_lines(["Checks:", *_check_lines(rehearsal.checks)])
    yield terminal_lines([verdict(rehearsal)])


def as_json(rehearsal: Rehearsal) -> str:
    """Everything, for programs."""
    plan = rehearsal.plan
    return document(
        {
            "format_version": FORMAT_VERSION,
            "stack": plan.stack,
            "environment": plan.environment,
            "passed": rehearsal.passed,
            "source": rehearsal.source,
            "read_at": _moment(rehearsal.read_at),
            "saved_plan": rehearsal.saved_plan or None,
            "counts": to_builtins(plan.counts(), str_keys=True),
            "steps": list(map(to_builtins, rehearsal.steps)),
            "calls": {
                "reading": list(map(to_builtins, rehearsal.reading)),
                "applying": list(map(to_builtins, rehearsal.applying)),
            },
            "pace": {
                **asdict(rehearsal.pace),
                "reading_seconds": round(rehearsal.pace.reading_seconds, 1),
                "applying_seconds": round(rehearsal.pace.applying_seconds, 1),
            },
            "checks": list(map(to_builtins, rehearsal.checks)),
            "refusals": list(rehearsal.refusals),
            "api_refusals": list(rehearsal.api_refusals),
            "rollback": to_builtins(rehearsal.rollback),
            "withheld_keys": list(rehearsal.withheld_keys),
            "faults": list(rehearsal.faults),
            "unread": list(rehearsal.unread),
            "not_modelled": list(rehearsal.not_modelled),
        }
    )


def as_markdown(rehearsal: Rehearsal, *, limit: int = COMMENT_LIMIT) -> str:
    """A comment for a pull request; at most `limit` characters."""
    symbol = "✅" if rehearsal.passed else "❌"
    head = f"### {symbol} {prose(_headline(rehearsal))}\n\n{prose(verdict(rehearsal))}\n\n"
    sections = sections_of(rehearsal.checks, _markdown_check, "check")
    for title, lines in _notes(rehearsal):
        sections.append(Section(partial(_folded, title, lines), f"list: {title}"))
    if rehearsal.applying:
        calls = [" ".join(_call_row(route)) for route in rehearsal.applying]
        sections.append(Section(partial(_folded, "Calls by route", calls), "list of calls"))
    if rehearsal.steps:
        steps = list(map(_step_line, rehearsal.steps))
        sections.append(Section(partial(_folded, "Order of changes", steps), "list of changes"))
    return assemble(head, sections, "", _FOR_ALL, limit)


def as_junit(rehearsal: Rehearsal) -> str:
    """JUnit XML with a case for each check, which CI systems read."""
    return _rendered(JUnitRenderer, rehearsal)


def as_sarif(rehearsal: Rehearsal) -> str:
    """SARIF with a result for each check that failed, which code scanning reads."""
    return _rendered(SarifRenderer, rehearsal)


def _rendered(renderer: type[ReportRenderer], rehearsal: Rehearsal) -> str:
    plan = rehearsal.plan
    findings = tuple(map(_finding, rehearsal.checks))
    context = ReportContext(command="rehearse", findings=findings)
    title = f"rehearse {plan.stack}/{plan.environment}"
    return renderer(context).report(Report(title))


def _finding(check: RehearsalCheck) -> Finding:
    """A check in the terms that all reports share."""
    first, _, rest = check.detail.partition("\n")
    level = Level.NONE
    if check.verdict is RehearsalVerdict.FAILED:
        level = Level.ERROR
    return Finding(
        REHEARSAL,
        first or check.name,
        level=level,
        verdict=CaseVerdict(check.verdict),
        subject=check.name,
        detail=rest,
    )


REHEARSAL = FindingRule(
    "rehearsal", "Rehearsal", "An apply to a copy of the organization showed this."
)

FORMATS: dict[str, Callable[[Rehearsal], str]] = {
    "text": as_text,
    "json": as_json,
    "markdown": as_markdown,
    "junit": as_junit,
    "sarif": as_sarif,
}
"""The formats of a rehearsal."""


def verdict(rehearsal: Rehearsal) -> str:
    """One sentence: whether the rehearsal succeeded."""
    failed = sum(check.verdict is RehearsalVerdict.FAILED for check in rehearsal.checks)
    if rehearsal.refusals:
        return "The rehearsal failed: the plan is refused, so it was not applied."
    if failed:
        return f"The rehearsal failed: {count(failed, 'check')} failed."
    return "The rehearsal succeeded. Nothing was changed but the copy."


def _headline(rehearsal: Rehearsal) -> str:
    plan = rehearsal.plan
    source = rehearsal.saved_plan or "a new plan"
    stack = f"{plan.stack}/{plan.environment}"
    copy = f"a copy of {rehearsal.source} as of {_moment(rehearsal.read_at)}"
    return f"Rehearsal of {source} for {stack}, on {copy}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _notes(rehearsal: Rehearsal) -> Iterator[tuple[str, Sequence[str]]]:
    """The titles and lines of everything but the checks."""
    if rehearsal.refusals:
        yield "Refused:", rehearsal.refusals
    if rehearsal.api_refusals:
        yield "The API of the copy refused:", rehearsal.api_refusals
    if rehearsal.faults:
        yield "Faults during the apply:", rehearsal.faults
    if rehearsal.withheld_keys:
        yield "Keys that an apply would deliver (not delivered here):", rehearsal.withheld_keys
    yield _pace_title(rehearsal), list(_pace(rehearsal))
    rollback = rehearsal.rollback
    if rollback is not None:
        yield "A rollback would:", rollback.changes or ("change nothing",)
        if rollback.obstacles:
            yield "A rollback cannot:", rollback.obstacles
    if rehearsal.unread:
        yield "Could not be read, so it is not in the copy:", rehearsal.unread
    if rehearsal.not_modelled:
        yield "Not modelled for the kinds of this plan:", rehearsal.not_modelled


def _pace_title(rehearsal: Rehearsal) -> str:
    pace = f"{rehearsal.pace.requests_per_minute:g}"
    return f"At the live pace ({pace} a minute on each admin route), at least:"


def _pace(rehearsal: Rehearsal) -> Iterator[str]:
    pace = rehearsal.pace
    yield f"{duration(pace.reading_seconds)} for reading ({_calls(rehearsal.reading)})"
    slowest = enclosed(", most of it for ", pace.slowest_route)
    yield f"{duration(pace.applying_seconds)} for applying ({_calls(rehearsal.applying)}){slowest}"


def _calls(routes: Sequence[RouteCalls]) -> str:
    return count(sum(route.calls for route in routes), "call")


def _step_row(number: int, step: RehearsedStep) -> list[str]:
    outcome = step.status + enclosed(": ", step.message)
    return [f"{number:,}", Action(step.action).symbol, step.address, outcome]


def _step_line(step: RehearsedStep) -> str:
    # Markdown lists the order alone, and outcomes only if they differ from it.
    message = enclosed(f" {step.status}: ", step.message)
    return f"{Action(step.action).symbol} {step.address}{message}"


def _call_row(route: RouteCalls) -> list[str]:
    key = "project"
    if route.is_admin:
        key = "admin"
    refused = ""
    if route.refused:
        refused = f"{route.refused:,}"
    return [f"{route.calls:,}", refused, f"{route.method} {route.path}", key]


def _check_lines(checks: Sequence[RehearsalCheck]) -> Iterator[str]:
    for check in checks:
        yield f"  {_WORDS[check.verdict]:8} {check.name}"
        for line in filled_lines(check.detail):
            yield f"           {line}"


def _markdown_check(check: RehearsalCheck) -> str:
    shown = "".join(f"\n  - {code_span(line)}" for line in filled_lines(check.detail))
    return f"- {_SYMBOLS[check.verdict]} {prose(check.name)}{shown}\n"


def _folded(title: str, lines: Sequence[str]) -> str:
    return f"\n<details><summary>{prose(title)}</summary>\n\n{fenced(list(lines))}\n\n</details>\n"
