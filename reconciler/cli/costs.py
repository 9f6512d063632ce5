"""`reconciler costs`: costs of the organization by project, by line item or by day."""

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

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "project": ("project_id",),
    "line_item": ("line_item",),
    "day": (),
}
"""How the API has to group costs for the rows of a view. It groups by day anyway."""
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
        days_of_period = period.days(today)
        charts: list[Chart] = []
        if wants(options, "html"):
            # The page shows all three views, and one further read serves them.
            details = read(group_by=("project_id", "line_item"))
            limits = declared_limits(session)
            for view in _GROUPS:
                charts += _charts(view, _rows(details, view, projects, days_of_period), limits)
    rows = _rows(costs, by, projects, days_of_period)
    _show(options, period, by, rows, charts)
    return 0


def _rows(
    costs: Sequence[Cost], by: str, projects: Projects, days: Sequence[date]
) -> list[dict[str, Any]]:
    """A row for each group and currency, highest first; days in order, including those without costs."""
    sums: dict[tuple[str, Any], Decimal] = {}
    # Days without costs are rows too, so that a chart has no gaps.
    if by == "day":
        for currency in {cost.currency for cost in costs}:
            for day in days:
                sums[currency, day] = Decimal(0)
    for cost in costs:
        key = {"project": cost.project_id, "line_item": cost.line_item, "day": cost.day}[by]
        sums[cost.currency, key] = sums.get((cost.currency, key), Decimal(0)) + cost.amount
    rows = []
    for (currency, key), amount in sums.items():
        rows.append({**_group(by, key, projects), "currency": currency, "amount": amount})
    if by == "day":
        return sorted(rows, key=lambda row: (row["currency"], row["day"]))
    return sorted(rows, key=lambda row: (row["currency"], -row["amount"], row[by]))


def _group(by: str, key: Any, projects: Projects) -> dict[str, Any]:
    """The cells that name the group of a row."""
    if by == "project":
        return {"project": projects.name(key), "project_id": key, "declared": key in projects.names}
    if key is None:
        return {by: "(no line item)"}
    return {by: str(key)}


def _charts(
    by: str, rows: Sequence[dict[str, Any]], limits: Mapping[str, Decimal]
) -> Iterator[Chart]:
    """A chart of the rows in each currency; projects are compared with their declared limits."""
    for currency in dict.fromkeys(row["currency"] for row in rows):
        # Limits are amounts in USD.
        has_limits = by == "project" and currency.upper() == "USD"
        bars = []
        note = ""
        for row in rows:
            if row["currency"] != currency:
                continue
            limit = limits.get(row[by]) if has_limits else None
            shown = ""
            if limit is not None:
                shown = money(limit)
                note = "Limits are those that manifests declare, a month."
            bars.append(ChartBar(row[by], row["amount"], money(row["amount"]), limit, shown))
        yield Chart(f"By {_TITLES[by].lower()}", tuple(bars), currency.upper(), note)


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
    # As text: a floating-point number would lose cents of large sums.
    exact = [{**row, "amount": str(row["amount"])} for row in rows]
    whole = {
        "since": str(period.since),
        "until": str(period.until) if period.until else None,
        "by": by,
        "costs": exact,
        "totals": {currency: str(amount) for currency, amount in totals.items()},
    }
    deliver(
        options,
        {
            "text": lambda: _text(rows, by, totals),
            "markdown": lambda: _markdown(rows, by, totals),
            "json": lambda: document(whole),
            "html": lambda: _page(period, totals, charts),
            "csv": lambda: _csv(exact, by),
        },
    )


def _text(rows: Sequence[dict[str, Any]], by: str, totals: Mapping[str, Decimal]) -> str:
    if not rows:
        return ""
    return text_table((*_headers(by), ""), _cells(rows, by, totals), numbers={1, 3})


def _markdown(rows: Sequence[dict[str, Any]], by: str, totals: Mapping[str, Decimal]) -> str:
    if not rows:
        return ""
    without_bars = [row[:-1] for row in _cells(rows, by, totals)]
    return markdown_table(_headers(by), without_bars)


def _csv(rows: Sequence[dict[str, Any]], by: str) -> str:
    columns = [by, "amount", "currency"]
    # Names of projects are not unique, so the table shows their ids too.
    if by == "project" and rows:
        columns.insert(1, "project_id")
    return csv_table(columns, [[row[name] or "" for name in columns] for row in rows])


def _headers(by: str) -> tuple[str, ...]:
    return _TITLES[by], "Amount", "Currency", "Share"


def _cells(
    rows: Sequence[dict[str, Any]], by: str, totals: Mapping[str, Decimal]
) -> list[tuple[str, ...]]:
    """The rows of a table with a bar at the end, and a total below the rows of each currency."""
    table: list[tuple[str, ...]] = []
    # Amounts of different currencies have no sum.
    for currency, total in sorted(totals.items()):
        own = [row for row in rows if row["currency"] == currency]
        most = max(row["amount"] for row in own)
        for row in own:
            amount = row["amount"]
            table.append(
                (row[by], money(amount), currency, share(amount, total), bar(amount, most))
            )
        table.append(("Total", money(total), currency, "", ""))
    return table
