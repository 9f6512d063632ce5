"""What reports say besides the result: where the whole is, the history, further findings."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.cli.options import GlobalOptions
from reconciler.model.ci import run_origin
from reconciler.model.report import ReportContext

_WHOLE = ("html", "json")
"""Formats that hold everything."""
_ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")
"""Variables of CI systems that name the root of the repository."""


def context_of(options: GlobalOptions) -> ReportContext:
    """The context of the reports of this run."""
    outcome = options.outcome
    return ReportContext(
        command=options.command,
        full=options.full,
        whole=_whole(options),
        folder=_folder(),
        stack_file=(options.chdir / "reconciler.yaml").as_posix(),
        history=outcome.history() if outcome.history else (),
        findings=tuple(outcome.findings),
    )


def _whole(options: GlobalOptions) -> tuple[str, ...]:
    """Report files of this run that hold everything, then the page of the CI job."""
    names = []
    for report in options.report:
        path, _, name = report.rpartition(":")
        if name in _WHOLE:
            names.append(path)
    url = run_origin(os.environ, user="", host="").url
    return (*names, url) if url else tuple(names)


def _folder() -> str:
    """The current folder as seen from the root of the repository, where CI names that."""
    for variable in _ROOTS:
        root = os.environ.get(variable)
        if root:
            try:
                return Path.cwd().resolve().relative_to(Path(root).resolve()).as_posix()
            except (OSError, ValueError):
                continue
    return ""
