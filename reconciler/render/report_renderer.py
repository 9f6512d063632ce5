"""The base of formats that show findings: each result becomes one `Report`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.model.change import ApplyResult, Plan
from reconciler.model.checking import CheckReport
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.finding import Finding
from reconciler.model.fleet import FleetReport
from reconciler.model.report import NO_CONTEXT, Report, ReportContext
from reconciler.render.findings import findings_of


class ReportRenderer(ABC):
    """A `Renderer` that shows every result through `report`."""

    def __init__(self, context: ReportContext = NO_CONTEXT) -> None:
        self.context = context

    @abstractmethod
    def report(self, report: Report) -> str:
        """A report in this format."""

    def findings(self, report: Report) -> list[Finding]:
        """The findings of the report and of the context, each with an id of its own."""
        return distinct([*findings_of(report), *self.context.findings])

    def plan(self, plan: Plan) -> str:
        """The whole plan."""
        return self.report(self._planned("plan", plan))

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """Live changes."""
        return self.report(self._planned("drift", plan, is_drift=True, unmanaged=unmanaged))

    def result(self, result: ApplyResult) -> str:
        """The outcome of each change."""
        return self.report(
            Report(
                self._title("apply"),
                plan=result.plan,
                result=result,
                diagnostics=result.plan.diagnostics,
            )
        )

    def checks(self, report: CheckReport) -> str:
        """The results of checks."""
        return self.report(Report(self._title("check"), checks=report))

    def fleet(self, report: FleetReport) -> str:
        """The stacks of a fleet and their results."""
        title = self._title(f"fleet {report.command}")
        return self.report(Report(title, fleet=report))

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """The problems of the configuration."""
        return self.report(Report(self._title("validate"), diagnostics=tuple(diagnostics)))

    def failure(
        self, command: str, diagnostics: Sequence[Diagnostic], refusals: Sequence[str] = ()
    ) -> str:
        """Why a command failed."""
        return self.report(
            Report(command, diagnostics=tuple(diagnostics), refusals=tuple(refusals), failed=True)
        )

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """The outputs of the stack. Formats that show findings only have none of them."""
        return self.report(Report(self._title("output"), outputs=outputs))

    def _planned(
        self, word: str, plan: Plan, *, is_drift: bool = False, unmanaged: bool = False
    ) -> Report:
        return Report(
            self._title(word),
            plan=plan,
            diagnostics=plan.diagnostics,
            refusals=plan.refusals,
            is_drift=is_drift,
            unmanaged=unmanaged,
        )

    def _title(self, word: str) -> str:
        return self.context.command or word


def distinct(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with unique ids: a repeated id gets a number in its key."""
    from msgspec.structs import replace

    # Code scanning and Code Quality take results with the same id for one result.
    seen: dict[str, int] = {}
    result = []
    for finding in findings:
        number = seen.get(finding.id, 0) + 1
        seen[finding.id] = number
        if number > 1:
            finding = replace(finding, key=f"{finding.key}\0{number}", known_id="")
        result.append(finding)
    return result
