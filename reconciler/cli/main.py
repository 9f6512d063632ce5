"""The entry point: finds the command, runs it, and turns its errors into an exit code.

Commands are imported when they are called, so that `--version`, `--help` and shell completion pay
for none of them. Nothing but this module ends the process.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from reconciler import __version__
from reconciler.cli.interrupts import leave, listening
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.outcome import RunOutcome, reported
from reconciler.cli.streams import prepare
from reconciler.model.formats import ALL_FORMATS, PLAIN_FORMATS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "init": "Write a stack to start from, with a CI workflow.",
    "validate": "Check manifests offline, without a key.",
    "render": "Print manifests with everything expanded, offline.",
    "plan": "Show what apply would change, and save it with --out.",
    "apply": "Create, update and delete objects as the manifests declare.",
    "drift": "Show what changed at the API since the last apply.",
    "rotate": "Rotate keys that are due, and nothing else.",
    "accept": "Write changes made by hand into the manifests.",
    "inventory": "List all objects, and how many of them are managed.",
    "rehearse": "Apply a plan to a copy of the organization, and report.",
    "doctor": "Check keys, network, clock, state and models, and say what to do.",
    "check": "Run the checks that manifests declare.",
    "history": "List recorded runs, or show one of them.",
    "audit": "List audit log entries, newest first.",
    "costs": "Show costs by project, line item or day.",
    "usage": "Show usage by project, model or day.",
    "rollback": "Undo the changes of a run, from the state alone.",
    "destroy": "Delete everything that the stack manages, dependents first.",
    "export": "Write manifests for existing objects, and bind them.",
    "import": "Bind an object to an address, or import a Terraform state.",
    "show": "Show a saved plan.",
    "graph": "Print the dependency graph of resources.",
    "output": "Print the stack's outputs from the last apply.",
    "explain": "Document a kind or a field, or list the kinds.",
    "state": "List, show, move and remove records of the state.",
    "schema": "Print the JSON Schema of manifests.",
    "fleet": "Plan, apply and watch many stacks in one run.",
    "ci": "Post reports to pull requests and issues, from a CI job.",
    "emulator": "Serve the API on this machine until Ctrl-C.",
    "operator": "Reconcile the Stacks of a Kubernetes cluster until SIGTERM.",
}
"""Each command and its summary, the first sentence of its help, in the order of the help page."""


class _LazyGroup(click.Group):
    """A group that imports a command's module only to run the command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # A module cannot have the name of a keyword.
        name = "import_" if cmd_name == "import" else cmd_name
        command: click.Command = importlib.import_module(f"reconciler.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        names = [name for name in COMMANDS if name.startswith(incomplete)]
        items = [CompletionItem(name, help=COMMANDS[name]) for name in names]
        # Not by `click.Group`, which would import every command for its help.
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from reconciler.model.diagnostic import nearest

            hint = nearest(args[0], COMMANDS)
            raise click.UsageError(f'There is no command "{args[0]}".{hint}', ctx) from error


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done or nothing to do, 1 error, 2 changes or drift, 10 stale plan, "
    "11 refused by a guard or policy, 12 lock held, 13 partly applied, 130 interrupted.",
)
@click.version_option(__version__, prog_name="reconciler", message="%(prog)s %(version)s")
@partial(global_options, formats=ALL_FORMATS)
def cli(options: GlobalOptions) -> None:
    """Infrastructure as code for the OpenAI platform.

    Declare objects in git, review a plan in the pull request, and apply it from CI.
    """
    click.get_current_context().obj = options


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    outcome = RunOutcome()
    code = _run(outcome, arguments)
    # After the run, so that no failure of telemetry can change what the run did.
    if outcome.ended:
        from reconciler.cli.metrics import end_telemetry

        end_telemetry(outcome, outcome.exit_code(code))
    if outcome.options is not None and outcome.options.formats != PLAIN_FORMATS:
        from reconciler.cli.github import finish_step

        finish_step(outcome.options, outcome.exit_code(code))
    return outcome.exit_code(code)


def _run(outcome: RunOutcome, arguments: Sequence[str] | None) -> int:
    words = arguments
    if words is None:
        words = sys.argv[1:]
    try:
        with reported(outcome, words):
            result = cli.main(
                args=arguments, prog_name="reconciler", standalone_mode=False, obj=outcome
            )
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nInterrupted.", err=True)
        return 130
    except Exception as error:  # noqa: BLE001 - the last place that can turn a failure into a sentence
        from reconciler.cli.failures import report

        return report(error, outcome.options or GlobalOptions())
    # A group without a command returns nothing.
    if isinstance(result, int):
        return result
    return 0


def main() -> None:
    """Run the process's own command line and exit."""
    listening()
    prepare()
    leave(run())
