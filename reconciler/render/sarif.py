"""Findings as SARIF 2.1.0, which code scanning shows beside the lines of the manifests.

Only problems are results: an ordinary planned change is none. GitHub accepts 25,000 results and
shows 5,000, so the most serious come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from reconciler import __version__
from reconciler.model.finding import Finding, FindingRule, Level
from reconciler.model.plan_digest import plan_digest
from reconciler.model.report import Report
from reconciler.render.escape import terminal
from reconciler.render.findings import RULES
from reconciler.render.jsonview import document
from reconciler.render.report_renderer import ReportRenderer
from reconciler.render.values import count, filled_lines

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_MOST_RESULTS = 25_000
_ORDER = (Level.ERROR, Level.WARNING, Level.NOTE)
_FINGERPRINT = "reconciler/v1"
_LINE_HASH = "primaryLocationLineHash"


class SarifRenderer(ReportRenderer):
    """A log with one run."""

    def report(self, report: Report) -> str:
        """The problems of a report, errors first."""
        problems = [finding for finding in self.findings(report) if finding.level in _ORDER]
        problems.sort(key=lambda finding: _ORDER.index(finding.level))
        shown = problems[:_MOST_RESULTS]
        rules = _rules(shown)
        indexes = {rule.name: index for index, rule in enumerate(rules)}
        results = [self._result(finding, indexes) for finding in shown]
        invocation: dict[str, Any] = {"executionSuccessful": not report.failed}
        if len(shown) < len(problems):
            left_out = count(len(problems) - len(shown), "further result")
            text = f"{left_out} did not fit; the JSON report has them"
            notice = {"level": "warning", "message": {"text": text}}
            invocation["toolExecutionNotifications"] = [notice]
        driver = {
            "name": "reconciler",
            "version": __version__,
            "rules": list(map(_rule, rules)),
        }
        run = {
            "tool": {"driver": driver},
            "invocations": [invocation],
            "automationDetails": {"id": _category(report)},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }
        if report.plan is not None:
            run["properties"] = {"planDigest": plan_digest(report.plan)}
        return document({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})

    def _result(self, finding: Finding, indexes: Mapping[str, int]) -> dict[str, Any]:
        lines = filter(None, (finding.sentence, *filled_lines(finding.detail)))
        region = {"startLine": 1}
        if finding.location:
            column = max(1, finding.location.column)
            region = {"startLine": max(1, finding.location.line), "startColumn": column}
        uri = quote(self.context.path_of(finding.location).encode("utf-8", "replace"))
        location: dict[str, Any] = {
            "physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}
        }
        if finding.about:
            location["logicalLocations"] = [{"fullyQualifiedName": terminal(finding.about)}]
        return {
            "ruleId": finding.rule.name,
            "ruleIndex": indexes[finding.rule.name],
            "level": str(finding.level),
            "message": {"text": "\n".join(map(terminal, lines))},
            "locations": [location],
            # GitHub compares the second one, and would derive it from the text of the line, so that a
            # result would be a new one after any edit there.
            "partialFingerprints": {_FINGERPRINT: finding.id, _LINE_HASH: f"{finding.id}:1"},
        }


def _category(report: Report) -> str:
    """The category of a report. Code scanning replaces results of the same category only."""
    words = report.title.split()[:1]
    return "/".join(["reconciler", *words, report.stack or "stack"]) + "/"


def _rules(findings: Sequence[Finding]) -> list[FindingRule]:
    """The rules of the findings: those that all reports share, then the others by name.

    Results refer to rules by name, so only one rule of each name is listed.
    """
    used = {finding.rule for finding in findings}
    known = [rule for rule in RULES if rule in used]
    others = sorted(used.difference(known), key=lambda rule: (rule.name, rule.title, rule.help))
    by_name: dict[str, FindingRule] = {}
    for rule in (*known, *others):
        by_name.setdefault(rule.name, rule)
    return list(by_name.values())


def _rule(rule: FindingRule) -> dict[str, Any]:
    # GitHub insists on the full description.
    help = {"text": rule.help or rule.title}
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.title},
        "fullDescription": help,
        "help": help,
    }
