"""`reconciler check`: make the calls that manifests declare as checks, and compare the answers."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import GlobalOptions, global_options

if TYPE_CHECKING:
    from reconciler.cli.session import Session
    from reconciler.model.checking import CheckReport
    from reconciler.model.rule import Rule


@click.command("check")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS…]")
@click.option("--costly", is_flag=True, help="Run those too that cost noticeably each time, such as images.")
@partial(global_options, formats=("text", "json", "markdown", "junit"))
def command(options: GlobalOptions, addresses: tuple[str, ...], costly: bool) -> int:
    """Run the checks that manifests declare, or those of ADDRESS; exit with 1 if any fails."""
    from reconciler.cli.checking import carry_out_checks
    from reconciler.cli.session import Session

    with closing(Session(options)) as session:
        rules = _wanted(session, addresses)
        named = bool(addresses)
        with session.interrupts.finishing_first():
            report = carry_out_checks(session, rules, may_cost=lambda _: costly or named)
        publish_checks(session, report)
    if report.interrupted:
        return 130
    return 0 if report.passed else 1


def _wanted(session: Session, addresses: tuple[str, ...]) -> list[Rule]:
    """The checks of the addresses, all of them where there are none; raises UsageError."""
    from reconciler.cli.checking import declared_checks
    from reconciler.cli.session import parse_addresses
    from reconciler.errors import UsageError
    from reconciler.model.diagnostic import nearest

    rules = {rule.address: rule for rule in declared_checks(session)}
    if not addresses:
        return list(rules.values())
    for address in parse_addresses(addresses, "check"):
        if address not in rules:
            raise UsageError(f"no manifest declares the check {address}.{nearest(str(address), map(str, rules))}")
    return [rules[address] for address in dict.fromkeys(parse_addresses(addresses, "check"))]


def publish_checks(session: Session, report: CheckReport) -> None:
    """Write a report of checks where the options say."""
    import sys

    from reconciler.cli.reporting import deliver, wants_color
    from reconciler.render.checks import json_view, junit_view, markdown_view, text_view

    color = wants_color(session.options, sys.stdout)
    deliver(
        session.options,
        {
            "text": lambda: text_view(report, color=color),
            "json": lambda: json_view(report),
            "markdown": lambda: markdown_view(report),
            "junit": lambda: junit_view(report),
        },
    )
