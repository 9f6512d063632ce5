"""What a run has reported so far, so that every report file ends with the outcome of the run.

A CI job posts the report file of a run, or trusts it. A run that fails must not leave the report of
the last good run behind, so its errors and refusals overwrite it. That happens here, around every
command; commands themselves publish only what they achieve.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click
from msgspec import Struct

if TYPE_CHECKING:
    from reconciler.cli.options import GlobalOptions
    from reconciler.model.change import Plan

_FOR_PROGRAMS = ("json", "markdown", "junit")
_WITH_A_RESULT = ("plan", "apply", "destroy", "drift", "check", "rollback", "inventory", "rehearse")
"""The commands whose standard output is a result for programs, so that a failure is one too."""


class RunOutcome(Struct):
    """What this run has reported so far. The options of its command hold it."""

    options: GlobalOptions | None = None
    """The options, as far as click has read them."""
    plan: Plan | None = None
    """The plan that was made or loaded. The report of a later failure includes it."""
    is_printed: bool = False
    """Whether standard output has a result."""
    lost_report: bool = False
    """Whether a report could not be written."""

    def exit_code(self, code: int) -> int:
        """The final exit code: a lost report turns success into an error."""
        return 1 if code == 0 and self.lost_report else code


@contextmanager
def reported(outcome: RunOutcome) -> Iterator[None]:
    """Write a failure of this block to every report, and for programs to standard output too."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort, KeyboardInterrupt) as stop:
        if not isinstance(stop, click.exceptions.Exit) or stop.exit_code:
            _report(outcome, stop)
        raise
    except BrokenPipeError:
        raise
    except Exception as error:
        _report(outcome, error)
        raise


def _report(outcome: RunOutcome, error: BaseException) -> None:
    options = outcome.options
    if options is None:
        return  # click could not read the command line
    prints = (
        options.format in _FOR_PROGRAMS
        and options.command in _WITH_A_RESULT
        and not isinstance(error, click.ClickException)
        and not outcome.is_printed
    )
    if not options.report and not prints:
        return
    # Only a failure needs these.
    from reconciler.cli.failures import diagnostics_of, redactor, refusals_of
    from reconciler.cli.reporting import reports_of, save_report
    from reconciler.errors import UsageError
    from reconciler.render.failures import Failure, render_failure

    failure = Failure(
        command=options.command,
        diagnostics=diagnostics_of(error),
        refusals=refusals_of(error),
        plan=outcome.plan,
    )
    if prints and options.format is not None:
        click.echo(redactor(render_failure(failure, options.format)), nl=False)
        outcome.is_printed = True
    # A report that cannot be written is the very failure that ended the run.
    with suppress(UsageError):
        for path, name in reports_of(options):
            save_report(options, path, redactor(render_failure(failure, name)))
