"""Options that several commands share, and what they add up to.

Global options may stand before or after the command: `reconciler -e prod plan` and `reconciler plan -e prod` are the
same. A value after the command wins, lists add up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from reconciler.cli.outcome import RunOutcome

FORMATS = ("text", "json", "markdown")


@dataclass(frozen=True)
class GlobalOptions:
    """What the command line says about every command. Lists are in the order in which they were given."""

    chdir: Path = Path()
    env: str | None = None
    base_url: str | None = None
    var: tuple[str, ...] = ()
    var_file: tuple[Path, ...] = ()
    allow_env: tuple[str, ...] = ()
    format: str | None = None
    report: tuple[str, ...] = ()
    parallelism: int = 10
    no_color: bool = False
    verbose: int = 0
    log_format: str = "text"
    formats: tuple[str, ...] = FORMATS
    """What a report of the command can be written as."""
    command: str = ""
    """The command as it was typed, without the options: `state import`."""
    outcome: RunOutcome = field(default_factory=RunOutcome, compare=False)
    """What the run has reported so far."""

    def merged(self, values: dict[str, Any]) -> GlobalOptions:
        """These options with others laid over them; None and empty values change nothing."""
        given = {name: value for name, value in values.items() if value not in (None, (), False, 0)}
        for name in ("var", "var_file", "allow_env", "report"):
            if name in given:
                given[name] = (*getattr(self, name), *given[name])
        merged = replace(self, **given)
        self.outcome.options = merged
        return merged


_GLOBAL = (
    click.option("-C", "--chdir", type=click.Path(path_type=Path), metavar="DIR", help="Work in this stack's folder."),
    click.option("-e", "--env", metavar="ENV", help="The environment, one of those in the stack file."),
    click.option("--base-url", metavar="URL", help="The API's address; otherwise OPENAI_BASE_URL, otherwise OpenAI."),
    click.option("--var", multiple=True, metavar="NAME=VALUE", help="Set a variable; repeatable."),
    click.option(
        "--var-file", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Set variables from a file."
    ),
    click.option(
        "--allow-env",
        multiple=True,
        metavar="NAME",
        help="Let manifests read this environment variable; repeatable. So does RECONCILER_ALLOW_ENV.",
    ),
    click.option(
        "--report", multiple=True, metavar="FILE:FORMAT", help="Write the result to a file as well; repeatable."
    ),
    click.option("--parallelism", type=click.IntRange(1, 100), metavar="N", help="Calls at the same time (10)."),
    click.option("--no-color", is_flag=True, help="No colours; so does the variable NO_COLOR."),
    click.option("-v", "--verbose", count=True, help="Say more on standard error; -vv every call."),
    click.option(
        "--log-format", type=click.Choice(("text", "json")), help="How the talk on standard error is written."
    ),
)

_PLANNING = (
    click.option(
        "--target", multiple=True, metavar="ADDRESS", help="Plan this and what it needs, nothing else; repeatable."
    ),
    click.option(
        "--replace", multiple=True, metavar="ADDRESS", help="Replace this object even if nothing differs; repeatable."
    ),
    click.option("--adopt", is_flag=True, help="Take over every object that is the only one with its natural key."),
    click.option(
        "--allow-delete", multiple=True, metavar="ADDRESS", help="Let the guards pass the deletion of this; repeatable."
    ),
    click.option(
        "--refresh",
        type=click.Choice(("auto", "full", "none")),
        default="auto",
        help="How live state is read: auto leaves out what the audit log shows to be unchanged, full reads all, "
        "none plans from the state alone, without a call: for a look, and refused where it would be carried out.",
    ),
    click.option(
        "--budget",
        type=click.IntRange(0),
        metavar="CALLS",
        help="Refuse if reading needs more calls, and never make more.",
    ),
)


_PLANNING_NAMES = ("target", "replace", "adopt", "allow_delete", "refresh", "budget")


def global_options(function: Callable[..., Any], *, formats: Sequence[str] = FORMATS) -> Callable[..., Any]:
    """Add the global options to a command or to the group; what they come to is handed in as `options`."""

    @wraps(function)
    def with_options(**values: Any) -> Any:
        context = click.get_current_context()
        outcome = context.find_object(RunOutcome) or RunOutcome()
        base = context.find_object(GlobalOptions) or GlobalOptions(outcome=outcome)
        given = {item.name: values.pop(item.name) for item in fields(GlobalOptions) if item.name in values}
        given |= {
            "formats": tuple(dict.fromkeys((*FORMATS, *formats))),
            "command": " ".join(context.command_path.split()[1:]),
        }
        return function(options=base.merged(given), **values)

    choice = click.option("--format", type=click.Choice(formats), help="How the result is written; text by default.")
    return _decorated(with_options, (choice, *_GLOBAL))


def planning_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that plans; the command receives them as `request`."""

    @wraps(function)
    def with_options(**values: Any) -> Any:
        # The command's module has imported this already; `--version` has not, and stays fast.
        from reconciler.app.plans import PlanRequest

        given = {name: values.pop(name) for name in _PLANNING_NAMES}
        return function(request=PlanRequest(**given), **values)

    return _decorated(with_options, _PLANNING)


def _decorated(function: Callable[..., Any], decorators: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    for decorate in reversed(decorators):
        function = decorate(function)
    return function
