"""Measures fleets: many stacks of one organization against one stack that declares all of it.

The organization has the same number of projects whatever the number of stacks, so the figures show
what a stack costs beside what it shares.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from reconciler.model.consistency import AUDIT_CLOCK_SECONDS, LIST_BEHIND_LOG_SECONDS
from tests.bench.results import Figure, Results
from tests.bench.stage import Stage, Usage
from tests.fleet.stack_files import documents, stack_file, team

PROJECTS = 500
COUNTS = (1, 50, 500)
_SETTLED = {"RECONCILER_SETTLE_SECONDS": "0"}
_NO_GUARDS = "  guards: {max_deletes: 10000, max_delete_percent: 100}\n"


def fleets(
    folder: Path,
    results: Results,
    *,
    counts: tuple[int, ...] = COUNTS,
    projects: int = PROJECTS,
) -> None:
    """Full and incremental drift of so many stacks, each with a project, an account and a limit."""
    for count in counts:
        with Stage(folder / f"fleet-{count}") as stage:
            usage, calls = _apart(stage, count, projects)
            logged, logged_calls = _by_log(stage)
        about = f"drift of {_stacks(count)} among {projects} projects"
        results.add(
            Figure(f"{about}: calls", calls, "calls", _together(folder, count, projects)),
            Figure(f"{about}: client CPU", usage.cpu_seconds, "s"),
            Figure(f"{about}: client CPU per stack", usage.cpu_seconds / count * 1000, "ms"),
            Figure(f"{about}: peak memory", usage.peak_mb, "MB", 300 if count == 500 else None),
            Figure(f"{about}, by the log: calls", logged_calls, "calls"),
            Figure(f"{about}, by the log: client CPU", logged.cpu_seconds, "s"),
        )


def _apart(stage: Stage, count: int, projects: int) -> tuple[Usage, int]:
    """A full reading of so many stacks."""
    stage.variables |= _SETTLED
    for number in range(count):
        stage.write(_stack_files(f"team-{number:03}", [number], f"stacks/team-{number:03}/"))
    stage.control("POST", "seed", {"projects": projects - count})
    stage.run("fleet", "apply", "--yes")
    stage.forget_requests()
    usage = stage.run("fleet", "drift")
    return usage, len(stage.requests())


def _by_log(stage: Stage) -> tuple[Usage, int]:
    """The same with the audit log, once an apply has taken note of what it shows."""
    # Lists may lack for a minute what the log shows, so what others wrote counts for that long.
    time.sleep(LIST_BEHIND_LOG_SECONDS + AUDIT_CLOCK_SECONDS)
    stage.run("fleet", "apply", "--yes")
    stage.forget_requests()
    usage = stage.run("fleet", "drift", "--refresh", "auto")
    return usage, len(stage.requests())


def _together(folder: Path, count: int, projects: int) -> int:
    """The calls of a full reading of one stack that declares everything."""
    with Stage(folder / f"together-{count}") as stage:
        stage.variables |= _SETTLED
        stage.write(_stack_files("everything", list(range(count)), ""))
        stage.control("POST", "seed", {"projects": projects - count})
        stage.run("apply", "--yes")
        stage.forget_requests()
        stage.run("drift")
        return len(stage.requests())


def _stack_files(name: str, numbers: list[int], below: str) -> Mapping[str, str]:
    return {
        f"{below}reconciler.yaml": stack_file(name, spec=_NO_GUARDS),
        f"{below}manifests/all.yaml": documents(team(f"team-{number:03}") for number in numbers),
    }


def _stacks(count: int) -> str:
    return f"{count} stack{'s' if count != 1 else ''}"
