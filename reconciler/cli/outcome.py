"""The outcome of a run, so that every report file ends with it.

A CI job posts or trusts the report file of a run. A failed run must not leave the report of the
last successful run behind, so its errors and refusals overwrite that report. This module does so
around every command. Commands themselves publish only results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from reconciler.cli.options import GlobalOptions
    from reconciler.model.change import ApplyResult, Plan
    from reconciler.model.finding import Finding
    from reconciler.model.fleet import FleetReport
    from reconciler.model.report import PastRun
    from reconciler.render import Renderer
    from reconciler.render.failures import RunFailure

_WITH_A_RESULT = (
    "plan",
    "apply",
    "destroy",
    "drift",
    "check",
    "rollback",
    "show",
    "validate",
    "inventory",
    "rehearse",
    "fleet plan",
    "fleet apply",
    "fleet drift",
    "fleet report",
)
"""The commands whose standard output is a result for programs, so that a failure is one too."""


class RunOutcome:
    """The results of this run so far. The options of its command hold it."""

    def __init__(self) -> None:
        self.options: GlobalOptions | None = None
        """The options, as far as click has read them."""
        self.plan: Plan | None = None
        """The plan that was made or loaded. The report of a later failure includes it."""
        self.result: ApplyResult | None = None
        """The result of an apply."""
        self.ended: list[Callable[[int], None]] = []
        """Functions to call with the exit code once the command has ended."""
        self.fleet: FleetReport | None = None
        """The report of a run of a fleet."""
        self.plan_path: str = ""
        """The file that the plan was saved to or loaded from."""
        self.findings: list[Finding] = []
        """Results other than the plan, for every report: policies, rehearsals, diagnoses."""
        self.history: Callable[[], tuple[PastRun, ...]] | None = None
        """Reads the latest runs of the stack, once it is known."""
        self.render: Callable[[Renderer], str] | None = None
        """Renders the latest result."""
        self.is_printed: bool = False
        """Whether standard output has a result."""
        self.lost_report: bool = False
        """Whether a report could not be written."""

    def exit_code(self, code: int) -> int:
        """The final exit code: a lost report turns success into an error."""
        if self.lost_report and code == 0:
            return 1
        return code


@contextmanager
def reported(outcome: RunOutcome, arguments: Sequence[str]) -> Iterator[None]:
    """Write a failure of this block to every report, and for programs to standard output too."""
    try:
        yield
    except (click.exceptions.Exit, click.Abort, KeyboardInterrupt) as stop:
        if not isinstance(stop, click.exceptions.Exit) or stop.exit_code:
            _report(outcome, stop)
        raise
    except BrokenPipeError:
        # The reader of standard output has closed it, which is not a failure of the run.
        raise
    except click.ClickException as error:
        _know_reports(outcome, error, arguments)
        _report(outcome, error)
        raise
    except Exception as error:
        _report(outcome, error)
        raise


def _know_reports(
    outcome: RunOutcome, error: click.ClickException, arguments: Sequence[str]
) -> None:
    """Find the report files in a command line that click could not read."""

    from reconciler.cli.options import GlobalOptions
    from reconciler.model.formats import ALL_FORMATS

    reports = []
    following = [*arguments[1:], ""]
    for word, after in zip(arguments, following, strict=True):
        if word == "--report":
            reports.append(after)
        elif word.startswith("--report="):
            reports.append(word.removeprefix("--report="))
    if not reports:
        return
    command = ""
    context = getattr(error, "ctx", None)
    if context is not None:
        command = " ".join(context.command_path.split()[1:])
    options = outcome.options or GlobalOptions(outcome=outcome)
    outcome.options = options.replaced(
        report=tuple(reports),
        formats=ALL_FORMATS,
        command=command or "reconciler",
    )


def _report(outcome: RunOutcome, error: BaseException) -> None:
    options = outcome.options
    # click could not read the command line.
    if options is None:
        return
    # Programs read standard output, so a failure is their result. For people it is on stderr.
    prints = (
        options.format not in (None, "text", "csv", "env")
        and options.command in _WITH_A_RESULT
        and not isinstance(error, click.ClickException)
        and not outcome.is_printed
    )
    if not options.report and not prints:
        return
    # Only a failure needs these.
    from reconciler.cli.failures import diagnostics_of, refusals_of
    from reconciler.render.failures import RunFailure, failure_report

    failure = RunFailure(
        command=options.command,
        diagnostics=diagnostics_of(error),
        refusals=refusals_of(error),
        plan=outcome.plan,
    )
    outcome.render = partial(failure_report, failure)
    if prints:
        _print(options, error, outcome.render)
    # The report that cannot be written is itself the failure that ended the run.
    _save(options, failure)


def _print(options: GlobalOptions, error: BaseException, render: Callable[[Renderer], str]) -> None:
    from reconciler.cli.redaction import redactor
    from reconciler.cli.reporting import echo, renderer
    from reconciler.errors import ConfigurationError

    to = renderer(options)
    # The result of `validate` is a list of diagnostics in every case.
    if options.command == "validate" and isinstance(error, ConfigurationError):
        text = to.diagnostics(error.diagnostics)
    else:
        text = render(to)
    options.outcome.is_printed = True
    echo(options, redactor(text))


def _save(options: GlobalOptions, failure: RunFailure) -> None:
    from reconciler.cli.redaction import redactor
    from reconciler.cli.reporting import renderer_of, reports_of, save_report
    from reconciler.errors import UsageError
    from reconciler.model.formats import REPORT_FORMATS
    from reconciler.render.failures import failure_report, plain_failure

    with suppress(UsageError):
        for path, name in reports_of(options):
            if name in REPORT_FORMATS:
                text = failure_report(failure, renderer_of(options, name))
            else:
                text = plain_failure(failure, name)
            save_report(options, path, redactor(text))
