"""`reconciler fleet`: many stacks in one run."""

from __future__ import annotations

from functools import partial

import click
from msgspec.structs import replace

from reconciler.cli.command_group import WholeSummaries
from reconciler.cli.fleet_list import MATRIX, list_stacks
from reconciler.cli.fleet_options import CommandFleet, FleetChoice, choice_options, run_options
from reconciler.cli.fleet_report import report_fleet
from reconciler.cli.fleet_run import apply_fleet, run_and_report
from reconciler.cli.options import GlobalOptions, global_options, lock_option, report_options
from reconciler.fleet.runner import FleetOptions
from reconciler.fleet.stack_run import StackRequest
from reconciler.model.fleet import Command


@click.group("fleet", cls=WholeSummaries)
def command() -> None:
    """Plan, apply and watch many stacks in one run."""


@command.command("list")
@click.option(
    "--shards",
    type=click.IntRange(1, 256),
    metavar="TOTAL",
    help="List shards for --shard instead of stacks.",
)
@choice_options
@partial(global_options, formats=("text", "json", MATRIX))
def list_(options: GlobalOptions, choice: FleetChoice, shards: int | None) -> int:
    """List the stacks and their environments, offline and without a key.

    With --format github-matrix, print the matrix of a GitHub Actions job.
    """
    return list_stacks(CommandFleet(options, choice), shards=shards)


@command.command("plan")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are changes.")
@run_options(Command.PLAN, refresh="auto")
def plan(
    fleet: CommandFleet, request: StackRequest, run: FleetOptions, detailed_exitcode: bool
) -> int:
    """Show what apply would change in each stack, worst first. Changes nothing."""
    report = run_and_report(fleet, request, run)
    has_changes = any(stack.counts for stack in report.stacks)
    # A failure of a stack outranks the changes of the others.
    if detailed_exitcode and has_changes and not report.exit_code:
        return 2
    return report.exit_code


@command.command("drift")
@click.option(
    "--unmanaged",
    is_flag=True,
    help="Also count objects that a stack does not manage, those of other stacks included.",
)
@click.option("--blame", is_flag=True, help="Look up in the audit log who made each change.")
# A full refresh, because it finds changes that the audit log does not report.
@run_options(Command.DRIFT, refresh="full")
def drift(
    fleet: CommandFleet, request: StackRequest, run: FleetOptions, unmanaged: bool, blame: bool
) -> int:
    """Show drift in each stack, worst first."""
    request = replace(request, plan=replace(request.plan, unmanaged=unmanaged), blame=blame)
    return run_and_report(fleet, request, run).exit_code


@command.command("apply")
@click.option("--yes", "-y", is_flag=True, help="Apply without asking, as CI does.")
@click.option(
    "--approve",
    multiple=True,
    metavar="DIGEST",
    help="Apply without asking, but only the fleet, or the stacks, whose plans have this digest; "
    "exit with 10 otherwise. Repeatable.",
)
@click.option("--check", is_flag=True, help="Then run the checks that refer to a change.")
@lock_option
@run_options(Command.APPLY, refresh="auto")
def apply(
    fleet: CommandFleet,
    request: StackRequest,
    run: FleetOptions,
    yes: bool,
    approve: tuple[str, ...],
    check: bool,
) -> int:
    """Apply the plans of all stacks; continue if a stack fails.

    Plan all stacks, show a summary and ask once. With --approve, plan again and apply only what was
    reviewed. Stacks that read outputs of others wait for them.
    """
    request = replace(request, check=check)
    return apply_fleet(fleet, request, run, yes=yes, approve=approve).exit_code


@command.command("report")
@click.option(
    "--since",
    default="30d",
    metavar="TIME",
    help="Count runs and failures since this time: 2026-11-01, 30d or 12h; 30d by default.",
)
@click.option(
    "--states",
    is_flag=True,
    help="Also read the runs in the state of each stack, such as applies of single stacks.",
)
@click.option(
    "--everywhere", is_flag=True, help="Also report recorded stacks that have no folder here."
)
@choice_options
@report_options
def report(
    options: GlobalOptions, choice: FleetChoice, since: str, states: bool, everywhere: bool
) -> int:
    """Show the status of all stacks, from recorded runs. Makes no API call."""
    return report_fleet(
        CommandFleet(options, choice), since, with_states=states, everywhere=everywhere
    )
