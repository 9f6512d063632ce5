"""Reports for GitLab's widgets on a merge request.

`gitlab` is a Code Quality report (`artifacts:reports:codequality`): the problems, at their lines.
`gitlab-terraform` is what `artifacts:reports:terraform` reads: three counts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from reconciler.model.change import Action
from reconciler.model.finding import Finding, Level
from reconciler.model.report import Report
from reconciler.render.escape import terminal
from reconciler.render.findings import DESTRUCTIVE
from reconciler.render.jsonview import document, document_list
from reconciler.render.report_renderer import ReportRenderer
from reconciler.render.values import enclosed

_SEVERITIES = {Level.ERROR: "critical", Level.WARNING: "minor", Level.NOTE: "info"}


class GitLabRenderer(ReportRenderer):
    """A Code Quality report: a list of issues."""

    def report(self, report: Report) -> str:
        """The problems of a report, in its order."""
        problems = [each for each in self.findings(report) if each.level in _SEVERITIES]
        return document_list(list(map(self._issue, problems)))

    def _issue(self, finding: Finding) -> Mapping[str, Any]:
        detail = enclosed(" ", finding.detail)
        severity = _SEVERITIES[finding.level]
        if finding.rule == DESTRUCTIVE:
            severity = "major"
        # GitLab wants a line for each issue.
        line = finding.location.line if finding.location else 1
        return {
            "check_name": finding.rule.name,
            "description": terminal(f"{finding.sentence}{detail}".replace("\n", " ")),
            # GitLab wants a digest. Findings of the same rule and subject are the same issue.
            "fingerprint": hashlib.sha256(finding.id.encode()).hexdigest(),
            "severity": severity,
            "location": {
                "path": terminal(self.context.path_of(finding.location)),
                "lines": {"begin": line},
            },
        }


class GitLabTerraformRenderer(ReportRenderer):
    """The counts of a plan. A replacement is a deletion and a creation, as for Terraform."""

    def report(self, report: Report) -> str:
        """Three counts: the sums of a fleet; all zero without a plan."""
        counts: Counter[str] = Counter()
        if report.fleet is not None:
            for stack in report.fleet.stacks:
                counts.update(stack.counts)
        elif report.plan is not None:
            counts.update(report.plan.counts())
        replaced = counts[Action.REPLACE]
        return document(
            {
                "create": counts[Action.CREATE] + replaced,
                "update": counts[Action.UPDATE],
                "delete": counts[Action.DELETE] + replaced,
            }
        )
