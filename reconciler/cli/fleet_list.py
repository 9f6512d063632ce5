"""`reconciler fleet list`: stacks as a table, as JSON, and as a matrix for GitHub Actions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any

from reconciler.cli.fleet_options import CommandFleet
from reconciler.cli.reporting import deliver, talk
from reconciler.errors import UsageError
from reconciler.fleet.shards import Shard, divided
from reconciler.fleet.stacks import FoundStack
from reconciler.render.escape import json_safe
from reconciler.render.jsonview import document
from reconciler.render.tables import markdown_table, text_table

MATRIX = "github-matrix"
FORMAT_VERSION = "1.0"
_MOST_JOBS = 256
"""The most jobs that GitHub starts for a matrix."""
_HEADERS = ("Folder", "Environment", "Stack", "Organization", "State", "Problem")
_SHARD_HEADERS = ("Shard", "Stacks", "Organizations")


def list_stacks(fleet: CommandFleet, *, shards: int | None) -> int:
    """Print the stacks, or the parts that they can be divided into."""
    if shards is not None:
        _list_shards(fleet, shards)
        return 0
    stacks = fleet.stacks
    table = _without_empty(_HEADERS, list(map(_row, stacks)))
    deliver(
        fleet.options,
        {
            "text": lambda: text_table(*table),
            "markdown": lambda: markdown_table(*table),
            "json": lambda: document(
                {"format_version": FORMAT_VERSION, "stacks": list(map(_view, stacks))}
            ),
            MATRIX: lambda: _matrix(list(map(_job, _separate(stacks)))),
        },
    )
    for stack in stacks:
        for problem in stack.problems:
            talk(f"Warning: {stack.id}: {problem}")
    return 0


def _list_shards(fleet: CommandFleet, total: int) -> None:
    shards = list(_shards(fleet.stacks, total))
    rows = [_shard_row(**shard) for shard in shards]
    deliver(
        fleet.options,
        {
            "text": lambda: text_table(_SHARD_HEADERS, rows),
            "markdown": lambda: markdown_table(_SHARD_HEADERS, rows),
            "json": lambda: document({"format_version": FORMAT_VERSION, "shards": shards}),
            MATRIX: lambda: _matrix([{"shard": shard["shard"]} for shard in shards]),
        },
    )


def _shard_row(shard: str, stacks: int, organizations: Sequence[str]) -> Sequence[str]:
    return shard, f"{stacks:,}", ", ".join(organizations)


def _row(stack: FoundStack) -> Sequence[str]:
    problem = ""
    if stack.problems:
        problem = stack.problems[0].summary
    name = stack.id
    return (
        name.folder,
        name.environment,
        name.name,
        stack.organization,
        stack.backend,
        problem,
    )


def _without_empty(
    headers: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """A table without its empty columns."""
    filled = [any(column) for column in zip(*rows, strict=True)]
    return list(compress(headers, filled)), [list(compress(row, filled)) for row in rows]


def _view(stack: FoundStack) -> dict[str, Any]:
    return {
        **_job(stack),
        "organization": stack.organization or None,
        "backend": stack.backend or None,
        "problems": [str(problem) for problem in stack.problems],
    }


def _job(stack: FoundStack) -> dict[str, Any]:
    name = stack.id
    return {"stack": name.name, "folder": name.folder, "environment": name.environment}


def _shards(stacks: Sequence[FoundStack], total: int) -> Iterator[dict[str, Any]]:
    """The shards that have stacks."""
    for number, own in enumerate(divided(stacks, total), start=1):
        if own:
            yield {
                "shard": str(Shard(number, total)),
                "stacks": len(own),
                "organizations": sorted({stack.organization for stack in own} - {""}),
            }


def _separate(stacks: Sequence[FoundStack]) -> Sequence[FoundStack]:
    """The stacks. Raises UsageError if two of them share a state, which their jobs cannot know."""
    for stack in stacks:
        if stack.shares_state:
            raise UsageError(
                f"{stack.id}: {stack.problems[0].detail}",
                hint="A job for each stack would let one of them change the objects of the other.",
            )
    return stacks


def _matrix(jobs: Sequence[dict[str, Any]]) -> str:
    """A matrix in one line, which `$GITHUB_OUTPUT` needs."""
    if len(jobs) > _MOST_JOBS:
        raise UsageError(
            f"GitHub starts at most {_MOST_JOBS} jobs for a matrix, and this fleet has "
            f"{len(jobs):,} stacks.",
            hint="Add --shards 20, and run `reconciler fleet plan --shard 1/20` in the first job, and so "
            "on. Stacks of one organization then share a job and its reading.",
        )
    text = json.dumps({"include": list(jobs)}, ensure_ascii=False, separators=(",", ":"))
    return json_safe(text) + "\n"
