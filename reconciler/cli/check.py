"""`reconciler check`: makes the calls of declared checks, and compares the answers."""

from __future__ import annotations

import click

from reconciler.app.addresses import parse_addresses
from reconciler.app.checks import carry_out_checks, declared_checks
from reconciler.app.exit_codes import exit_code_of_checks
from reconciler.cli.options import GlobalOptions, report_options
from reconciler.cli.reporting import publish
from reconciler.cli.session import CommandSession
from reconciler.errors import UsageError
from reconciler.model.diagnostic import nearest
from reconciler.model.rule import Rule


@click.command("check")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option(
    "--costly", is_flag=True, help="Include expensive checks, such as those that generate images."
)
@report_options
def command(options: GlobalOptions, addresses: tuple[str, ...], costly: bool) -> int:
    """Run the checks that manifests declare.

    With ADDRESS, run only those checks. Exit with 1 if a check fails.
    """
    with CommandSession(options) as session:
        rules = _chosen(session, addresses)
        # A check that the user names may cost money.
        may_cost = costly or bool(addresses)
        # A check that is interrupted still deletes the objects that it created.
        with session.interrupts.finishing_first():
            report = carry_out_checks(session, rules, may_cost=lambda _: may_cost)
        publish(options, lambda to: to.checks(report))
    return exit_code_of_checks(report)


def _chosen(session: CommandSession, texts: tuple[str, ...]) -> list[Rule]:
    """The checks at the addresses, or all checks without an address; raises UsageError."""
    rules = {rule.address: rule for rule in declared_checks(session)}
    if not texts:
        return list(rules.values())
    addresses = parse_addresses(texts, "check")
    for address in addresses:
        if address not in rules:
            hint = nearest(str(address), map(str, rules))
            raise UsageError(f"no manifest declares the check {address}.{hint}")
    return [rules[address] for address in dict.fromkeys(addresses)]
