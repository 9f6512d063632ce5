"""Where results go: the renderer that the options ask for, standard output, and report files."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from reconciler.cli.failures import redactor
from reconciler.cli.options import FORMATS, GlobalOptions
from reconciler.cli.streams import OutputError
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.model.change import Plan
    from reconciler.render import Renderer


def wants_color(options: GlobalOptions, stream: TextIO) -> bool:
    """Colours are for terminals whose user did not object."""
    return stream.isatty() and not options.no_color and not os.environ.get("NO_COLOR")


def renderer(options: GlobalOptions, *, stream: TextIO | None = None) -> Renderer:
    """The renderer for a stream, standard output by default."""
    from reconciler.render import get
    from reconciler.render.text import TextRenderer

    if options.format in FORMATS and options.format != "text":
        return get(options.format)
    target = stream or sys.stdout
    width = min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)
    return TextRenderer(color=wants_color(options, target), width=width if target.isatty() else 100)


def publish(
    options: GlobalOptions,
    render: Callable[[Renderer], str],
    *,
    printed: Callable[[Renderer], str] | None = None,
) -> None:
    """Write a result to standard output and to every report file, each in its own format.

    All are of the same value; `printed` is for what standard output has otherwise.
    """
    # Reports first: standard output may be a pipe that nobody reads any more.
    save_reports(options, render)
    text = (printed or render)(renderer(options))
    options.outcome.is_printed = True
    click.echo(redactor(text), nl=bool(text) and not text.endswith("\n"))


def save_reports(options: GlobalOptions, render: Callable[[Renderer], str]) -> None:
    """Write a result to every report file, each in its own format."""
    from reconciler.render import get

    for path, name in _writable_reports(options):
        save_report(options, path, redactor(render(get(name))))


def publish_plan(options: GlobalOptions, plan: Plan) -> None:
    """As `publish`, for a plan whose errors and refusals go to standard error where standard output is text."""
    publish(options, lambda to: to.plan(plan), printed=lambda to: to.plan(as_printed(options, plan)))


def as_printed(options: GlobalOptions, plan: Plan) -> Plan:
    """The plan for standard output: in text without what standard error says already."""
    from msgspec.structs import replace

    from reconciler.model.diagnostic import Severity

    if options.format not in (None, "text"):
        return plan
    warnings = tuple(item for item in plan.diagnostics if item.severity is not Severity.ERROR)
    return replace(plan, refusals=(), diagnostics=warnings)


def deliver(options: GlobalOptions, formats: Mapping[str, Callable[[], str]]) -> None:
    """As `publish`, for what is no plan: each format has a function of its own."""
    for path, name in _writable_reports(options):
        save_report(options, path, redactor(formats[name]()))
    options.outcome.is_printed = True
    click.echo(redactor(formats[options.format or "text"]()), nl=False)


def reports_of(options: GlobalOptions) -> list[tuple[Path, str]]:
    """The report files and their formats; raises UsageError before anything is called."""
    found = []
    for report in options.report:
        path, _, name = report.rpartition(":")
        if not path or name not in options.formats:
            raise UsageError(f'--report "{report}": write FILE:FORMAT, with a format of {", ".join(options.formats)}')
        found.append((writable(Path(path), "--report"), name))
    return found


def _writable_reports(options: GlobalOptions) -> list[tuple[Path, str]]:
    """The report files once there is an outcome, which one that cannot be written must not hide."""
    try:
        return reports_of(options)
    except UsageError as error:
        options.outcome.lost_report = True
        talk(f"Error: {error}")
        return []


def writable(path: Path, option: str) -> Path:
    """The path, once it is sure that a file can be written there; raises UsageError before anything is called."""
    folder = path.parent
    if not folder.is_dir() or path.is_dir():
        why = "is a folder" if path.is_dir() else f'lies in "{folder}", which is no folder'
        raise UsageError(f'{option}: "{path}" {why}')
    if _leads_elsewhere(path):
        raise UsageError(f'{option}: "{path}" is, or lies behind, a symbolic link', hint="Name the file itself.")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f'{option}: "{path}" cannot be written')
    return path


def _leads_elsewhere(path: Path) -> bool:
    """Whether the path follows a link, which a stranger's checkout may have brought along; devices may be linked."""
    if path.exists() and not path.is_file():
        return False
    below = [path, *(parent for parent in path.parents if not path.is_absolute())]
    return any(part.is_symlink() for part in below)


def save_report(options: GlobalOptions, path: Path, text: str) -> None:
    """Write a report. A failure is reported, and does not hide the outcome of the run."""
    try:
        write_private(path, text)
    except OutputError as error:
        options.outcome.lost_report = True
        talk(f"Error: the report {error}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read: plans and reports describe an organization. Raises OutputError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)  # the file may be an older one with other rights
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise OutputError(f'"{path}" cannot be written: {error.strerror or error}') from error


def tell_errors(options: GlobalOptions, plan: Plan) -> None:
    """Report the errors of a plan on standard error."""
    from reconciler.model.diagnostic import Severity

    errors = [item for item in plan.diagnostics if item.severity is Severity.ERROR]
    if errors:
        text = renderer(options, stream=sys.stderr).diagnostics(errors)
        click.echo(redactor(text), nl=not text.endswith("\n"), err=True)


def talk(text: str) -> None:
    """Say something on standard error: never part of the result."""
    from reconciler.render.escape import terminal

    click.echo("\n".join(terminal(line) for line in redactor(text).split("\n")), err=True)
