"""`reconciler usage`: tokens, requests and bytes, by type and project, model or day."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from reconciler.api.objects.changes import side_by_side
from reconciler.api.spending import TYPES, WITHOUT_MODEL, read_usage
from reconciler.app.projects import Projects
from reconciler.app.session import Session
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.period import days
from reconciler.cli.reporting import deliver
from reconciler.cli.session import CommandSession
from reconciler.errors import NotFoundError, UsageError
from reconciler.model.diagnostic import nearest
from reconciler.model.spending import Period, Use, figures_of
from reconciler.render.jsonview import document
from reconciler.render.spending import WORDS, bar, figure_columns, leading
from reconciler.render.tables import csv_table, markdown_table, text_table

LOG = logging.getLogger("reconciler.cli")


@click.command("usage")
@click.option(
    "--since",
    default="this-month",
    show_default=True,
    metavar="DAY",
    help="First day: 2026-11-01, 30d, today, this-month.",
)
@click.option("--until", metavar="DAY", help="End before this day; now by default.")
@click.option("--by", type=click.Choice(("project", "model", "day")), default="project", help="What each row sums up.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this type of usage; repeatable.")
@click.option("--project", multiple=True, metavar="PROJECT", help="Only this project, by name or id; repeatable.")
@partial(global_options, formats=("text", "json", "markdown", "csv"))
def command(
    options: GlobalOptions, since: str, until: str | None, by: str, types: tuple[str, ...], project: tuple[str, ...]
) -> int:
    """Show what was used in a period.

    Lists each type of usage, in whole days of UTC. Needs the admin key. Costs one call for each
    month and type. By model, types without a model are left out.
    """
    period = days(since, until, today=datetime.now(UTC).date())
    chosen = _types(types, by)
    with CommandSession(options) as session:
        projects = Projects.of(session)
        uses = _read(session, chosen, period, by, projects.ids(project), insist=bool(types))
    _show(options, period, by, [_section(type, of_type, by, projects) for type, of_type in uses if of_type])
    return 0


def _types(wanted: Sequence[str], by: str) -> Sequence[str]:
    for type in wanted:
        if type not in TYPES:
            hint = f"There are {', '.join(TYPES)}."
            raise UsageError(f'--type: there is no usage of type "{type}".{nearest(type, TYPES)}', hint=hint)
        if by == "model" and type in WITHOUT_MODEL:
            raise UsageError(f"--by model: usage of type {type} has no model")
    chosen = list(dict.fromkeys(wanted)) or TYPES
    return [type for type in chosen if type not in WITHOUT_MODEL] if by == "model" else chosen


def _read(
    session: Session, types: Sequence[str], period: Period, by: str, project_ids: Sequence[str], *, insist: bool
) -> list[tuple[str, list[Use]]]:
    """The uses of each type. Skips a type that the server lacks, unless `insist`."""
    client, keys = session.client, session.keys
    group_by = {"project": ("project_id",), "model": ("model",)}.get(by, ())

    def read(type: str) -> tuple[str, list[Use]]:
        try:
            return type, read_usage(client, keys, type, period, group_by=group_by, project_ids=project_ids)
        except NotFoundError:
            if insist:
                raise
            LOG.info("this server has no usage of type %s", type)
            return type, []

    return side_by_side(read, types, workers=session.parallelism)


def _section(type: str, uses: Sequence[Use], by: str, projects: Projects) -> dict[str, Any]:
    """The usage of one type: a row for each project, model or day, and the total."""
    groups: dict[Any, list[Use]] = {}
    for use in uses:
        groups.setdefault({"project": use.project_id, "model": use.model or "", "day": use.day}[by], []).append(use)
    rows = []
    for key, members in groups.items():
        named = {"project": projects.name(key), "project_id": key, "declared": key in projects.names}
        rows.append({**(named if by == "project" else {by: str(key)}), "figures": figures_of(members)})
    return {"type": type, "rows": sorted(rows, key=lambda row: row[by]), "total": figures_of(uses)}


def _show(options: GlobalOptions, period: Period, by: str, sections: list[dict[str, Any]]) -> None:
    if not sections:
        click.echo("Nothing was used in this period.", err=True)
    flat = [{"type": section["type"], **row} for section in sections for row in section["rows"]]
    whole = {
        "since": str(period.since),
        "until": str(period.until) if period.until else None,
        "by": by,
        "usage": flat,
        "totals": {section["type"]: section["total"] for section in sections},
    }
    names = ("type", by, *(("project_id",) if by == "project" else ()))

    def text(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        return text_table(headers, rows, numbers=range(1, len(headers) - 1))

    long = [
        [*(row[name] or "" for name in names), figure, str(value)]
        for row in flat
        for figure, value in row["figures"].items()
    ]
    deliver(
        options,
        {
            "text": lambda: "\n".join(f"{section['type']}\n{_table(section, by, text)}" for section in sections),
            "markdown": lambda: "\n".join(
                f"### {section['type']}\n\n{_table(section, by, markdown_table, bars=False)}" for section in sections
            ),
            "json": lambda: document(whole),
            "csv": lambda: csv_table((*names, "figure", "value"), long),
        },
    )


def _table(section: dict[str, Any], by: str, table: Callable[..., str], *, bars: bool = True) -> str:
    rows, total = section["rows"], section["total"]
    columns = figure_columns([total])
    first = leading(columns)
    most = max((row["figures"].get(first, 0) for row in rows), default=0)
    cells = [
        [row[by], *_figures(row["figures"], columns), *([bar(row["figures"].get(first, 0), most)] if bars else [])]
        for row in rows
    ]
    cells.append(["Total", *_figures(total, columns), *([""] if bars else [])])
    return table((by.capitalize(), *(WORDS[name] for name in columns), *([""] if bars else [])), cells)


def _figures(figures: dict[str, int], columns: Sequence[str]) -> list[str]:
    return [f"{figures.get(name, 0):,}" for name in columns]
