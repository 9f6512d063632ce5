"""`reconciler fleet list`: the stacks as a table, as JSON, and as a matrix for GitHub Actions."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
"""How many jobs GitHub starts for a matrix."""
_HEADERS = ("Folder", "Environment", "Stack", "Organization", "State", "Problem")
_SHARD_HEADERS = ("Shard", "Stacks", "Organizations")


def list_stacks(fleet: CommandFleet, *, shards: int | None) -> int:
    """Print the stacks, or the parts that they can be divided into."""
    stacks = fleet.stacks
    if shards is not None:
        view = _shards(stacks, shards)
        rows = [
            (each["shard"], f"{each['stacks']:,}", ", ".join(each["organizations"]))
            for each in view
        ]
        deliver(
            fleet.options,
            {
                "text": lambda: text_table(_SHARD_HEADERS, rows),
                "markdown": lambda: markdown_table(_SHARD_HEADERS, rows),
                "json": lambda: document({"format_version": FORMAT_VERSION, "shards": view}),
                MATRIX: lambda: _matrix([{"shard": each["shard"]} for each in view]),
            },
        )
        return 0
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


def _row(stack: FoundStack) -> Sequence[str]:
    problem = stack.problems[0].summary if stack.problems else ""
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
    """A table without the columns in which no row has anything."""
    kept = [at for at in range(len(headers)) if any(row[at] for row in rows)]
    return [headers[at] for at in kept], [[row[at] for at in kept] for row in rows]


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


def _shards(stacks: Sequence[FoundStack], total: int) -> list[dict[str, Any]]:
    """The shards that have stacks."""
    shards = []
    for index, own in enumerate(divided(stacks, total)):
        if own:
            organizations = sorted({stack.organization for stack in own} - {""})
            shards.append(
                {
                    "shard": str(Shard(index + 1, total)),
                    "stacks": len(own),
                    "organizations": organizations,
                }
            )
    return shards


def _separate(stacks: Sequence[FoundStack]) -> Sequence[FoundStack]:
    """The stacks, if each has a state of its own: jobs of single stacks do not know of each other."""
    for stack in stacks:
        if stack.shares_state:
            raise UsageError(
                f"{stack.id}: {stack.problems[0].detail}",
                hint="A job for each stack would let one of them change the objects of the other.",
            )
    return stacks


def _matrix(jobs: Sequence[dict[str, Any]]) -> str:
    """One line, as `$GITHUB_OUTPUT` wants it."""
    if len(jobs) > _MOST_JOBS:
        raise UsageError(
            f"GitHub starts at most {_MOST_JOBS} jobs for a matrix, and this fleet has "
            f"{len(jobs):,} stacks.",
            hint="Add --shards 20, and run `reconciler fleet plan --shard 1/20` in the first job, and so "
            "on. Stacks of one organization then share a job and its reading.",
        )
    text = json.dumps({"include": list(jobs)}, ensure_ascii=False, separators=(",", ":"))
    return json_safe(text) + "\n"
