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
from reconciler.render.values import count

_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}
_MOST_EACH = 10
"""How many annotations of a level GitHub shows for one step."""
_MOST_CHARACTERS = 4_000
_COUNTED = ("create", "update", "replace", "delete", "adopt", "forget")


class GitHubRenderer(ReportRenderer):
    """An annotation for each problem, as many as GitHub shows."""

    def report(self, report: Report) -> str:
        """A line for each annotation; the last of a level says how many more there are."""
        lines: list[str] = []
        findings = self.findings(report)
        for level in _COMMANDS:
            lines += self._annotations([each for each in findings if each.level is level], level)
        return "".join(f"{line}\n" for line in lines)

    def _annotations(self, findings: Sequence[Finding], level: Level) -> Iterator[str]:
        name = _COMMANDS[level]
        fits = len(findings) <= _MOST_EACH
        shown = findings if fits else findings[: _MOST_EACH - 1]
        for finding in shown:
            yield self._annotation(name, finding)
        if not fits:
            more = count(len(findings) - len(shown), f"more {name}")
            yield workflow_command(name, f"{more}; the step summary and the report have all")

    def _annotation(self, name: str, finding: Finding) -> str:
        text = "\n".join(filter(None, (finding.sentence, finding.detail)))
        properties = {"title": f"{finding.rule.title} ({finding.id})"}
        if finding.location:
            properties["file"] = self.context.path_of(finding.location)
            properties["line"] = str(finding.location.line)
            properties["col"] = str(finding.location.column)
        return workflow_command(name, text, properties)


def workflow_command(name: str, text: str, properties: Mapping[str, str] = {}) -> str:
    """A workflow command on one line, with everything in it escaped."""
    parts = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{name}{' ' + parts if parts else ''}::{_data(text[:_MOST_CHARACTERS])}"


def output_values(plan: Plan | None, *, exit_code: int, plan_path: str) -> dict[str, str]:
    """What later steps of the job can read of a run, by name."""
    counts = {} if plan is None else {str(action): n for action, n in plan.counts().items()}
    is_changed = plan is not None and not plan.is_empty
    values = {
        "changes": str(is_changed).lower(),
        "exitcode": str(exit_code),
        "plan-path": plan_path,
        "digest": "" if plan is None else plan_digest(plan),
        "destructive": str(0 if plan is None else len(plan.destructive)),
        "refusals": str(0 if plan is None else len(plan.refusals)),
        "drifted": str(0 if plan is None else len(plan.drift)),
    }
    return values | {name: str(counts.get(name, 0)) for name in _COUNTED}


def fleet_values(fleet: FleetReport, *, exit_code: int) -> dict[str, str]:
    """What later steps of the job can read of a fleet: the sums of its stacks, by the same names."""
    actions: Counter[str] = Counter()
    for stack in fleet.stacks:
        actions.update(stack.counts)
    values = {
        "changes": str(bool(actions)).lower(),
        "exitcode": str(exit_code),
        "plan-path": "",
        "digest": fleet.digest,
        "destructive": str(sum(stack.destructive for stack in fleet.stacks)),
        "refusals": str(sum(stack.refused for stack in fleet.stacks)),
        "drifted": str(sum(stack.drifted for stack in fleet.stacks)),
    }
    return values | {name: str(actions[name]) for name in _COUNTED}


def output_file(values: Mapping[str, str], delimiter: str) -> str:
    """The values for the output file of a step; `delimiter` must be random, so no value ends early."""
    return "".join(f"{name}<<{delimiter}\n{value}\n{delimiter}\n" for name, value in values.items())


def _data(text: str) -> str:
    lines = (terminal(line) for line in text.split("\n"))
    return "%0A".join(line.replace("%", "%25").replace("\r", "%0D") for line in lines)


def _property(text: str) -> str:
    return terminal(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
