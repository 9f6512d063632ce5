"""A rehearsal as text, JSON, Markdown, JUnit XML and SARIF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from reconciler.model.change import Action
from reconciler.model.finding import CaseVerdict, Finding, FindingRule, Level
from reconciler.model.rehearsal import (
    Rehearsal,
    RehearsalCheck,
    RehearsedStep,
    RouteCalls,
)
from reconciler.model.report import Report, ReportContext
from reconciler.render.escape import code_span, fenced, prose, terminal
from reconciler.render.jsonview import document
from reconciler.render.junit import JUnitRenderer
from reconciler.render.phrases import duration
from reconciler.render.report_renderer import ReportRenderer
from reconciler.render.sarif import SarifRenderer
from reconciler.render.sections import COMMENT_LIMIT, Section, assemble
from reconciler.render.tables import text_table
from reconciler.render.values import count

FORMAT_VERSION = "1.0"
_WORDS = {CaseVerdict.PASSED: "ok", CaseVerdict.FAILED: "FAILED", CaseVerdict.SKIPPED: "skipped"}
_SYMBOLS = {CaseVerdict.PASSED: "✅", CaseVerdict.FAILED: "❌", CaseVerdict.SKIPPED: "⚪"}
_FOR_ALL = "`reconciler rehearse --format json`"


def as_text(rehearsal: Rehearsal) -> str:
    """The order of the changes, the calls, the time, the checks, and what is not known."""
    blocks = [_lines(_headline(rehearsal))]
    if rehearsal.steps:
        rows = [_step_row(at, step) for at, step in enumerate(rehearsal.steps, start=1)]
        headers = ("", "", "Change", "Outcome")
        blocks.append(text_table(headers, rows, numbers=(0,)))
    if rehearsal.applying:
        rows = [_call_row(route) for route in rehearsal.applying]
        headers = ("Calls", "Refused", "Route", "Key")
        blocks.append(text_table(headers, rows, numbers=(0, 1)))
    blocks += [_lines(title, *_indented(lines)) for title, lines in _notes(rehearsal)]
    blocks.append(_lines("Checks:", *_check_lines(rehearsal.checks)))
    blocks.append(_lines(verdict(rehearsal)))
    return "\n".join(blocks)


def as_json(rehearsal: Rehearsal) -> str:
    """Everything, for programs."""
    rollback = rehearsal.rollback
    return document(
        {
            "format_version": FORMAT_VERSION,
            "stack": rehearsal.plan.stack,
            "environment": rehearsal.plan.environment,
            "passed": rehearsal.passed,
            "source": rehearsal.source,
            "read_at": _moment(rehearsal.read_at),
            "saved_plan": rehearsal.saved_plan or None,
            "counts": {str(action): n for action, n in rehearsal.plan.counts().items()},
            "steps": [_fields(step, "address action status message") for step in rehearsal.steps],
            "calls": {
                "reading": [_fields(route, _ROUTE) for route in rehearsal.reading],
                "applying": [_fields(route, _ROUTE) for route in rehearsal.applying],
            },
            "pace": {
                **_fields(rehearsal.pace, "requests_per_minute slowest_route"),
                "reading_seconds": round(rehearsal.pace.reading_seconds, 1),
                "applying_seconds": round(rehearsal.pace.applying_seconds, 1),
            },
            "checks": [
                {"name": check.name, "verdict": check.verdict.value, "detail": check.detail}
                for check in rehearsal.checks
            ],
            "refusals": list(rehearsal.refusals),
            "api_refusals": list(rehearsal.api_refusals),
            "rollback": None
            if rollback is None
            else {"changes": list(rollback.changes), "obstacles": list(rollback.obstacles)},
            "withheld_keys": list(rehearsal.withheld_keys),
            "faults": list(rehearsal.faults),
            "unread": list(rehearsal.unread),
            "not_modelled": list(rehearsal.not_modelled),
        }
    )


_ROUTE = "method path calls refused is_admin"


def as_markdown(rehearsal: Rehearsal, *, limit: int = COMMENT_LIMIT) -> str:
    """A comment for a pull request; at most `limit` characters."""
    symbol = "✅" if rehearsal.passed else "❌"
    head = f"### {symbol} {prose(_headline(rehearsal))}\n\n{prose(verdict(rehearsal))}\n\n"
    sections = [Section(partial(_markdown_check, check), "check") for check in rehearsal.checks]
    for title, lines in _notes(rehearsal):
        sections.append(Section(partial(_folded, title, lines), f"list: {title}"))
    if rehearsal.applying:
        rows = [" ".join(_call_row(route)) for route in rehearsal.applying]
        sections.append(Section(partial(_folded, "Calls by route", rows), "list of calls"))
    if rehearsal.steps:
        steps = [_step_line(step) for step in rehearsal.steps]
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
    first, *rest = check.detail.split("\n")
    return Finding(
        REHEARSAL,
        first or check.name,
        level=Level.ERROR if check.verdict is CaseVerdict.FAILED else Level.NONE,
        verdict=check.verdict,
        subject=check.name,
        detail="\n".join(rest),
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
    failed = [check for check in rehearsal.checks if check.verdict is CaseVerdict.FAILED]
    if rehearsal.refusals:
        return "The rehearsal failed: the plan is refused, so it was not applied."
    if failed:
        return f"The rehearsal failed: {count(len(failed), 'check')} failed."
    return "The rehearsal succeeded. Nothing was changed but the copy."


def _headline(rehearsal: Rehearsal) -> str:
    plan = rehearsal.plan
    what = rehearsal.saved_plan or "a new plan"
    when = _moment(rehearsal.read_at)
    where = f"{plan.stack}/{plan.environment}"
    return f"Rehearsal of {what} for {where}, on a copy of {rehearsal.source} as of {when}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _notes(rehearsal: Rehearsal) -> Iterator[tuple[str, Sequence[str]]]:
    """The titles and lines of what is no check."""
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
    read = sum(route.calls for route in rehearsal.reading)
    made = sum(route.calls for route in rehearsal.applying)
    yield f"{duration(pace.reading_seconds)} for reading ({count(read, 'call')})"
    slowest = f", most of it for {pace.slowest_route}" if pace.slowest_route else ""
    yield f"{duration(pace.applying_seconds)} for applying ({count(made, 'call')}){slowest}"


def _fields(value: Any, names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names.split()}


def _step_row(number: int, step: RehearsedStep) -> list[str]:
    outcome = f"{step.status}: {step.message}" if step.message else step.status
    return [str(number), Action(step.action).symbol, step.address, outcome]


def _step_line(step: RehearsedStep) -> str:
    message = f" {step.status}: {step.message}" if step.message else ""
    return f"{Action(step.action).symbol} {step.address}{message}"


def _call_row(route: RouteCalls) -> list[str]:
    key = "admin" if route.is_admin else "project"
    return [str(route.calls), str(route.refused or ""), f"{route.method} {route.path}", key]


def _check_lines(checks: Sequence[RehearsalCheck]) -> Iterator[str]:
    for check in checks:
        yield f"  {_WORDS[check.verdict]:8} {check.name}"
        yield from (f"           {line}" for line in check.detail.split("\n") if line)


def _markdown_check(check: RehearsalCheck) -> str:
    details = [line for line in check.detail.split("\n") if line]
    shown = "".join(f"\n  - {code_span(line)}" for line in details)
    return f"- {_SYMBOLS[check.verdict]} {prose(check.name)}{shown}\n"


def _folded(title: str, lines: Sequence[str]) -> str:
    return f"\n<details><summary>{prose(title)}</summary>\n\n{fenced(list(lines))}\n\n</details>\n"


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _lines(*lines: str) -> str:
    return "".join(f"{terminal(line)}\n" for line in lines)
