"""Options that several commands share.

Global options may precede or follow the command: `reconciler -e prod plan` and
`reconciler plan -e prod` are the same. A value after the command wins; lists are concatenated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from reconciler.cli.outcome import RunOutcome
from reconciler.model.formats import PLAIN_FORMATS, REPORT_FORMATS


class GlobalOptions:
    """The options of every command. Lists keep the order of the command line.

    No struct or dataclass: to import or make one takes longer than all that `--version` does.
    """

    chdir: Path = Path()
    env: str | None = None
    base_url: str | None = None
    backend: str | None = None
    var: tuple[str, ...] = ()
    var_file: tuple[Path, ...] = ()
    allow_env: tuple[str, ...] = ()
    allow_sinks: tuple[str, ...] = ()
    allow_sources: tuple[str, ...] = ()
    format: str | None = None
    report: tuple[str, ...] = ()
    parallelism: int = 10
    lock_wait: float = 0.0
    """How long to wait for the lock of another run, in seconds. For commands that take the lock."""
    policies: tuple[Path, ...] = ()
    """Folders with trusted policies. For commands that evaluate policies."""
    override_policy: tuple[str, ...] = ()
    """`NAME=REASON` for each policy to override."""
    metrics: Path | None = None
    """A file for metrics. For commands that read whole stacks."""
    spend: bool = False
    """Whether metrics include what was spent. For commands of fleets."""
    notify: bool = False
    """Whether changes of state are announced. For commands of fleets."""
    no_color: bool = False
    verbose: int = 0
    log_format: str = "text"
    formats: tuple[str, ...] = PLAIN_FORMATS
    """The formats that a report of the command can have."""
    full: bool = False
    """Whether reports cut nothing. For commands with reports of every format."""
    command: str = ""
    """The words of the command, without options: `state import`."""
    outcome: RunOutcome
    """The results of the run so far."""

    def __init__(self, **given: Any) -> None:
        unknown = given.keys() - self.__annotations__.keys()
        if unknown:
            raise TypeError(f"no such options: {', '.join(sorted(unknown))}")
        self.outcome = RunOutcome()
        vars(self).update(given)

    def __repr__(self) -> str:
        # The address of a backend may hold a password, so the options print without their values.
        return f"<GlobalOptions of {self.command!r}>"

    def replaced(self, **given: Any) -> GlobalOptions:
        """A copy with other values."""
        return GlobalOptions(**{**vars(self), **given})

    def merged(self, values: dict[str, Any]) -> GlobalOptions:
        """These options overridden by `values`; None and empty values override nothing."""
        given = {name: value for name, value in values.items() if value not in (None, (), False, 0)}
        # Lists are concatenated: options before and after the command both count.
        for name in ("var", "var_file", "allow_env", "allow_sinks", "allow_sources", "report"):
            if name in given:
                given[name] = (*getattr(self, name), *given[name])
        merged = self.replaced(**given)
        # A failure from here on is reported in the way that the options ask for.
        self.outcome.options = merged
        return merged


_GLOBAL = (
    click.option(
        "-C",
        "--chdir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Work in this stack's folder.",
    ),
    click.option("-e", "--env", metavar="ENV", help="Use this environment of the stack file."),
    click.option(
        "--base-url",
        metavar="URL",
        help="Address of the API; OPENAI_BASE_URL or OpenAI's own by default.",
    ),
    click.option(
        "--backend",
        metavar="ADDRESS",
        help="Address of the state, such as postgresql://HOST/DATABASE or s3://BUCKET/PREFIX; "
        "RECONCILER_BACKEND by default.",
    ),
    click.option("--var", multiple=True, metavar="NAME=VALUE", help="Set a variable; repeatable."),
    click.option(
        "--var-file",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Set variables from a file; repeatable.",
    ),
    click.option(
        "--allow-env",
        multiple=True,
        metavar="NAME",
        help="Let manifests read this environment variable, in addition to those in RECONCILER_ALLOW_ENV; repeatable.",
    ),
    click.option(
        "--allow-sinks",
        multiple=True,
        metavar="GLOB",
        help="Deliver keys only to places that match, such as vault:secret/search/**; "
        "adds to RECONCILER_ALLOW_SINKS; repeatable.",
    ),
    click.option(
        "--allow-sources",
        multiple=True,
        metavar="GLOB",
        help="Send secrets only from places that match, such as vault:secret/search/*; "
        "adds to RECONCILER_ALLOW_SOURCES; repeatable.",
    ),
    click.option(
        "--report",
        multiple=True,
        metavar="FILE:FORMAT",
        help="Also write the result to a file; repeatable.",
    ),
    click.option(
        "--parallelism",
        type=click.IntRange(1, 100),
        metavar="N",
        help="Maximum number of concurrent calls; 10 by default.",
    ),
    click.option("--no-color", is_flag=True, help="Disable colors, as NO_COLOR does."),
    click.option("-v", "--verbose", count=True, help="Log each step to stderr; -vv each call."),
    click.option(
        "--log-format",
        type=click.Choice(("text", "json")),
        help="Format of messages on stderr; text by default.",
    ),
)

_PLANNING = (
    click.option(
        "--target",
        multiple=True,
        metavar="ADDRESS|GLOB",
        help="Plan only this address and what it needs; repeatable.",
    ),
    click.option(
        "--replace",
        multiple=True,
        metavar="ADDRESS|GLOB",
        help="Replace this object even if nothing differs; repeatable.",
    ),
    click.option(
        "--adopt",
        is_flag=True,
        help="Adopt each existing object that is the only one with its natural key.",
    ),
    click.option(
        "--allow-delete",
        multiple=True,
        metavar="ADDRESS|GLOB",
        help="Allow the deletion of this address past the guards; repeatable.",
    ),
    click.option(
        "--refresh",
        type=click.Choice(("auto", "full", "none")),
        default="auto",
        help="How to read live state. auto: skip what the audit log shows as unchanged; full: read "
        "everything; none: plan from state only, no API calls (preview only, cannot be applied).",
    ),
    click.option(
        "--budget",
        type=click.IntRange(0),
        metavar="CALLS",
        help="Make at most this many calls to read live state; refuse a plan that needs more.",
    ),
)
_PLANNING_NAMES = ("target", "replace", "adopt", "allow_delete", "refresh", "budget")


def global_options(
    function: Callable[..., Any], *, formats: Sequence[str] = PLAIN_FORMATS
) -> Callable[..., Any]:
    """Add the global options to a command or the group, which receives them as `options`."""

    @wraps(function)
    def with_options(**values: Any) -> Any:
        context = click.get_current_context()
        outcome = context.find_object(RunOutcome) or RunOutcome()
        base = context.find_object(GlobalOptions) or GlobalOptions(outcome=outcome)
        # Options of some commands, such as --metrics, are fields too. Each command takes its own.
        names = [name for name in GlobalOptions.__annotations__ if name in values]
        given = {name: values.pop(name) for name in names}
        given |= {
            "formats": tuple(dict.fromkeys((*PLAIN_FORMATS, *formats))),
            "command": " ".join(context.command_path.split()[1:]),
        }
        options = base.merged(given)
        # A format before the command is that of all commands, so click could not refuse it.
        if options.command and options.format and options.format not in options.formats:
            raise click.BadParameter(
                f"{options.command} has no format {options.format}; it has {', '.join(options.formats)}.",
                context,
                param_hint="--format",
            )
        return function(options=options, **values)

    choice = click.option(
        "--format", type=click.Choice(formats), help="Format of the result; text by default."
    )
    return decorated(with_options, (choice, *_GLOBAL))


def report_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The global options of a command whose result has every report format."""
    full = click.option(
        "--full", is_flag=True, help="Do not shorten reports in text, Markdown and HTML."
    )
    return decorated(partial(global_options, formats=REPORT_FORMATS)(function), (full,))


