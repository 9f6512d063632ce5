"""Findings as workflow commands of GitHub Actions, and the values of its output file.

The runner obeys lines that begin with `::`, wherever they come from. Every text from outside is
escaped, so no name can end its command and begin another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from reconciler.model.change import Plan
from reconciler.model.finding import Finding, Level
from reconciler.model.fleet import FleetReport
from reconciler.model.plan_digest import plan_digest
from reconciler.model.report import Report
from reconciler.render.escape import terminal
from reconciler.render.report_renderer import ReportRenderer
from reconciler.render.values import count, enclosed

_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}
# GitHub shows this many annotations of a level for one step, and drops the others.
_MOST_EACH = 10
_MOST_CHARACTERS = 4_000
_NUMBERS = (
    "destructive",
    "refusals",
    "drifted",
    "create",
    "update",
    "replace",
    "delete",
    "adopt",
    "forget",
)


class GitHubRenderer(ReportRenderer):
    """An annotation for each problem, as many as GitHub shows."""

    def report(self, report: Report) -> str:
        """A line for each annotation; the last of a level says how many more there are."""
        levels: dict[Level, list[Finding]] = {level: [] for level in Level}
        for finding in self.findings(report):
            levels[finding.level].append(finding)
        lines: list[str] = []
        for level, name in _COMMANDS.items():
            lines += self._annotations(name, levels[level])
        return "".join(f"{line}\n" for line in lines)

    def _annotations(self, name: str, findings: Sequence[Finding]) -> Iterator[str]:
        shown = findings
        if len(findings) > _MOST_EACH:
            # The last one says how many there are.
            shown = findings[: _MOST_EACH - 1]
        for finding in shown:
            yield self._annotation(name, finding)
        if len(shown) < len(findings):
            others = count(len(findings) - len(shown), f"more {name}")
            yield workflow_command(name, f"{others}; the step summary and the report have all")

    def _annotation(self, name: str, finding: Finding) -> str:
        text = "\n".join(filter(None, (finding.sentence, finding.detail)))
        properties = {"title": f"{finding.rule.title} ({finding.id})"}
        # Without a place, GitHub shows an annotation with the job and not in the files.
        if finding.location:
            properties["file"] = self.context.path_of(finding.location)
            properties["line"] = str(finding.location.line)
            properties["col"] = str(finding.location.column)
        return workflow_command(name, text, properties)


def workflow_command(name: str, text: str, properties: Mapping[str, str] = {}) -> str:
    """A workflow command on one line, with everything in it escaped."""
    parts = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{name}{enclosed(' ', parts)}::{_data(text[:_MOST_CHARACTERS])}"


def output_values(plan: Plan | None, *, exit_code: int, plan_path: str) -> dict[str, str]:
    """The outputs of a step that runs one stack, which later steps of the job can read by name.

    A run that failed before it had a plan has the same outputs, all of them empty or 0.
    """
    values = {"changes": "false", "exitcode": str(exit_code), "plan-path": plan_path, "digest": ""}
    numbers: Counter[str] = Counter()
    if plan is not None:
        values["changes"] = str(not plan.is_empty).lower()
        values["digest"] = plan_digest(plan)
        numbers.update(plan.counts())
        numbers["destructive"] = len(plan.destructive)
        numbers["refusals"] = len(plan.refusals)
        numbers["drifted"] = len(plan.drift)
    return values | _number_texts(numbers)


def fleet_values(fleet: FleetReport, *, exit_code: int) -> dict[str, str]:
    """As `output_values`, for a step that runs a fleet: the sums of its stacks."""
    numbers: Counter[str] = Counter()
    for stack in fleet.stacks:
        numbers.update(stack.counts)
    is_changed = bool(numbers)
    for stack in fleet.stacks:
        numbers["destructive"] += stack.destructive
        numbers["refusals"] += stack.refused
        numbers["drifted"] += stack.drifted
    values = {
        "changes": str(is_changed).lower(),
        "exitcode": str(exit_code),
        "plan-path": "",
        "digest": fleet.digest,
    }
    return values | _number_texts(numbers)


def _number_texts(numbers: Counter[str]) -> dict[str, str]:
    return {name: str(numbers[name]) for name in _NUMBERS}


def output_file(values: Mapping[str, str], delimiter: str) -> str:
    """The values for the output file of a step; `delimiter` must be random, so no value ends early."""
    return "".join(f"{name}<<{delimiter}\n{value}\n{delimiter}\n" for name, value in values.items())


def _data(text: str) -> str:
    # Percent signs first, or those of the escaped line ends would be escaped again.
    escaped = text.replace("%", "%25")
    return "%0A".join(map(terminal, escaped.split("\n")))


def _property(text: str) -> str:
    # Unlike in the text of a command, a comma or a colon ends a property.
    return terminal(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
