"""A step in GitHub Actions: its summary, its outputs, and a log without workflow commands."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from reconciler.cli.options import GlobalOptions
from reconciler.cli.redaction import redactor

STEP_SUMMARY_BYTES = 1 << 20
"""The size limit of a step summary at GitHub."""

_FORMAT = "github"
_AT_START = re.compile(r"^([^\S\n]*:):", re.MULTILINE)
_ANYWHERE = "##["
_BREAK = "\u200b"
_BROKEN = {
    "json": "#\\u0023[",
    "sarif": "#\\u0023[",
    "gitlab": "#\\u0023[",
    "html": "#&#35;[",
    "junit": "#&#35;[",
}
"""The escape of `##[` in each format. `##[` begins a command anywhere in a line. Other formats get
a zero-width space in it.
"""


def without_commands(text: str) -> str:
    """A text for the log of a step in which the runner executes no workflow command."""
    # The runner ignores commands until it reads the token again, which no text can guess.
    token = secrets.token_hex(16)
    # The token ends the block only at the beginning of a line.
    if text and not text.endswith("\n"):
        text += "\n"
    return f"::stop-commands::{token}\n{text}::{token}::\n"


def harmless(text: str, format: str) -> str:
    """A text in which the runner finds no command, for output in other formats than `github`."""
    # The runner executes lines that begin with `::`, indented or not, and `##[…]` in any place.
    if os.environ.get("GITHUB_ACTIONS") != "true" or format == _FORMAT:
        return text
    if format in _BROKEN:
        return text.replace(_ANYWHERE, _BROKEN[format])
    return _AT_START.sub(rf"\1{_BREAK}:", text).replace(_ANYWHERE, f"#{_BREAK}#[")


def finish_step(options: GlobalOptions | None, code: int) -> None:
    """Write the summary and the outputs of the step, if a report or the output is for GitHub."""
    if options is None or not _is_wanted(options):
        return
    from reconciler.cli.reporting import talk

    try:
        _append_summary(options)
        _append_outputs(options, code)
    except OSError as error:
        options.outcome.lost_report = True
        talk(f"Error: the step's file cannot be written: {error.strerror or error}")


def _is_wanted(options: GlobalOptions) -> bool:
    from reconciler.cli.report_context import wants

    return wants(options, _FORMAT)


def _append_summary(options: GlobalOptions) -> None:
    from reconciler.cli.report_context import context_of
    from reconciler.render.markdown import MarkdownRenderer
    from reconciler.render.sections import SizeLimit

    path, render = os.environ.get("GITHUB_STEP_SUMMARY"), options.outcome.render
    if not path or render is None:
        return
    # Rendered again for the summary, since the report file may be longer than its limit.
    file = Path(path)
    # Earlier commands of the step may have written to it.
    used = file.stat().st_size if file.exists() else 0
    budget = SizeLimit.in_bytes(STEP_SUMMARY_BYTES - used - 1)
    if budget.is_too_small:
        return
    text = redactor(
        render(MarkdownRenderer(budget=budget, context=context_of(options, "markdown")))
    )
    with file.open("a", encoding="utf-8", errors="replace", newline="\n") as stream:
        stream.write(text)


def _append_outputs(options: GlobalOptions, code: int) -> None:
    from reconciler.render.github import fleet_values, output_file, output_values

    path = os.environ.get("GITHUB_OUTPUT")
    if not path:
        return
    outcome = options.outcome
    values = output_values(outcome.plan, exit_code=code, plan_path=outcome.plan_path)
    if outcome.fleet is not None:
        values = fleet_values(outcome.fleet, exit_code=code)
    # A value that contains the delimiter could set outputs of its own, so nobody can guess it.
    text = output_file(values, f"reconciler_{secrets.token_hex(16)}")
    with Path(path).open("a", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