def lock_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option of every command that takes the lock, above `global_options`."""
    wait = click.option(
        "--lock-wait",
        metavar="DURATION",
        callback=duration_option,
        help="If another run holds the lock, wait for it this long: 30s, 5m, 1h. By default, fail at once.",
    )
    return decorated(function, (wait,))


def metrics_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option of every command that reads whole stacks, above `global_options`."""
    file = click.option(
        "--metrics",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write metrics of the run to this file, for the textfile collector of node exporter.",
    )
    return decorated(function, (file,))


def notify_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option of every command that reads a fleet, above `global_options`."""
    flag = click.option(
        "--notify",
        is_flag=True,
        help="Send notices of new drift, refusals, failures and overdue keys to the targets in "
        "RECONCILER_NOTICE_URLS.",
    )
    return decorated(function, (flag,))


def spend_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option of every command that reads a fleet, above `global_options`."""
    flag = click.option(
        "--spend",
        is_flag=True,
        help="Include spending against spend limits in metrics: one admin call for each "
        "organization with limits, at most once an hour.",
    )
    return decorated(function, (flag,))


def policy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that evaluates policies, above `global_options`."""
    folders = click.option(
        "--policies",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Also evaluate the policies in this folder, which manifests cannot weaken; repeatable.",
    )
    overrides = click.option(
        "--override-policy",
        multiple=True,
        metavar="NAME=REASON",
        help="Allow this overridable policy to fail, and report the reason; repeatable.",
    )
    return decorated(function, (folders, overrides))


def duration_option(
    context: click.Context, option: click.Parameter, text: str | None
) -> float | None:
    """The seconds of an option's duration; raises `click.UsageError`."""
    from reconciler.errors import UsageError
    from reconciler.model.durations import seconds_of_option

    if text is None:
        return None
    try:
        return seconds_of_option(text, option.opts[0])
    except UsageError as error:
        # click has not read all options yet. Its own errors are written to the reports of those too.
        raise click.UsageError(str(error), context) from error


def planning_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that plans; the command receives them as `request`."""

    @wraps(function)
    def with_options(**values: Any) -> Any:
        # The module of the command has imported this already. `--version` imports no command and
        # stays fast.
        from reconciler.app.plans import PlanRequest

        given = {name: values.pop(name) for name in _PLANNING_NAMES}
        return function(request=PlanRequest(**given), **values)

    return decorated(with_options, _PLANNING)


def decorated(
    function: Callable[..., Any], decorators: Sequence[Callable[..., Any]]
) -> Callable[..., Any]:
    """A function with several decorators, the first outermost."""
    # In reverse, so that `--help` lists the options in the given order.
    for decorate in reversed(decorators):
        function = decorate(function)
    return function
