"""Stacks of one organization are planned from one reading."""

from __future__ import annotations

import pytest

from reconciler.app.sharing import Sharing
from reconciler.model.fleet import Command, StackStatus
from tests.fleet.side_by_side import Neighbours, neighbours, sharing

__all__ = ["neighbours", "sharing"]


def own_project(name: str) -> str:
    return f"""\
kind: Project
metadata: {{name: {name}}}
spec: {{name: {name}}}
---
kind: ServiceAccount
metadata: {{name: bot, project: {name}}}
spec: {{name: bot-{name}}}
---
kind: RateLimit
metadata: {{name: gpt-4.1, project: {name}}}
spec: {{model: gpt-4.1, max_requests_per_1_minute: 30}}
"""


@pytest.mark.parametrize("workers", [1, 4])
def test_the_list_of_projects_is_read_once_for_all_stacks(
    neighbours: Neighbours, sharing: Sharing, workers: int
) -> None:
    for number in range(6):
        neighbours.declare(f"team-{number}", own_project(f"team-{number}"))
    neighbours.run(Command.APPLY, sharing=sharing)
    neighbours.clear()
    results = neighbours.run(Command.DRIFT, sharing=sharing, workers=workers)
    assert {result.status for result in results} == {StackStatus.IN_SYNC}
    assert neighbours.calls()["GET /organization/projects"] == 1
    assert sum(result.calls for result in results) == len(neighbours.emulator.requests)
    assert sum(result.shared_answers for result in results) == 5
