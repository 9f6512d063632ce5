"""The context of reports: where the full result is, the history, and findings."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.options import GlobalOptions
from reconciler.model.report import PastRun, ReportContext

if TYPE_CHECKING:
    from reconciler.state import StateStore
    from reconciler.state.runs import RunRecord

_WHOLE = ("html", "json")
"""Formats that are never shortened."""
_MOST_RUNS = 20
_MOST_NAMED = 3
_ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")
"""Variables of CI systems that name the root of the repository."""


def context_of(options: GlobalOptions, format: str = "text") -> ReportContext:
    """The context of a report of this run in a format.

    Only HTML shows the history, and all formats but text name the files with the full result.
    """
    outcome = options.outcome
    whole: tuple[str, ...] = ()
    if format != "text":
        whole = _whole(options)
    history: tuple[PastRun, ...] = ()
    if outcome.history is not None and format == "html":
        history = outcome.history()
    return ReportContext(
        command=options.command,
        full=options.full,
        whole=whole,
        folder=_folder(),
        stack_file=(options.chdir / "reconciler.yaml").as_posix(),
        history=history,
        findings=tuple(outcome.findings),
    )


def wants(options: GlobalOptions, format: str) -> bool:
    """Whether a format is that of standard output or of a report file."""
    return format in (options.format, *(report.rpartition(":")[2] for report in options.report))


def past_runs(store: StateStore) -> tuple[PastRun, ...]:
    """The latest runs of a stack, newest first."""
    runs = store.runs.all()[-_MOST_RUNS:]
    return tuple(map(_past_run, reversed(runs)))


def _past_run(run: RunRecord) -> PastRun:
    return PastRun(
        number=run.id,
        when=datetime.fromtimestamp(run.began_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        who=run.origin.summary,
        command=run.command,
        status=run.status or "not finished",
        digest=run.plan_digest,
        url=run.origin.url,
        counts=run.counts,
    )


def _whole(options: GlobalOptions) -> tuple[str, ...]:
    """The report files of this run with the full result, then the page of the CI job."""
    names = []
    for report in options.report:
        path, _, name = report.rpartition(":")
        if name in _WHOLE:
            names.append(path)
    # Imported late, since texts for a terminal do not need it.
    from reconciler.model.ci import run_origin

    places = names[:_MOST_NAMED]
    url = run_origin(os.environ, user="", host="").url
    if url:
        places.append(url)
    return tuple(places)


def _folder() -> str:
    """The current folder relative to the root of the repository, if a variable of CI names that."""
    for variable in _ROOTS:
        root = os.environ.get(variable)
        if root:
            try:
                return Path.cwd().resolve().relative_to(Path(root).resolve()).as_posix()
            except (OSError, ValueError):
                continue
    return ""
