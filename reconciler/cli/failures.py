"""Turns an error into messages on stderr and an exit code."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import GlobalOptions
from reconciler.cli.redaction import redactor
from reconciler.cli.streams import terminal_width
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
    if isinstance(error, GuardError):
        return error.refusals
    return ()


def report(error: Exception, options: GlobalOptions) -> int:
    """Print an error for the person who must act; the exit code."""
    if isinstance(error, ConfigurationError):
        _report_diagnostics(error, options)
        return 1
    error = _translated(error)
    # Anything else is a fault of this program, and asks for a report.
    if not isinstance(error, ReconcilerError | OSError):
        return _report_bug(error, options)
    if isinstance(error, GuardError):
        for refusal in error.refusals:
            _say_lines("Refused", refusal, options)
    else:
        _say_lines("Error", _sentence(error), options)
    if isinstance(error, ReconcilerError) and error.hint:
        for line in _clean_lines(error.hint):
            click.echo(_wrapped(f"  {line}"), err=True)
    if isinstance(error, ApiError) and error.request_id:
        from reconciler.render.escape import terminal

        click.echo(f"  request id: {terminal(error.request_id)}", err=True)
    _say_where(error, options)
    return exit_code(error)


def _say_lines(label: str, message: str, options: GlobalOptions) -> None:
    first, *rest = _clean_lines(message)
    _say(f"{label}: {first}", options)
    for line in rest:
        _say(f"  {line}", options)


def _clean_lines(text: str) -> list[str]:
    """The lines of a text without secrets, and with all other control characters escaped."""
    from reconciler.render.escape import terminal

    return [terminal(line) for line in redactor(text).split("\n")]


def _translated(error: Exception) -> Exception:
    """An error of the operating system, described by its cause."""
    if isinstance(error, OSError) and not _has_current_folder():
        return UsageError(
            "The current folder no longer exists.",
            hint="Change to another folder and run again.",
        )
    if isinstance(error, ImportError):
        library = (error.name or "").partition(".")[0]
        if library in EXTRAS:
            return _missing_library(library)
    from reconciler.app.failures import translated

    clearer = translated(error)
    if clearer is not error:
        return clearer
    encoding = sys.getfilesystemencoding()
    if isinstance(error, UnicodeEncodeError) and error.encoding == encoding:
        # UTF-8 and mbcs encode every name, so the cause is another one.
        if encoding in ("utf-8", "mbcs"):
            return error
        return UsageError(
            f"The encoding of this locale ({encoding}) cannot express a file name of the stack.",
            hint="Set LC_ALL=C.UTF-8 or PYTHONUTF8=1.",
        )
    return error


def _missing_library(library: str) -> UsageError:
    extra = EXTRAS[library]
    return UsageError(
        f"This command needs the library {library}, which is not installed.",
        hint=f"Install reconciler with its extra `{extra}`: pip install 'reconciler-iac[{extra}]'",
    )


def _sentence(error: ReconcilerError | OSError) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    if error.filename:
        return f"{error.strerror}: {error.filename}"
    return error.strerror


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _report_diagnostics(error: ConfigurationError, options: GlobalOptions) -> None:
    from reconciler.cli.reporting import renderer, text_renderer

    is_for_programs = options.format not in (None, "text", "csv", "env", "github")
    # Standard output has the failure as a result already.
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
    if options.verbose > 1:
        trace = "".join(traceback.format_exception(error))
        click.echo("\n".join(_clean_lines(trace)), err=True)


def _say(text: str, options: GlobalOptions) -> None:
    from reconciler.cli.github import harmless
    from reconciler.cli.reporting import wants_color

    shown = harmless(_wrapped(text), "text")
    if wants_color(options, sys.stderr):
        shown = click.style(shown, fg="red")
    click.echo(shown, err=True)


def _wrapped(text: str) -> str:
    """A sentence for standard error; on a terminal, its further lines are indented."""
    if not sys.stderr.isatty():
        return text
    from reconciler.render.lines import StyledText, plain, wrapped

    width = terminal_width()
    # Wrap the text with the indent, then remove the indent of the first line.
    return plain(wrapped((StyledText("  "), StyledText(text.lstrip())), width + 2))[2:].rstrip("\n")
