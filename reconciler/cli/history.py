"""`reconciler history`: the runs that wrote, and what each of them changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from msgspec.structs import asdict

from reconciler.app.rollback import find_run
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.reporting import deliver
from reconciler.cli.session import CommandSession
from reconciler.model.change import Reason
from reconciler.model.run_origin import RunOrigin
from reconciler.render.jsonview import document
from reconciler.render.tables import markdown_table, text_table
from reconciler.state import StateStore
from reconciler.state.process import Process
from reconciler.state.runs import PreImage, RunRecord

_HEADERS = ("Run", "When", "Who", "Command", "Plan", "Status", "Changes")
_CHANGE_HEADERS = ("Action", "Address", "Id before", "Outcome", "Why")
_DIGEST_SHOWN = 12


@click.command("history")
@click.argument("run", type=int, required=False)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="List only the newest N runs.")
@global_options
def command(options: GlobalOptions, run: int | None, limit: int | None) -> int:
    """List recorded runs, or show one of them.

    Lists runs that wrote, newest first. With RUN, show what that run changed.
    """
    session = CommandSession(options)
    try:
        store = session.store
        return _one(options, store, run) if run is not None else _all(options, store, limit)
    finally:
        session.close()


def _all(options: GlobalOptions, store: StateStore, limit: int | None) -> int:
    alive = _alive(store)
    shown = [_view(run, alive) for run in reversed(store.runs.all())][:limit]
    if not shown:
        click.echo("No runs yet.", err=True)
    _deliver(
        options,
        {"runs": shown},
        lambda table: _runs(table, shown) if shown else "",
    )
    return 0


def _one(options: GlobalOptions, store: StateStore, number: int) -> int:
    run, images = _view(find_run(store, number), _alive(store)), store.runs.pre_images(number)
    changes = [_change(image) for image in images]
    if not changes and any(run["counts"].values()):
        click.echo("The details of this run are too old and no longer kept.", err=True)

    def pages(table: Callable[..., str]) -> str:
        rows = [
            tuple(change[name] or "" for name in ("action", "address", "id", "outcome", "why"))
            for change in changes
        ]
        below = "\n" + table(_CHANGE_HEADERS, rows) if rows else ""
        return _runs(table, [run]) + below

    _deliver(options, {**run, "changes": changes}, pages)
    return 0


def _deliver(
    options: GlobalOptions, data: Mapping[str, Any], pages: Callable[[Callable[..., str]], str]
) -> None:
    """Write standard output and the reports, each in its own format."""
    formats = {
        "json": lambda: document(data),
        "markdown": lambda: pages(markdown_table),
        "text": lambda: pages(text_table),
    }
    deliver(options, formats)


def _view(run: RunRecord, alive: int | None) -> dict[str, Any]:
    status = run.status or ("running" if run.pid == alive else "killed")
    return {
        "run": run.id,
        "began_at": _time(run.began_at),
        "ended_at": _time(run.ended_at),
        "user": run.user,
        "host": run.host,
        "origin": asdict(run.origin),
        "command": run.command,
        "plan_digest": run.plan_digest,
        "status": status,
        "counts": dict(run.counts),
    }


def _alive(store: StateStore) -> int | None:
    """The process that holds the lock, unless it is known to be dead."""
    holder = store.holder()
    return None if holder is None or Process.current().proves_dead(holder.process) else holder.pid


def _change(image: PreImage) -> dict[str, Any]:
    reason = Reason.__members__.get(image.reason)
    former = (
        image.record.address if image.record and image.record.address != image.address else None
    )
    return {
        "action": image.action,
        "address": str(image.address),
        "renamed_from": str(former) if former else None,
        "id": image.id,
        "outcome": "done" if image.done else "not done, or not known",
        "why": str(reason) if reason else "",
    }


def _runs(table: Callable[..., str], runs: Sequence[Mapping[str, Any]]) -> str:
    """A table of runs, with the addresses of their CI jobs where there are any."""
    headers: Sequence[str] = _HEADERS
    rows = [_row(run) for run in runs]
    urls = [run["origin"]["url"] for run in runs]
    if any(urls):
        headers = (*headers, "CI job")
        rows = [(*row, url) for row, url in zip(rows, urls, strict=True)]
    return table(headers, rows)


def _row(run: Mapping[str, Any]) -> Sequence[str]:
    counts = ", ".join(f"{number} {word}" for word, number in run["counts"].items() if number)
    return (
        str(run["run"]),
        run["began_at"],
        RunOrigin(**run["origin"]).summary,
        run["command"],
        run["plan_digest"][:_DIGEST_SHOWN],
        run["status"],
        counts or ("none" if run["status"] == "done" else ""),
    )


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
