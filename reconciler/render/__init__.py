"""Plans and their outcomes as text, Markdown and JSON.

A renderer decides nothing: order, actions and reasons are the plan's. It only puts them down, and lets nothing through
that could act on where it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from reconciler.errors import UsageError
from reconciler.model.change import ApplyResult, Plan
from reconciler.model.diagnostic import Diagnostic, nearest


class Renderer(Protocol):
    """One format. Everything it returns ends in a newline, or is empty where there is nothing to say."""

    def plan(self, plan: Plan) -> str:
        """A whole plan."""

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """Only what moved live, the objects that nobody declares where asked; what else is pending is one line."""

    def result(self, result: ApplyResult) -> str:
        """What became of each change of an apply."""

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """Problems of the configuration."""

    def failure(self, command: str, diagnostics: Sequence[Diagnostic]) -> str:
        """What ended a run of a command before it had a plan or a result."""

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """The outputs of the stack."""


FORMATS = ("text", "json", "markdown")
"""The formats by the name that `--format` and `--report` take; for colours make a `TextRenderer` of your own."""


def get(name: str) -> Renderer:
    """The renderer of a format, which is imported only now. Raises UsageError for one that there is not."""
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
    raise UsageError(f'there is no format "{name}".{nearest(name, FORMATS)}', hint=f"formats are {', '.join(FORMATS)}")
