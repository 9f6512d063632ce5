"""`reconciler costs`: what the organization paid, by project, by line item or by day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import click

from reconciler.api.spending import read_costs
from reconciler.app.projects import Projects, declared_limits
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.period import days, period_options, projects_option
from reconciler.cli.report_context import wants
from reconciler.cli.reporting import deliver
from reconciler.cli.session import CommandSession
from reconciler.model.formats import PLAIN_FORMATS
from reconciler.model.spending import Cost, Period
from reconciler.render.html.charts import Chart, ChartBar, chart_page
from reconciler.render.jsonview import document
from reconciler.render.spending import bar, money, share
from reconciler.render.tables import csv_table, markdown_table, text_table

_GROUPS: dict[
    str,
    tuple[str, ...],
] = {"project": ("project_id",), "line_item": ("line_item",), "day": ()}
_TITLES = {"project": "Project", "line_item": "Line item", "day": "Day"}


@click.command("costs")
@period_options
@click.option(
    "--by", type=click.Choice(tuple(_GROUPS)), default="project", help="How to group rows."
)
@projects_option
@partial(global_options, formats=(*PLAIN_FORMATS, "csv", "html"))
def command(
    options: GlobalOptions, since: str, until: str | None, by: str, project: tuple[str, ...]
) -> int:
    """Show costs by project, line item or day.

    Counts whole days in UTC. Needs the admin key.
    """
    today = datetime.now(UTC).date()
    period = days(since, until, today=today)
    with CommandSession(options) as session:
        projects = Projects.of(session)
        ids = projects.ids(project)
        read = partial(read_costs, session.client, session.keys, period, project_ids=ids)
        costs = read(group_by=_GROUPS[by])
        # The page shows all three views, for which one further read is enough.
        has_page = wants(options, "html")
        details = read(group_by=("project_id", "line_item")) if has_page else []
        limits = declared_limits(session) if has_page else {}
    days_of_period = period.days(today)
    rows = _rows(costs, by, projects, days_of_period)
    charts: list[Chart] = []
    for view in _GROUPS if has_page else ():
        charts += _charts(view, _rows(details, view, projects, days_of_period), limits)
    _show(options, period, by, rows, charts)
    return 0


def _rows(
    costs: Sequence[Cost], by: str, projects: Projects, days: Sequence[date]
) -> list[dict[str, Any]]:
    """A row for each group and currency, highest first; days in order, including those without costs."""
    sums: dict[tuple[str, Any], Decimal] = {}
    if by == "day":
        for currency in {cost.currency for cost in costs}:
            sums |= {(currency, day): Decimal(0) for day in days}
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


def _charts(
    by: str, rows: Sequence[dict[str, Any]], limits: Mapping[str, Decimal]
) -> Iterator[Chart]:
    """A chart of the rows in each currency; projects are compared with their declared limits."""
    for currency in dict.fromkeys(row["currency"] for row in rows):
        bars = []
        for row in rows:
            if row["currency"] == currency:
                limit = (
                    limits.get(row[by]) if by == "project" and currency.upper() == "USD" else None
                )
                shown = "" if limit is None else money(limit)
                bars.append(ChartBar(row[by], row["amount"], money(row["amount"]), limit, shown))
        note = "Limits are those that manifests declare, a month." if any(map(_limit, bars)) else ""
        yield Chart(f"By {_TITLES[by].lower()}", tuple(bars), currency.upper(), note)


def _limit(bar: ChartBar) -> bool:
    return bar.limit is not None


def _totals(rows: Sequence[dict[str, Any]]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for row in rows:
        totals[row["currency"]] = totals.get(row["currency"], Decimal(0)) + row["amount"]
    return totals


def _page(period: Period, totals: Mapping[str, Decimal], charts: Sequence[Chart]) -> str:
    spent = ", ".join(f"{money(amount)} {name.upper()}" for name, amount in totals.items())
    until = f" until {period.until}" if period.until else ""
    summary = f"{spent or 'Nothing'} since {period.since}{until}."
    return chart_page("reconciler costs", summary, charts)


def _show(
    options: GlobalOptions,
    period: Period,
    by: str,
    rows: list[dict[str, Any]],
    charts: Sequence[Chart],
) -> None:
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
            "html": lambda: _page(period, totals, charts),
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
