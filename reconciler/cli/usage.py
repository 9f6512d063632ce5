"""`reconciler usage`: tokens, requests and bytes by type, and by project, model or day."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import click

from reconciler.api.objects.change_context import side_by_side
from reconciler.api.spending import TYPES, WITHOUT_MODEL, read_usage
from reconciler.app.projects import Projects
from reconciler.app.session import Session
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.period import days, period_options, projects_option
from reconciler.cli.reporting import deliver
from reconciler.cli.session import CommandSession
from reconciler.errors import NotFoundError, UsageError
from reconciler.model.diagnostic import nearest
from reconciler.model.formats import PLAIN_FORMATS
from reconciler.model.spending import Period, Use, figures_of
from reconciler.render.html.charts import Chart, ChartBar, chart_page
from reconciler.render.jsonview import document
from reconciler.render.spending import WORDS, bar, figure_columns, leading
from reconciler.render.tables import csv_table, markdown_table, text_table
from reconciler.render.values import count

LOG = logging.getLogger("reconciler.cli")


@click.command("usage")
@period_options
@click.option(
    "--by",
    type=click.Choice(("project", "model", "day")),
    default="project",
    help="How to group rows.",
)
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Only this type of usage; repeatable."
)
@projects_option
@partial(global_options, formats=(*PLAIN_FORMATS, "csv", "html"))
def command(
    options: GlobalOptions,
    since: str,
    until: str | None,
    by: str,
    types: tuple[str, ...],
    project: tuple[str, ...],
) -> int:
    """Show usage by project, model or day.

    Lists each type of usage, in whole days in UTC. Needs the admin key. Makes one call for each
    month and type. With --by model, leaves out types without a model.
    """
    period = days(since, until, today=datetime.now(UTC).date())
    chosen = _types(types, by)
    with CommandSession(options) as session:
        projects = Projects.of(session)
        uses = _read(session, chosen, period, by, projects.ids(project), insist=bool(types))
    sections = [_section(type, of_type, by, projects) for type, of_type in uses if of_type]
    _show(options, period, by, sections)
    return 0


def _types(wanted: Sequence[str], by: str) -> Sequence[str]:
    for type in wanted:
        if type not in TYPES:
            hint = f"There are {', '.join(TYPES)}."
            raise UsageError(
                f'--type: there is no usage of type "{type}".{nearest(type, TYPES)}',
                hint=hint,
            )
        if by == "model" and type in WITHOUT_MODEL:
            raise UsageError(f"--by model: usage of type {type} has no model")
    chosen = list(dict.fromkeys(wanted)) or TYPES
    if by == "model":
        return [type for type in chosen if type not in WITHOUT_MODEL]
    return chosen


def _read(
    session: Session,
    types: Sequence[str],
    period: Period,
    by: str,
    project_ids: Sequence[str],
    *,
    insist: bool,
) -> list[tuple[str, list[Use]]]:
    """The uses of each type. Skips a type that the server lacks, unless `insist`."""
    group_by = {"project": ("project_id",), "model": ("model",)}.get(by, ())
    read_type = partial(
        read_usage,
        session.client,
        session.keys,
        period=period,
        group_by=group_by,
        project_ids=project_ids,
    )

    def read(type: str) -> tuple[str, list[Use]]:
        try:
            return type, read_type(type)
        except NotFoundError:
            # A server may lack a type, so only a type that somebody named is an error.
            if insist:
                raise
            LOG.info("this server has no usage of type %s", type)
            return type, []

    # In parallel, since each type takes a call for every month.
    return side_by_side(read, types, workers=session.parallelism)


def _section(type: str, uses: Sequence[Use], by: str, projects: Projects) -> dict[str, Any]:
    """The usage of one type: a row for each project, model or day, and the total."""
    groups: dict[Any, list[Use]] = {}
    for use in uses:
        group = {"project": use.project_id, "model": use.model or "", "day": use.day}[by]
        groups.setdefault(group, []).append(use)
    rows = []
    for group, members in groups.items():
        row: dict[str, Any] = {by: str(group)}
        if by == "project":
            row = {
                "project": projects.name(group),
                "project_id": group,
                "declared": group in projects.names,
            }
        rows.append({**row, "figures": figures_of(members)})
    rows.sort(key=lambda row: row[by])
    return {"type": type, "rows": rows, "total": figures_of(uses)}


def _show(options: GlobalOptions, period: Period, by: str, sections: list[dict[str, Any]]) -> None:
    if not sections:
        click.echo("Nothing was used in this period.", err=True)
    flat = []
    for section in sections:
        flat += [{"type": section["type"], **row} for row in section["rows"]]
    whole = {
        "since": str(period.since),
        "until": str(period.until) if period.until else None,
        "by": by,
        "usage": flat,
        "totals": {section["type"]: section["total"] for section in sections},
    }
    names = ["type", by]
    if by == "project":
        names.append("project_id")
    lines = []
    for row in flat:
        group = [row[name] or "" for name in names]
        for figure, value in row["figures"].items():
            lines.append([*group, figure, str(value)])
    deliver(
        options,
        {
            "text": lambda: _text(sections, by),
            "markdown": lambda: _markdown(sections, by),
            "json": lambda: document(whole),
            "html": lambda: _page(period, sections, by),
            "csv": lambda: csv_table((*names, "figure", "value"), lines),
        },
    )


def _page(period: Period, sections: list[dict[str, Any]], by: str) -> str:
    until = f" until {period.until}" if period.until else ""
    summary = f"{count(len(sections), 'type')} of usage since {period.since}{until}."
    return chart_page("reconciler usage", summary, [_chart(section, by) for section in sections])


def _chart(section: dict[str, Any], by: str) -> Chart:
    """The first figure of a type, by project, model or day."""
    figure = leading(figure_columns([section["total"]])) or next(iter(section["total"]), "")
    bars = []
    for row in section["rows"]:
        value = row["figures"].get(figure, 0)
        bars.append(ChartBar(str(row[by]), Decimal(value), f"{value:,}"))
    # Days stay in order.
    if by != "day":
        bars.sort(key=lambda bar: -bar.value)
    return Chart(f"{section['type']} by {by}", tuple(bars), WORDS.get(figure, figure))


def _text(sections: list[dict[str, Any]], by: str) -> str:
    def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        return text_table(headers, rows, numbers=range(1, len(headers) - 1))

    tables = [(section["type"], _table(section, by, table, bars=True)) for section in sections]
    return "\n".join(f"{type}\n{text}" for type, text in tables)


def _markdown(sections: list[dict[str, Any]], by: str) -> str:
    tables = []
    for section in sections:
        table = _table(section, by, markdown_table, bars=False)
        tables.append(f"### {section['type']}\n\n{table}")
    return "\n".join(tables)


def _table(section: dict[str, Any], by: str, table: Callable[..., str], *, bars: bool) -> str:
    """The rows and the total of a section; each bar shows the share of the first column."""
    total = section["total"]
    columns = figure_columns([total])
    first = leading(columns)
    headers = [by.capitalize(), *(WORDS[name] for name in columns)]
    cells = [[row[by], *_figures(row["figures"], columns)] for row in section["rows"]]
    cells.append(["Total", *_figures(total, columns)])
    if bars:
        headers.append("")
        values = [row["figures"].get(first, 0) for row in section["rows"]]
        for value, line in zip(values, cells, strict=False):
            line.append(bar(value, max(values)))
        cells[-1].append("")
    return table(headers, cells)


def _figures(figures: dict[str, int], columns: Sequence[str]) -> list[str]:
    return [f"{figures.get(name, 0):,}" for name in columns]
