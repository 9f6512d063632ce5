"""Plans and results in every report format.

Renderers make no decisions: order, actions and reasons come from the plan. They escape everything
that could act on a terminal or in a page. The sentences that all formats share are in `phrases`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.errors import UsageError
from reconciler.model.diagnostic import Diagnostic, nearest
from reconciler.model.formats import REPORT_FORMATS
from reconciler.model.report import NO_CONTEXT, ReportContext

if TYPE_CHECKING:
    from reconciler.model.change import ApplyResult, Plan
    from reconciler.model.checking import CheckReport
    from reconciler.model.fleet import FleetReport


class Renderer(Protocol):
    """An output format. Every text ends in a newline, or is empty if there is nothing to report."""

    def plan(self, plan: Plan) -> str:
        """The whole plan."""

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """Live changes, unmanaged objects if asked for, and one line about pending changes."""

    def result(self, result: ApplyResult) -> str:
        """The outcome of each change of an apply."""

    def checks(self, report: CheckReport) -> str:
        """The result of each check."""

    def fleet(self, report: FleetReport) -> str:
        """What a run of a fleet found, worst first."""

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """Problems in the configuration."""

    def failure(
        self, command: str, diagnostics: Sequence[Diagnostic], refusals: Sequence[str] = ()
    ) -> str:
        """Why a command failed before it had a plan or a result."""

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """The outputs of the stack."""


def get(name: str, context: ReportContext = NO_CONTEXT) -> Renderer:
    """The renderer of a format; for coloured text, create a `TextRenderer`.

    Each renderer is imported here, so that a run loads only the one it uses.
    """
    if name not in REPORT_FORMATS:
        raise UsageError(
            f'unknown format "{name}".{nearest(name, REPORT_FORMATS)}',
            hint=f"the formats are {', '.join(REPORT_FORMATS)}",
        )
    match name:
        case "text":
            from reconciler.render.text import TextRenderer

            return TextRenderer(color=False, context=context)
        case "json":
            from reconciler.render.json import JsonRenderer

            return JsonRenderer(context=context)
        case "markdown":
            from reconciler.render.markdown import MarkdownRenderer

            return MarkdownRenderer(context=context)
    return _report_renderer(name, context)


def _report_renderer(name: str, context: ReportContext) -> Renderer:
    match name:
        case "html":
            from reconciler.render.html import HtmlRenderer

            return HtmlRenderer(context)
        case "junit":
            from reconciler.render.junit import JUnitRenderer

            return JUnitRenderer(context)
        case "sarif":
            from reconciler.render.sarif import SarifRenderer

            return SarifRenderer(context)
        case "gitlab":
            from reconciler.render.gitlab import GitLabRenderer

            return GitLabRenderer(context)
        case "gitlab-terraform":
            from reconciler.render.gitlab import GitLabTerraformRenderer

            return GitLabTerraformRenderer(context)
    from reconciler.render.github import GitHubRenderer

    return GitHubRenderer(context)
