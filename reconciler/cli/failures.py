"""Turns an error into messages for the user and an exit code."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import GlobalOptions
from reconciler.cli.streams import redactor, terminal_width
from reconciler.errors import (
    ApiError,
    ConfigurationError,
    GuardError,
    ReconcilerError,
    UsageError,
)

if TYPE_CHECKING:
    from reconciler.model.diagnostic import Diagnostic


def exit_code(error: BaseException) -> int:
    """The exit code of an error."""
    from reconciler.app.exit_codes import exit_code_of_error

    return exit_code_of_error(error)


def diagnostics_of(error: BaseException) -> tuple[Diagnostic, ...]:
    """An error as diagnostics, for reports; without the refusals of guards, see `refusals_of`."""
    from reconciler.app.failures import problems_of
    from reconciler.model.diagnostic import Diagnostic

    match error:
        case click.exceptions.Exit():
            return (Diagnostic("Cancelled", detail="Nothing has been changed."),)
        case click.Abort() | KeyboardInterrupt():
            return (Diagnostic("Interrupted", detail="The run was stopped before its end."),)
        case click.ClickException():
            return (Diagnostic(error.format_message()),)
    return problems_of(error)


EXTRAS = {
    "apprise": "notices",
    "multipart": "emulator",
    "opentelemetry": "otel",
    "prometheus_client": "metrics",
    "starlette": "emulator",
    "uvicorn": "emulator",
}
"""The extra that brings a library which only some commands import."""


def refusals_of(error: BaseException) -> tuple[str, ...]:
    """The refusals of guards, one sentence each."""
    return error.refusals if isinstance(error, GuardError) else ()


def report(error: Exception, options: GlobalOptions) -> int:
    """Print an error for the person who must act; the exit code."""
    from reconciler.render.escape import terminal as clean

    if isinstance(error, ConfigurationError):
        _report_diagnostics(error, options)
        return 1
    error = _translated(error)
    if not isinstance(error, ReconcilerError | OSError):
        return _report_bug(error, options)
    refusals = error.refusals if isinstance(error, GuardError) else (_sentence(error),)
    for sentence in refusals:
        label = "Refused" if isinstance(error, GuardError) else "Error"
        # Newlines of a message stay; other control characters are escaped.
        first, *rest = (clean(line) for line in redactor(sentence).split("\n"))
        _say(f"{label}: {first}", options)
        for line in rest:
            _say(f"  {line}", options)
    hint = error.hint if isinstance(error, ReconcilerError) else ""
    for line in redactor(hint).split("\n") if hint else ():
        click.echo(_wrapped(f"  {clean(line)}"), err=True)
    if isinstance(error, ApiError) and error.request_id:
        click.echo(f"  request id: {clean(error.request_id)}", err=True)
    _say_where(error, options)
    return exit_code(error)


def _translated(error: Exception) -> Exception:
    """An error of the machine, not of this program, described by its cause."""
    if isinstance(error, OSError) and not _has_current_folder():
        return UsageError(
            "The current folder no longer exists.",
            hint="Change to another folder and run again.",
        )
    library = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if library in EXTRAS:
        extra = EXTRAS[library]
        return UsageError(
            f"This command needs the library {library}, which is not installed.",
            hint=f"Install reconciler with its extra `{extra}`: pip install 'reconciler-iac[{extra}]'",
        )
    from reconciler.app.failures import translated

    if (clearer := translated(error)) is not error:
        return clearer
    encoding = sys.getfilesystemencoding()
    if (
        isinstance(error, UnicodeEncodeError)
        and encoding not in ("utf-8", "mbcs")
        and error.encoding == encoding
    ):
        return UsageError(
            f"The encoding of this locale ({encoding}) cannot express a file name of the stack.",
            hint="Set LC_ALL=C.UTF-8 or PYTHONUTF8=1.",
        )
    return error


def _sentence(error: ReconcilerError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _report_diagnostics(error: ConfigurationError, options: GlobalOptions) -> None:
    from reconciler.cli.reporting import renderer, text_renderer

    is_for_programs = options.format not in (None, "text", "csv", "env", "github")
    if is_for_programs and options.outcome.is_printed:
        return
    is_result = options.format in ("json", "markdown")
    to = renderer(options) if is_result else text_renderer(options, sys.stderr)
    text = to.diagnostics(error.diagnostics)
    click.echo(redactor(text), nl=not text.endswith("\n"), err=not is_result)


def _report_bug(error: Exception, options: GlobalOptions) -> int:
    from reconciler.app.failures import BUG
    from reconciler.render.escape import terminal as clean

    _say(f"Error: unexpected {type(error).__name__}: {clean(redactor(str(error)))}", options)
    click.echo(f"  {BUG}", err=True)
    _say_where(error, options)
    return 1


def _say_where(error: Exception, options: GlobalOptions) -> None:
    from reconciler.render.escape import terminal as clean

    if options.verbose > 1:
        lines = redactor("".join(traceback.format_exception(error))).split("\n")
        click.echo("\n".join(map(clean, lines)), err=True)


def _say(text: str, options: GlobalOptions) -> None:
    from reconciler.cli.github import harmless
    from reconciler.cli.reporting import wants_color

    shown = harmless(_wrapped(text), "text")
    click.echo(
        click.style(shown, fg="red") if wants_color(options, sys.stderr) else shown, err=True
    )


def _wrapped(text: str) -> str:
    """A sentence for standard error; on a terminal, its further lines are indented."""
    if not sys.stderr.isatty():
        return text
    from reconciler.render.lines import StyledText, plain, wrapped

    width = terminal_width()
    return plain(wrapped((StyledText("  "), StyledText(text.lstrip())), width + 2))[2:].rstrip("\n")
