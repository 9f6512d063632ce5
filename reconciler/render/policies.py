"""Results of policies as text, Markdown and JSON.

Messages come from rules and manifests, which are untrusted; each format escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from reconciler.model.diagnostic import SourceLocation
from reconciler.model.policy import PolicyOutcome, PolicyReport, PolicyResult, PolicySummary
from reconciler.render.escape import code_span, prose
from reconciler.render.jsonview import source_range
from reconciler.render.lines import Line, StyledText, line, shortened
from reconciler.render.sections import Section, sections_of
from reconciler.render.values import count, filled_lines, grouped

# How many results of one policy and outcome are listed; the others are counted.
_MOST = 20
_MOST_MESSAGE = 1_000
_STYLES = {
    PolicyOutcome.PASS: ("✓", "green"),
    PolicyOutcome.FAIL: ("✗", "red"),
    PolicyOutcome.ERROR: ("✗", "red"),
    PolicyOutcome.UNDECIDED: ("?", "yellow"),
    PolicyOutcome.EXCEPTED: ("↷", "dim"),
}
_ICONS = {
    PolicyOutcome.FAIL: "❌",
    PolicyOutcome.ERROR: "❌",
    PolicyOutcome.UNDECIDED: "❔",
    PolicyOutcome.EXCEPTED: "⏭️",
}
_COUNTED = {
    PolicyOutcome.PASS: "passed",
    PolicyOutcome.FAIL: "failed",
    PolicyOutcome.UNDECIDED: "undecided",
    PolicyOutcome.ERROR: "with errors",
    PolicyOutcome.EXCEPTED: "excepted",
}


def totals(report: PolicyReport) -> str:
    """`Policies: 3 policies, 12 passed, 1 failed.`; empty without policies."""
    if not report.policies:
        return ""
    parts = [count(len(report.policies), "policy", "policies")]
    parts += [f"{number:,} {_COUNTED[outcome]}" for outcome, number in report.counts().items()]
    if len(parts) == 1:
        parts.append("nothing to check")
    return f"Policies: {', '.join(parts)}."


def verdict(result: PolicyResult) -> str:
    """A result in words, such as `fails (advisory)`."""
    how = str(result.severity)
    if result.override:
        how += ", overridden"
    if result.outcome is PolicyOutcome.FAIL:
        return f"fails ({how})"
    if result.outcome is PolicyOutcome.ERROR:
        return f"cannot be evaluated ({how})"
    return str(result.outcome)


def policy_lines(report: PolicyReport, *, refusing: bool) -> list[Line]:
    """A section with the results other than passes, and the totals.

    Without `refusing`, those that refuse a plan are left to its list of refusals.
    """
    if not report.policies:
        return []
    lines: list[Line] = []
    for group in _groups(report, refusing=refusing):
        for result in group[:_MOST]:
            lines += _lines(result)
        if len(group) > _MOST:
            lines.append(line("    ", StyledText(_omitted(group), "dim")))
    if lines:
        lines.insert(0, line(StyledText("Policies", "bold")))
        lines.append(line(""))
    head, _, rest = totals(report).partition(":")
    return [*lines, line(StyledText(f"{head}:", "bold"), rest)]


def _groups(report: PolicyReport, *, refusing: bool) -> list[list[PolicyResult]]:
    """The results to list, by policy and outcome."""
    shown = [result for result in report.results if refusing or not result.refuses]
    groups = grouped(shown, lambda result: (result.policy, result.outcome))
    return list(groups.values())


def _omitted(group: Sequence[PolicyResult]) -> str:
    first = group[0]
    return f"and {count(len(group) - _MOST, 'more resource')}: {first.policy} {verdict(first)}"


def _lines(result: PolicyResult) -> Iterator[Line]:
    symbol, style = _STYLES[result.outcome]
    head = f"{result.policy} {verdict(result)}"
    address = StyledText(f"{result.address}", "bold")
    yield line(StyledText(f"  {symbol} ", style), address, StyledText(f"   {head}", style))
    if result.location:
        yield line("      ", StyledText(str(result.location), "dim"))
    for text in result.message.split("\n"):
        yield line("      ", text)
    if result.override:
        yield line("      ", f"overridden: {result.override}")


def policy_sections(report: PolicyReport, *, refusing: bool) -> list[Section]:
    """A list item for each result other than a pass, and one for the totals."""
    if not report.policies:
        return []
    sections: list[Section] = []
    for group in _groups(report, refusing=refusing):
        sections += sections_of(group[:_MOST], _list_item, "policy result")
        if len(group) > _MOST:
            sections.append(Section(partial(_rest, group), "policy result"))
    return [*sections, Section(partial(_totals, report), "list of policy totals")]


def _totals(report: PolicyReport) -> str:
    return f"- {totals(report)}\n"


def _rest(group: Sequence[PolicyResult]) -> str:
    return f"- {_ICONS[group[0].outcome]} … {prose(_omitted(group))}\n"


def _list_item(result: PolicyResult) -> str:
    icon = _ICONS[result.outcome]
    about = f"{code_span(str(result.address))} policy {code_span(result.policy)}"
    text = f"- {icon} {about} {verdict(result)}"
    if result.location:
        text += f" ({code_span(str(result.location))})"
    lines = filled_lines(result.message)
    if result.override:
        lines.append(f"Overridden: {result.override}")
    for sentence in lines:
        text += f"  \n  {prose(shortened(sentence, _MOST_MESSAGE))}"
    return f"{text}\n"


def as_json(report: PolicyReport) -> dict[str, Any]:
    """All policies with their counts, and every result other than a pass."""
    return {
        "policies": list(map(_summary, report.policies)),
        "results": list(map(_result, report.results)),
        "counts": _counts(report.counts()),
        "refuses": bool(report.refusing),
    }


def _summary(policy: PolicySummary) -> dict[str, Any]:
    return {
        "name": policy.name,
        "severity": str(policy.severity),
        "description": policy.description,
        "range": _range(policy.location),
        "counts": _counts(policy.counts),
        "trusted": policy.is_trusted,
    }


def _result(result: PolicyResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "policy": result.policy,
        "address": str(result.address),
        "outcome": str(result.outcome),
        "severity": str(result.severity),
        "message": result.message,
        "refuses": result.refuses,
        "override": result.override or None,
        "range": _range(result.location),
        "policy_range": _range(result.policy_location),
    }


def _range(location: SourceLocation | None) -> dict[str, Any] | None:
    if location is None:
        return None
    return source_range(location)


def _counts(counts: Mapping[PolicyOutcome, int]) -> dict[str, int]:
    return {str(outcome): number for outcome, number in counts.items()}
