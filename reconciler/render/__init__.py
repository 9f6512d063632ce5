"""Plans and results as text, Markdown and JSON.

Renderers make no decisions: order, actions and reasons come from the plan. They escape everything
that could act on a terminal or in a page. The sentences that all formats share are in `phrases`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from reconciler.errors import UsageError
from reconciler.model.change import ApplyResult, Plan
from reconciler.model.diagnostic import Diagnostic, nearest


class Renderer(Protocol):
    """An output format. Every text ends in a newline, or is empty if there is nothing to report."""

    def plan(self, plan: Plan) -> str:
        """The whole plan."""

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """Live changes, unmanaged objects if asked for, and one line about pending changes."""

    def result(self, result: ApplyResult) -> str:
        """The outcome of each change of an apply."""

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """Problems in the configuration."""

    def failure(self, command: str, diagnostics: Sequence[Diagnostic]) -> str:
        """Why a command failed before it had a plan or a result."""

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """The outputs of the stack."""


FORMATS = ("text", "json", "markdown")
"""The formats that `--format` and `--report` accept."""


def get(name: str) -> Renderer:
    """The renderer of a format; for coloured text, create a `TextRenderer`.

    Each renderer is imported here, so that a run loads only the one it uses.
    """
    match name:
        case "text":
            from reconciler.render.text import TextRenderer

            return TextRenderer(color=False)
        case "json":
            from reconciler.render.json import JsonRenderer

            return JsonRenderer()
        case "markdown":
            from reconciler.render.markdown import MarkdownRenderer

            return MarkdownRenderer()
    raise UsageError(
        f'unknown format "{name}".{nearest(name, FORMATS)}',
        hint=f"the formats are {', '.join(FORMATS)}",
    )
