"""`reconciler costs`: what the organization paid, by project, by line item or by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import click

from reconciler.api.spending import read_costs
from reconciler.app.projects import Projects
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.period import days
from reconciler.cli.reporting import deliver
from reconciler.cli.session import CommandSession
from reconciler.model.spending import Cost, Period
from reconciler.render.jsonview import document
from reconciler.render.spending import bar, money, share
from reconciler.render.tables import csv_table, markdown_table, text_table

_GROUPS: dict[
    str,
    tuple[str, ...],
] = {"project": ("project_id",), "line_item": ("line_item",), "day": ()}
_TITLES = {"project": "Project", "line_item": "Line item", "day": "Day"}


@click.command("costs")
@click.option(
    "--since",
    default="this-month",
    show_default=True,
    metavar="DAY",
    help="First day: 2026-11-01, 30d, today, this-month.",
)
@click.option("--until", metavar="DAY", help="End before this day; now by default.")
@click.option(
    "--by", type=click.Choice(tuple(_GROUPS)), default="project", help="What each row sums up."
)
@click.option(
    "--project",
    multiple=True,
    metavar="PROJECT",
    help="Only this project, by name or id; repeatable.",
)
@partial(global_options, formats=("text", "json", "markdown", "csv"))
def command(
    options: GlobalOptions, since: str, until: str | None, by: str, project: tuple[str, ...]
) -> int:
    """Show what was paid in a period.

    Counts whole days of UTC. Needs the admin key.
    """
    today = datetime.now(UTC).date()
    period = days(since, until, today=today)
    with CommandSession(options) as session:
        projects = Projects.of(session)
        ids = projects.ids(project)
        costs = read_costs(
            session.client, session.keys, period, group_by=_GROUPS[by], project_ids=ids
        )
    rows = _rows(costs, by, projects, period.days(today))
    _show(options, period, by, rows)
    return 0


def _rows(
    costs: Sequence[Cost], by: str, projects: Projects, days: Sequence[date]
) -> list[dict[str, Any]]:
    """A row for each group and currency, highest first; days in order, including those without costs."""
    sums: dict[tuple[str, Any], Decimal] = {}
    if by == "day":
        sums = {
            (currency, day): Decimal(0)
            for currency in {cost.currency for cost in costs}
            for day in days
        }
    for cost in costs:
        key = {"project": cost.project_id, "line_item": cost.line_item, "day": cost.day}[by]
        sums[cost.currency, key] = sums.get((cost.currency, key), Decimal(0)) + cost.amount
    rows = [
        {**_named(by, key, projects), "currency": currency, "amount": amount}
        for (currency, key), amount in sums.items()
    ]
    if by == "day":
        return sorted(rows, key=lambda row: (row["currency"], row["day"]))
    return sorted(rows, key=lambda row: (row["currency"], -row["amount"], row[by]))


def _named(by: str, key: Any, projects: Projects) -> dict[str, Any]:
    if by == "project":
        return {"project": projects.name(key), "project_id": key, "declared": key in projects.names}
    return {by: str(key) if key is not None else "(no line item)"}


def _totals(rows: Sequence[dict[str, Any]]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for row in rows:
        totals[row["currency"]] = totals.get(row["currency"], Decimal(0)) + row["amount"]
    return totals


def _show(options: GlobalOptions, period: Period, by: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("Nothing was paid in this period.", err=True)
    totals = _totals(rows)
    exact = [{**row, "amount": str(row["amount"])} for row in rows]
    whole = {
        "since": str(period.since),
        "until": str(period.until) if period.until else None,
        "by": by,
        "costs": exact,
        "totals": {currency: str(amount) for currency, amount in totals.items()},
    }
    names = [name for name in (by, "project_id") if any(name in row for row in rows)] or [by]
    columns = (*names, "amount", "currency")
    headers = (_TITLES[by], "Amount", "Currency", "Share")
    deliver(
        options,
        {
            "text": lambda: (
                text_table((*headers, ""), _cells(rows, by, totals, bars=True), numbers={1, 3})
                if rows
                else ""
            ),
            "markdown": lambda: (
                markdown_table(headers, _cells(rows, by, totals, bars=False)) if rows else ""
            ),
            "json": lambda: document(whole),
            "csv": lambda: csv_table(
                columns,
                [[row[name] or "" for name in columns] for row in exact],
            ),
        },
    )


def _cells(
    rows: Sequence[dict[str, Any]], by: str, totals: dict[str, Decimal], *, bars: bool
) -> list[tuple[str, ...]]:
    """The rows of a table, with a total below the rows of each currency."""
    table: list[tuple[str, ...]] = []
    for currency, total in sorted(totals.items()):
        own = [row for row in rows if row["currency"] == currency]
        most = max(row["amount"] for row in own)
        for row in own:
            amount = row["amount"]
            picture = (bar(amount, most),) if bars else ()
            table.append((row[by], money(amount), currency, share(amount, total), *picture))
        table.append(("Total", money(total), currency, "", *([""] if bars else [])))
    return table
