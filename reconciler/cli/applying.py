"""The steps that `apply`, `destroy` and `rollback` share: show, guard, ask, apply, report.

`plan` shares some of them. The parts that apply are imported only to apply.
"""

from __future__ import annotations

import sys

import click

from reconciler.app.exit_codes import final_exit_code
from reconciler.app.plans import PlanRequest, with_refusals
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import (
    as_printed,
    as_printed_result,
    echo,
    publish,
    publish_plan,
    talk,
    text_renderer,
)
from reconciler.cli.session import CommandSession
from reconciler.errors import GuardError, UsageError
from reconciler.model.change import Plan


def ask_or_refuse(*, yes: bool, action: str) -> None:
    """Ask for approval on a terminal. Raises Exit on any answer but yes, UsageError elsewhere."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "Cannot ask for approval: standard input is not a terminal.",
            hint=f"Use --yes to carry out the {action} without asking.",
        )
    # On stderr, since standard output may be piped into a file.
    talk(f"\nDo you want to carry out this {action}? Only yes is accepted.")
    click.echo("  Enter a value: ", err=True, nl=False)
    if sys.stdin.readline().strip() != "yes":
        talk(f"The {action} was cancelled. Nothing has been changed.")
        raise click.exceptions.Exit(1)


def review(
    session: CommandSession,
    plan: Plan,
    request: PlanRequest,
    *,
    yes: bool,
    action: str,
    command: str,
) -> int:
    """Show a plan, check it, ask for approval, and apply it; the exit code.

    `action` names it in the question: "Do you want to carry out this …?".
    """
    if plan.is_empty and not plan.blocked:
        publish_plan(session.options, plan)
        return 0
    show(session, plan)
    check_guards(session, plan, request)
    # A plan that only reports errors changes nothing, so nobody has to approve it.
    ask_or_refuse(yes=yes or plan.is_empty, action=action)
    return carry_out(session, plan, command=command)


def carry_out(session: CommandSession, plan: Plan, *, command: str, check: bool = False) -> int:
    """Apply a plan that was shown and approved, and report the result; the exit code."""
    from reconciler.app.applying import apply_checked_plan

    # From here on an interrupt waits until every finished change is recorded and listed.
    with session.interrupts.finishing_first():
        result = apply_checked_plan(session, plan, command=command, check=check)
        # Before it is published, so that a failure to publish still reports the result.
        session.options.outcome.result = result
        if plan.pending or plan.blocked:
            publish(
                session.options,
                lambda to: to.result(result),
                printed=lambda to: to.result(as_printed_result(session.options, result)),
            )
    return final_exit_code(result)


def check_guards(session: CommandSession, plan: Plan, request: PlanRequest) -> None:
    """As `app.plans.check_guards`; the report of any failure includes the plan with its refusals."""
    plan = refused(session, plan, request)
    if plan.refusals:
        raise GuardError(plan.refusals)


def refused(session: CommandSession, plan: Plan, request: PlanRequest) -> Plan:
    """The plan with the refusals of guards. The report of any later failure includes the plan."""
    plan = with_refusals(session, plan, request)
    session.options.outcome.plan = plan
    return plan


def show(session: CommandSession, plan: Plan) -> None:
    """Print the plan before the apply; nothing in formats for programs, which get the result."""
    options = session.options
    if options.format not in (None, "text", "github"):
        return
    text = redactor(text_renderer(options, sys.stdout).plan(as_printed(options, plan)))
    # A name of the live API at the beginning of a line could be a command to the runner.
    if options.format == "github":
        from reconciler.cli.github import without_commands

        text = without_commands(text)
    echo(options, f"{text}\n")
