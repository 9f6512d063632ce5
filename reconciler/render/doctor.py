"""An examination as text, JSON and Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import to_builtins

from reconciler.model.doctor import (
    DoctorFinding,
    Examination,
    FindingStatus,
    KeyReport,
    ReadPermission,
)
from reconciler.render.escape import code_span, prose, terminal
from reconciler.render.jsonview import document
from reconciler.render.phrases import capitalized, cost_of
from reconciler.render.sections import COMMENT_LIMIT, Section, assemble, sections_of
from reconciler.render.values import count, enclosed, redacted

FORMAT_VERSION = "1.0"
_MARKS = {
    FindingStatus.OK: "ok",
    FindingStatus.UNKNOWN: "?",
    FindingStatus.WARNING: "warning",
    FindingStatus.ERROR: "ERROR",
}
_SIGNS = {
    FindingStatus.OK: "✅",
    FindingStatus.UNKNOWN: "❔",
    FindingStatus.WARNING: "⚠️",
    FindingStatus.ERROR: "❌",
}


def as_text(examination: Examination) -> str:
    """A line for each finding, with its cure below; then the calls to allow; then the totals."""
    findings = examination.findings
    width = max((len(finding.topic) for finding in findings), default=0)
    lines = []
    for finding in findings:
        mark = _MARKS[finding.status]
        lines.append(f"{mark:<7}  {finding.topic:<{width}}  {finding.sentence}")
        indent = " " * (width + 11)
        lines += (f"{indent}{line}" for line in finding.cure.splitlines())
    # A restricted key needs permissions for all calls of its kinds, far more than fit in a terminal.
    for name, needs in examination.needs.items():
        key = "a project's key"
        if name == "admin":
            key = "an admin key"
        reads, writes = count(len(needs.plan), "sort"), count(len(needs.apply), "sort")
        sentence = f"To plan, {key} makes {reads} of reads; to apply, also {writes} of writes"
        lines += ["", f"{sentence} (--format json lists them). Kinds:"]
        lines.append(f"  {', '.join(needs.kinds)}")
    lines += ["", _totals(examination)]
    return "".join(f"{terminal(redacted(line)).rstrip()}\n" for line in lines)


def as_json(examination: Examination) -> str:
    """Every finding, every list by key, and the calls to allow."""
    return document(
        {
            "format_version": FORMAT_VERSION,
            "stack": examination.stack,
            "environment": examination.environment,
            "base_url": examination.base_url,
            "healthy": examination.is_healthy,
            "calls": examination.calls,
            "seconds": examination.seconds,
            "findings": _masked(examination.findings),
            "keys": _masked(examination.keys),
            "pace": _masked(examination.pace),
            "needs": _masked(examination.needs),
        }
    )


def as_markdown(examination: Examination, *, limit: int = COMMENT_LIMIT) -> str:
    """A comment for a pull request or an issue; at most `limit` characters."""
    head = f"### Doctor: {prose(_headline(examination))}\n\n"
    sections = sections_of(examination.findings, _markdown_finding, "finding")
    sections += sections_of(examination.keys, _markdown_key, "table of a key")
    for name, needs in examination.needs.items():
        calls = {"plan": needs.plan, "apply": needs.apply}
        sections.append(Section(partial(_markdown_needs, name, calls), "list of calls"))
    foot = f"\n{prose(_totals(examination))}\n"
    return assemble(head, sections, foot, "`reconciler doctor --format json`", limit)


FORMATS: dict[str, Callable[[Examination], str]] = {
    "text": as_text,
    "json": as_json,
    "markdown": as_markdown,
}
"""The formats of an examination."""


def _headline(examination: Examination) -> str:
    statuses = Counter(finding.status for finding in examination.findings)
    parts = []
    if errors := statuses[FindingStatus.ERROR]:
        parts.append(count(errors, "error"))
    if warnings := statuses[FindingStatus.WARNING]:
        parts.append(count(warnings, "warning"))
    return " and ".join(parts) or "nothing is wrong"


def _totals(examination: Examination) -> str:
    text = _headline(examination)
    return f"{capitalized(text)}. {cost_of(examination.calls, examination.seconds)}."


def _markdown_finding(finding: DoctorFinding) -> str:
    cure = " ".join(finding.cure.split())
    advice = enclosed(" ", prose(redacted(cure)))
    sentence = prose(redacted(finding.sentence))
    return f"- {_SIGNS[finding.status]} **{prose(finding.topic)}**: {sentence}{advice}\n"


def _markdown_key(report: KeyReport) -> str:
    lines = [f"\n<details><summary>{prose(report.source)}</summary>\n", "| List | Readable | Use |"]
    lines.append("| --- | --- | --- |")
    for access in report.access:
        uses = ", ".join(access.needs)
        path = code_span(access.path, in_table=True)
        lines.append(f"| {path} | {_yes_or_no(access.readable)} | {prose(uses)} |")
    return "\n".join([*lines, "\n</details>\n\n"])


def _yes_or_no(readable: ReadPermission) -> str:
    if readable is ReadPermission.ABSENT:
        return "no such list"
    return readable.value


def _markdown_needs(name: str, calls: Mapping[str, tuple[str, ...]]) -> str:
    lines = [f"\n<details><summary>Calls of the {name} key</summary>\n"]
    for use, routes in calls.items():
        lines.append(f"\nTo {use}:\n")
        lines += (f"- {code_span(route)}" for route in routes)
    return "\n".join([*lines, "\n</details>\n\n"])


def _masked(value: Any) -> Any:
    """A struct as JSON, with everything in its texts that looks like a key replaced by dots."""
    return _masked_texts(to_builtins(value))


def _masked_texts(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: _masked_texts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_masked_texts, value))
    return value
