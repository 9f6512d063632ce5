"""The entry point: finds the command, runs it, and turns what it raises into an exit code.

Commands are imported when they are called, so that `--version` and shell completion do not pay for the rest. Nothing
but this module ends the process.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from reconciler import __version__
from reconciler.cli.interrupts import leave, listening
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.outcome import final_code, reported
from reconciler.cli.streams import prepare

COMMANDS = {
    "init": "reconciler.cli.init",
    "validate": "reconciler.cli.validate",
    "plan": "reconciler.cli.plan",
    "apply": "reconciler.cli.apply",
    "drift": "reconciler.cli.drift",
    "check": "reconciler.cli.check",
    "history": "reconciler.cli.history",
    "audit": "reconciler.cli.audit",
    "costs": "reconciler.cli.costs",
    "usage": "reconciler.cli.usage",
    "rollback": "reconciler.cli.rollback",
    "destroy": "reconciler.cli.destroy",
    "import": "reconciler.cli.import_",
    "show": "reconciler.cli.show",
    "graph": "reconciler.cli.graph",
    "output": "reconciler.cli.output",
    "explain": "reconciler.cli.explain",
    "state": "reconciler.cli.state",
    "schema": "reconciler.cli.schema",
    "emulator": "reconciler.cli.emulator",
}
"""Each command and the module whose `command` it is, in the order in which help lists them."""

_OBJECTS_BETWEEN_COLLECTIONS = 1_000_000


class _LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        return importlib.import_module(module).command if module else None

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
    epilog="Exit codes: 0 done or nothing to do, 1 error, 2 changes or drift, 10 stale plan, 11 refused by a guard, "
    "12 lock held, 13 applied in part, 130 interrupted.",
)
@click.version_option(__version__, prog_name="reconciler", message="%(prog)s %(version)s")
@global_options
def cli(options: GlobalOptions) -> None:
    """The OpenAI platform as code: manifests in git, a plan in the pull request, an apply from CI."""
    click.get_current_context().obj = options


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    try:
        with reported():
            result = cli.main(args=arguments, prog_name="reconciler", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nInterrupted.", err=True)
        return 130
    except Exception as error:  # noqa: BLE001 - the last place where a failure can be turned into a sentence
        from reconciler.cli.failures import report

        return report(error, cli_options())
    return final_code(result if isinstance(result, int) else 0)


def cli_options() -> GlobalOptions:
    """The options of the command that runs now, as far as they were read."""
    return GlobalOptions.current or GlobalOptions()


def main() -> None:
    """Run the process's own command line and exit."""
    listening()
    prepare()
    # Nearly all that a run makes is kept until its end, so looking for garbage finds none.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    leave(run())
