"""Stacks of one organization are planned from one reading.

The promise: the calls of a full read of N stacks are those of one stack with all their scopes.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from reconciler.app.sharing import Sharing
from reconciler.emulator import Emulator
from reconciler.model.fleet import Command, StackStatus
from tests.fleet.side_by_side import Neighbours, neighbours, sharing
from tests.fleet.stack_files import documents, team

__all__ = ["neighbours", "sharing"]

SHARED = "shared"
_ID = re.compile(r"(?<=_)[A-Za-z0-9]{16,}")
_LAST_ID = re.compile(r"/[a-z_]+_…$")


def common(name: str) -> str:
    """Objects in lists that others need too: of the organization, and of projects that are shared."""
    return f"""\
kind: Group
metadata: {{name: {name}}}
spec: {{name: {name}}}
---
kind: Role
metadata: {{name: {name}}}
spec: {{role_name: {name}, permissions: [api.model.request]}}
---
kind: ServiceAccount
metadata: {{name: common-{name}, project: {SHARED}}}
spec: {{name: common-{name}}}
---
kind: VectorStore
metadata: {{name: {name}}}
spec: {{name: {name}}}
"""


def shared_project() -> str:
    return f"kind: Project\nmetadata: {{name: {SHARED}}}\nspec: {{name: {SHARED}}}\n"


def collections(calls: Counter[str]) -> Counter[str]:
    """Calls by collection, without the ids of objects, which differ between two organizations.

    For a single object of a project, a stack alone reads the object, and a fleet its list.
    """
    shown: Counter[str] = Counter()
    for call, count in calls.items():
        shown[_LAST_ID.sub("", _ID.sub("…", call))] += count
    return shown


def calls_apart(
    neighbours: Neighbours, names: list[str], sharing: Sharing, *, workers: int
) -> Counter[str]:
    """The calls of a full read of so many stacks. The first one makes the project that they share."""
    first, *others = names
    neighbours.declare(first, documents([shared_project(), team(first), common(first)]))
    neighbours.run(Command.APPLY, sharing=sharing)
    home = neighbours.project_id(SHARED)
    for name in others:
        neighbours.declare(
            name,
            documents([team(name), common(name)]),
            stack=f"  projects: {{{SHARED}: {home}}}\n",
        )
    neighbours.run(Command.APPLY, others, sharing=sharing)
    neighbours.clear()
    results = neighbours.run(Command.DRIFT, sharing=sharing, workers=workers)
    assert {result.status for result in results} == {StackStatus.IN_SYNC}
    assert sum(result.calls for result in results) == len(neighbours.emulator.requests)
    return collections(neighbours.calls())


def calls_together(folder: Path, names: list[str]) -> Counter[str]:
    """The calls of a full read of one stack that declares all of it, in an organization of its own."""
    with Emulator() as emulator:
        alone = Neighbours(folder, emulator)
        parts = [shared_project(), *map(team, names), *map(common, names)]
        alone.declare("everything", documents(parts))
        alone.run(Command.APPLY)
        alone.clear()
        (result,) = alone.run(Command.DRIFT)
        assert result.status is StackStatus.IN_SYNC
        return collections(alone.calls())


@pytest.mark.parametrize(
    ("count", "workers"),
    [(2, 1), (10, 4), pytest.param(50, 8, marks=pytest.mark.slow)],
)
def test_many_stacks_read_what_one_stack_with_all_their_scopes_reads(
    neighbours: Neighbours, tmp_path: Path, count: int, workers: int
) -> None:
    names = [f"team-{number:02}" for number in range(count)]
    with Sharing(stacks=count, settle_seconds=0) as sharing:
        apart = calls_apart(neighbours, names, sharing, workers=workers)
    assert apart == calls_together(tmp_path / "together", names)
