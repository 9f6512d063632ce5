"""The outcome of a run reaches every report, whatever it is.

A CI job posts the report file of a run, or trusts it. So a run that fails must not leave the report
of the last good run behind: its errors and refusals overwrite it. This module is the one place where
that happens, around every command; commands themselves only publish what they achieve.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import click

from reconciler.cli.options import GlobalOptions

if TYPE_CHECKING:
    from reconciler.model.change import Plan

_FOR_PROGRAMS = ("json", "markdown", "junit")
_WITH_A_RESULT = ("plan", "apply", "destroy", "drift", "check", "rollback")
"""The commands whose standard output is a result for programs, so that a failure is one too."""


@dataclass
class Outcome:
    """What this run has reported so far.

    `plan` is the plan that was made or loaded; a failure after that is reported together with it.
    `is_printed` once a result is on standard output; `lost_report` once a report could not be
    written.
    """

    plan: Plan | None = None
    is_printed: bool = False
    lost_report: bool = False

    current: ClassVar[Outcome]


Outcome.current = Outcome()


@contextmanager
def reported() -> Iterator[None]:
    """A block whose failure is written to every report, and for programs to standard output too."""
    Outcome.current = Outcome()
    GlobalOptions.current = None
    try:
        yield
    except (click.exceptions.Exit, click.Abort, KeyboardInterrupt) as stop:
        if not isinstance(stop, click.exceptions.Exit) or stop.exit_code:
            _report(stop)
        raise
    except BrokenPipeError:
        raise
    except Exception as error:
        _report(error)
        raise


def final_code(code: int) -> int:
    """The exit code: a report that could not be written turns a success into an error."""
    return 1 if code == 0 and Outcome.current.lost_report else code


def _report(error: BaseException) -> None:
    options = GlobalOptions.current
    if options is None:
        return  # the command line itself could not be read
    is_to_be_printed = (
        options.format in _FOR_PROGRAMS
        and options.command in _WITH_A_RESULT
        and not isinstance(error, click.ClickException)
        and not Outcome.current.is_printed
    )
    if not options.report and not is_to_be_printed:
        return
    from reconciler.cli.failures import diagnostics_of, redactor, refusals_of
    from reconciler.cli.reporting import reports_of, save_report
    from reconciler.errors import UsageError
    from reconciler.render.failures import Failure, render_failure

    failure = Failure(
        command=options.command,
        diagnostics=diagnostics_of(error),
        refusals=refusals_of(error),
        plan=Outcome.current.plan,
    )
    if is_to_be_printed and options.format is not None:
        click.echo(redactor(render_failure(failure, options.format)), nl=False)
        Outcome.current.is_printed = True
    with suppress(UsageError):  # a report that cannot be written is what the run failed for
        for path, name in reports_of(options):
            save_report(path, redactor(render_failure(failure, name)))
