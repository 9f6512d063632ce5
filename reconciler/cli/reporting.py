"""Writes results to standard output and to report files, in the formats of the options."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from reconciler.cli.options import GlobalOptions
from reconciler.cli.redaction import redactor
from reconciler.cli.streams import UNKNOWN_WIDTH, OutputError, terminal_width
from reconciler.errors import UsageError
from reconciler.model.formats import REPORT_FORMATS

if TYPE_CHECKING:
    from reconciler.model.change import ApplyResult, Plan
    from reconciler.model.fleet import FleetReport
    from reconciler.render import Renderer

Render = Callable[["Renderer"], str]
"""Renders one result in the format of a renderer."""


def wants_color(options: GlobalOptions, stream: TextIO) -> bool:
    """Whether to color the output: only for terminals, unless disabled."""
    return stream.isatty() and not options.no_color and not os.environ.get("NO_COLOR")


def renderer(options: GlobalOptions) -> Renderer:
    """The renderer of standard output."""
    if options.format in REPORT_FORMATS and options.format != "text":
        return renderer_of(options, options.format)
    return text_renderer(options, sys.stdout)


def text_renderer(options: GlobalOptions, stream: TextIO) -> Renderer:
    """A renderer of text as wide as the stream, if that is a terminal."""
    from reconciler.cli.report_context import context_of
    from reconciler.render.text import TextRenderer

    width = terminal_width() if stream.isatty() else UNKNOWN_WIDTH
    color = wants_color(options, stream)
    return TextRenderer(
        color=color, width=width, context=context_of(options), wraps=stream.isatty()
    )


def publish(
    options: GlobalOptions,
    render: Render,
    *,
    printed: Render | None = None,
) -> None:
    """Write a result to standard output and to every report file, each in its own format.

    `printed` renders standard output differently from the reports.
    """
    # Reports first: standard output may be a pipe whose reader has left.
    save_reports(options, render)
    print_result(options, printed or render)


def print_result(options: GlobalOptions, render: Render) -> None:
    """Write a result to standard output, in the format of the options."""
    text = redactor(render(renderer(options)))
    if options.format == "github":
        from reconciler.cli.github import without_commands

        # The log of a step shows annotations beside the text, so it gets both.
        prose = redactor(render(text_renderer(options, sys.stdout)))
        text = without_commands(prose) + text
    options.outcome.is_printed = True
    echo(options, text)


def echo(options: GlobalOptions, text: str) -> None:
    """Write a result to standard output, with a newline at the end of a text that has none."""
    from reconciler.cli.github import harmless

    shown = harmless(text, options.format or "text")
    click.echo(shown, nl=bool(shown) and not shown.endswith("\n"))


def save_reports(options: GlobalOptions, render: Render) -> None:
    """Write a result to every report file, each in its own format."""
    options.outcome.render = render
    for path, name in _writable_reports(options):
        save_report(options, path, redactor(render(renderer_of(options, name))))


def renderer_of(options: GlobalOptions, name: str) -> Renderer:
    """The renderer of a format, with the context of the run."""
    from reconciler.cli.report_context import context_of
    from reconciler.render import get

    return get(name, context_of(options, name))


def publish_plan(options: GlobalOptions, plan: Plan) -> None:
    """As `publish`, for a plan; text output leaves its errors and refusals to stderr."""
    publish(
        options, lambda to: to.plan(plan), printed=lambda to: to.plan(as_printed(options, plan))
    )


def publish_fleet(options: GlobalOptions, report: FleetReport) -> None:
    """As `publish`, for a report of a fleet."""
    options.outcome.fleet = report
    publish(options, lambda to: to.fleet(report))


def as_printed(options: GlobalOptions, plan: Plan) -> Plan:
    """The plan for standard output: as text, without the errors and refusals, which stderr shows."""
    from msgspec.structs import replace

    from reconciler.model.diagnostic import Severity

    if options.format not in (None, "text"):
        return plan
    warnings = [entry for entry in plan.diagnostics if entry.severity is not Severity.ERROR]
    return replace(plan, refusals=(), diagnostics=tuple(warnings))


def as_printed_result(options: GlobalOptions, result: ApplyResult) -> ApplyResult:
    """The result for standard output: as text, without the details of errors, which stderr shows."""
    from msgspec.structs import replace

    if options.format not in (None, "text", "github"):
        return result
    outcomes = []
    for outcome in result.outcomes:
        if outcome.change.blocked:
            outcome = replace(outcome, message=outcome.message.partition(": ")[0], hint="")
        outcomes.append(outcome)
    return replace(result, outcomes=tuple(outcomes))


def deliver(options: GlobalOptions, formats: Mapping[str, Callable[[], str]]) -> None:
    """As `publish`, with a function for each format."""
    # Reports first, as in `publish`.
    for path, name in _writable_reports(options):
        save_report(options, path, redactor(formats[name]()))
    options.outcome.is_printed = True
    click.echo(redactor(formats[options.format or "text"]()), nl=False)


def reports_of(options: GlobalOptions) -> list[tuple[Path, str]]:
    """The report files and their formats; raises UsageError before anything is called."""
    reports = []
    for report in options.report:
        path, _, name = report.rpartition(":")
        if not path or name not in options.formats:
            raise UsageError(
                f'--report "{report}": write FILE:FORMAT, with a format of {", ".join(options.formats)}'
            )
        reports.append((writable(Path(path), "--report"), name))
    return reports


def begin_reports(options: GlobalOptions) -> None:
    """Empty the report files of earlier runs, so that a run that is killed leaves none behind.

    Raises UsageError for a file that cannot be written.
    """
    for path, _ in reports_of(options):
        # Not a pipe or a device, which an empty write could end.
        if path.is_file():
            write_private(path, "")


def _writable_reports(options: GlobalOptions) -> list[tuple[Path, str]]:
    """The report files; one that became unwritable must not hide the outcome."""
    try:
        return reports_of(options)
    except UsageError as error:
        options.outcome.lost_report = True
        talk(f"Error: {error}")
        return []


def writable(path: Path, option: str) -> Path:
    """The path if a file can be written there; raises UsageError before the first call."""
    folder = path.parent
    if path.is_dir():
        raise UsageError(f'{option}: "{path}" is a folder')
    if not folder.is_dir():
        raise UsageError(f'{option}: "{path}" lies in "{folder}", which is no folder')
    if _leads_elsewhere(path):
        raise UsageError(
            f'{option}: "{path}" is, or lies behind, a symbolic link',
            hint="Name the file itself.",
        )
    # A file that exists needs no right to its folder.
    target = path if path.exists() else folder
    if not os.access(target, os.W_OK):
        raise UsageError(f'{option}: "{path}" cannot be written')
    return path


def _leads_elsewhere(path: Path) -> bool:
    """Whether the path follows a symbolic link."""
    # A checkout may contain links that lead out of it. Devices such as /dev/stdout are links too, and
    # harmless.
    if path.exists() and not path.is_file():
        return False
    below = [path, *(parent for parent in path.parents if not path.is_absolute())]
    return any(part.is_symlink() for part in below)


def save_report(options: GlobalOptions, path: Path, text: str) -> None:
    """Write a report. Reports a failure, which does not hide the outcome of the run."""
    try:
        write_private(path, text)
    except OutputError as error:
        options.outcome.lost_report = True
        talk(f"Error: the report {error}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; raises OutputError."""
    try:
        # Reports and plans may hold names and texts that not every user of the machine should read.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            # The mode of `open` counts for new files only.
            os.fchmod(descriptor, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise OutputError(f'"{path}" cannot be written: {error.strerror or error}') from error


def tell_errors(options: GlobalOptions, plan: Plan) -> None:
    """Report the errors of a plan on standard error."""
    from reconciler.model.diagnostic import Severity

    errors = [entry for entry in plan.diagnostics if entry.severity is Severity.ERROR]
    if errors:
        text = text_renderer(options, sys.stderr).diagnostics(errors)
        click.echo(redactor(text), nl=not text.endswith("\n"), err=True)


def talk(text: str) -> None:
    """Write a message to stderr, which is never part of the result."""
    from reconciler.cli.github import harmless
    from reconciler.render.escape import terminal

    shown = "\n".join(terminal(line) for line in redactor(text).split("\n"))
    click.echo(harmless(shown, "text"), err=True)
