"""`reconciler history`: runs that wrote, and the changes of each."""

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
from reconciler.render.values import tally
from reconciler.state import StateStore
from reconciler.state.process import Process
from reconciler.state.runs import PreImage, RunRecord

_HEADERS = ("Run", "When", "Who", "Command", "Plan", "Status", "Changes")
_CHANGE_HEADERS = ("Action", "Address", "Id before", "Outcome", "Why")
_CHANGE_COLUMNS = ("action", "address", "id", "outcome", "why")
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
        if run is None:
            _show_all(options, session.store, limit)
        else:
            _show_one(options, session.store, run)
    finally:
        session.close()
    return 0


def _show_all(options: GlobalOptions, store: StateStore, limit: int | None) -> None:
    holder = _live_holder(store)
    runs = [_view(run, holder) for run in reversed(store.runs.all())][:limit]
    if not runs:
        click.echo("No runs yet.", err=True)

    def pages(table: Callable[..., str]) -> str:
        if not runs:
            return ""
        return _runs(table, runs)

    _deliver(options, {"runs": runs}, pages)


def _show_one(options: GlobalOptions, store: StateStore, number: int) -> None:
    run = _view(find_run(store, number), _live_holder(store))
    changes = [_change(image) for image in store.runs.pre_images(number)]
    # The state keeps the counts of all runs, but the pre-images of the latest runs only.
    if not changes and any(run["counts"].values()):
        click.echo("The details of this run are too old and no longer kept.", err=True)

    def pages(table: Callable[..., str]) -> str:
        text = _runs(table, [run])
        if changes:
            rows = [[change[name] or "" for name in _CHANGE_COLUMNS] for change in changes]
            text += "\n" + table(_CHANGE_HEADERS, rows)
        return text

    _deliver(options, {**run, "changes": changes}, pages)


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


def _view(run: RunRecord, holder: int | None) -> dict[str, Any]:
    status = run.status
    if not status:
        # Only a run that ends writes its status, and only one that holds the lock is running.
        status = "running" if run.pid == holder else "killed"
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


def _live_holder(store: StateStore) -> int | None:
    """The process that holds the lock, unless it is known to be dead."""
    holder = store.holder()
    if holder is None or Process.current().proves_dead(holder.process):
        return None
    return holder.pid


def _change(image: PreImage) -> dict[str, Any]:
    former = None
    if image.record is not None and image.record.address != image.address:
        former = str(image.record.address)
    outcome = "not done, or not known"
    if image.done:
        outcome = "done"
    # An older or newer version may have recorded a reason that this one does not know.
    reason = Reason.__members__.get(image.reason, "")
    return {
        "action": image.action,
        "address": str(image.address),
        "renamed_from": former,
        "id": image.id,
        "outcome": outcome,
        "why": str(reason),
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
    counts = ", ".join(tally(run["counts"]))
    if not counts and run["status"] == "done":
        counts = "none"
    return (
        str(run["run"]),
        run["began_at"],
        RunOrigin(**run["origin"]).summary,
        run["command"],
        run["plan_digest"][:_DIGEST_SHOWN],
        run["status"],
        counts,
    )


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
