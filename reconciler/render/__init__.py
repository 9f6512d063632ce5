"""Plans and results in every report format.

A renderer decides nothing: order, actions and reasons come from the plan. It passes every text from
outside through `escape`, because a name can act on a terminal or in a page.

- One module for each format has a class with the protocol `Renderer`: `text`, `json`, `markdown`,
  `html`, and `junit`, `sarif`, `gitlab` and `github` on the base `report_renderer`.
- Shared by the formats: `phrases` has the sentences, `findings` one statement for each subject,
  `field_rows` the fields of a change.
- Layout: `lines` for terminals, `sections` for comments with a limit, `tables`, `jsonview`.
- Results of other commands, such as `doctor` or `inventory`, have a module each, with a function for
  each of their formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from reconciler.errors import UsageError
from reconciler.model.diagnostic import Diagnostic, nearest
from reconciler.model.formats import RENDERERS, REPORT_FORMATS
from reconciler.model.report import NO_CONTEXT, ReportContext

if TYPE_CHECKING:
    from reconciler.model.change import ApplyResult, Plan
    from reconciler.model.checking import CheckReport
    from reconciler.model.fleet import FleetReport


@runtime_checkable
class Renderer(Protocol):
    """An output format.

    Every text ends in a newline, or is empty if there is nothing to report. The class takes a
    `context` (`ReportContext`) by keyword, and has a default for every other parameter.
    """

    def plan(self, plan: Plan) -> str:
        """The whole plan."""

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """Live changes, unmanaged objects if asked for, and one line about pending changes."""

    def result(self, result: ApplyResult) -> str:
        """The outcome of each change of an apply."""

    def checks(self, report: CheckReport) -> str:
        """The result of each check."""

    def fleet(self, report: FleetReport) -> str:
        """The stacks of a fleet and their results, worst first."""

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

    Raises UsageError for an unknown name.
    """
    if name not in REPORT_FORMATS:
        raise UsageError(
            f'unknown format "{name}".{nearest(name, REPORT_FORMATS)}',
            hint=f"the formats are {', '.join(REPORT_FORMATS)}",
        )
    # Imported here, so that a run loads the modules of the formats it uses, and no others.
    module, _, class_name = RENDERERS[name].partition(":")
    renderer: Renderer = getattr(import_module(module), class_name)(context=context)
    return renderer
