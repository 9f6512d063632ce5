"""`reconciler audit`: entries of the audit log, for the organization or for one address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from reconciler.api.audit import AuditQuery, newest_entries
from reconciler.app.addresses import parse_addresses
from reconciler.app.projects import Projects
from reconciler.app.session import Session
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.period import moment
from reconciler.cli.reporting import deliver
from reconciler.cli.session import CommandSession
from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.diagnostic import nearest
from reconciler.model.log import AuditEntry
from reconciler.render.jsonview import document
from reconciler.render.lines import shortened
from reconciler.render.tables import markdown_table, text_table
from reconciler.render.values import inline

_HEADERS = ("When (UTC)", "Who", "What", "About", "Project", "Details")
_DETAILS_CELLS = 60


@click.command("audit")
@click.argument("address", required=False)
@click.option(
    "--since", metavar="TIME", help="Start of the period: 2026-11-01, 30d, 12h, today, this-month."
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="Maximum number of entries.",
)
@click.option(
    "--type", "types", multiple=True, metavar="EVENT", help="List only this event type; repeatable."
)
@global_options
def command(
    options: GlobalOptions,
    address: str | None,
    since: str | None,
    limit: int,
    types: tuple[str, ...],
) -> int:
    """List audit log entries, newest first.

    With ADDRESS, list only the entries about its object. Needs the admin key.
    """
    start = None
    if since:
        start = moment(since, "--since", now=datetime.now(UTC)).timestamp()
    with CommandSession(options) as session:
        projects = Projects.of(session)
        query = _query(session, projects, address, start, types)
        entries = newest_entries(session.client, session.keys, query, limit=limit)
        addresses = _addresses(session, projects)
    rows = [_view(entry, projects, addresses) for entry in entries]
    _show(options, rows)
    return 0


def _query(
    session: Session,
    projects: Projects,
    text: str | None,
    since: float | None,
    types: Sequence[str],
) -> AuditQuery:
    if text is None:
        return AuditQuery(since, types)
    (address,) = parse_addresses((text,), "ADDRESS")
    if address.kind not in KINDS:
        raise UsageError(f'there is no kind "{address.kind}".{nearest(address.kind, KINDS)}')
    if not KINDS[address.kind].audit_events:
        raise UsageError(f"the audit log does not report objects of the kind {address.kind}")
    ids = _ids_of(session, address)
    if not ids:
        known = nearest(text, map(str, session.store.records()))
        raise UsageError(
            f"the state knows no object of {address}.{known}",
            hint="Apply or import it first.",
        )
    # Ids of project objects repeat between projects, so the entries are those of one project.
    project_ids = []
    if address.project:
        project_ids.append(projects.id(address.project))
    return AuditQuery(since, types, project_ids, sorted(ids))


def _ids_of(session: Session, address: Address) -> set[str]:
    """The ids of all objects that were ever bound to an address, according to the history."""
    store = session.store
    ids = set()
    record = store.records().get(address)
    if record is not None and record.id:
        ids.add(record.id)
    # A replaced object had another id, and its entries are about the address too.
    for run in store.runs.all():
        for image in store.runs.pre_images(run.id):
            if image.address == address and image.id:
                ids.add(image.id)
    return ids


def _addresses(session: Session, projects: Projects) -> Mapping[tuple[str, str | None], Address]:
    """The address of each managed object, by its id and the id of its project."""
    project_ids = {name: id for id, name in projects.names.items()}
    addresses = {}
    for address, record in session.store.records().items():
        addresses[record.id, project_ids.get(address.project or "")] = address
    return addresses


def _view(
    entry: AuditEntry,
    projects: Projects,
    addresses: Mapping[tuple[str, str | None], Address],
) -> dict[str, Any]:
    about = entry.resource_id or ""
    address = addresses.get((about, entry.project_id)) or addresses.get((about, None))
    return {
        "id": entry.id,
        "at": datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "actor": entry.actor,
        "type": entry.type,
        "resource_id": entry.resource_id,
        "address": address and str(address),
        "project": projects.names.get(entry.project_id or ""),
        "project_id": entry.project_id,
        "project_name": entry.project_name,
        "details": dict(entry.details),
    }


def _show(options: GlobalOptions, entries: list[dict[str, Any]]) -> None:
    if not entries:
        click.echo("The audit log has no such entry. It starts when an owner enables it.", err=True)
    rows = [_row(entry) for entry in entries]
    formats = {
        "text": lambda: _table(text_table, rows),
        "markdown": lambda: _table(markdown_table, rows),
        "json": lambda: document({"entries": entries}),
    }
    deliver(options, formats)


def _table(render: Callable[..., str], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    return render(_HEADERS, rows)


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    details: dict[str, Any] = {}
    for name, value in entry["details"].items():
        # The log nests the requested or new values one level down.
        details.update(value if isinstance(value, dict) else {name: value})
    text = ", ".join(f"{name}: {inline(value)}" for name, value in details.items())
    about = entry["address"] or entry["resource_id"] or ""
    when = entry["at"].replace("T", " ").removesuffix("Z")
    project = entry["project"] or ""
    if not project and entry["project_id"]:
        # Names at the API are not unique, so an undeclared project appears with its id.
        project = f"{entry['project_name'] or ''} ({entry['project_id']})".strip()
    return when, entry["actor"], entry["type"], about, project, shortened(text, _DETAILS_CELLS)
