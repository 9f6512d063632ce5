"""Sessions of one process share only the right parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from reconciler.app.plans import PlanRequest, plan_stack
from reconciler.app.session import Session
from reconciler.app.sharing import Sharing
from reconciler.emulator import Emulator
from reconciler.errors import UsageError
from reconciler.model.fleet import Command
from tests.fleet.side_by_side import FULL, Neighbours, neighbours, sharing

__all__ = ["neighbours", "sharing"]

GROUPS = "kind: Group\nmetadata: {name: one}\nspec: {name: one}\n"


@pytest.fixture
def sessions(neighbours: Neighbours, sharing: Sharing) -> Iterator[list[Session]]:
    """Two sessions of stacks with the same key."""
    with ExitStack() as stack:
        opened = []
        for name in ("one", "two"):
            neighbours.declare(name, GROUPS.replace("one", name))
            settings = neighbours.stack(name).settings
            opened.append(stack.enter_context(Session(settings, sharing=sharing)))
        yield opened


def test_sessions_with_one_key_have_one_pace_and_one_clock(sessions: list[Session]) -> None:
    one, two = sessions
    assert one.throttle is two.throttle
    assert one.server_clock is two.server_clock


def test_the_connections_outlive_the_session_that_opened_them(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    for name in ("one", "two"):
        neighbours.declare(name, GROUPS.replace("one", name))
        neighbours.run(Command.APPLY, [name], sharing=sharing)
    pool = sharing.transport(neighbours.emulator.base_url, {})
    pool.close()
    request = httpx.Request("GET", f"{neighbours.emulator.base_url}/models")
    assert pool.handle_request(request).status_code == 401


def test_keys_of_two_organizations_share_no_answer_and_no_pace(tmp_path: Path) -> None:
    with Emulator() as first, Emulator() as second, Sharing(stacks=2, settle_seconds=0) as sharing:
        results = []
        for number, emulator in enumerate((first, second)):
            stacks = Neighbours(tmp_path / str(number), emulator)
            stacks.declare("one", GROUPS)
            results += stacks.run(Command.PLAN, sharing=sharing)
        assert [result.shared_answers for result in results] == [0, 0]
        assert [len(emulator.requests) for emulator in (first, second)] == [1, 1]


def test_a_budget_below_what_others_have_read_is_enough(sessions: list[Session]) -> None:
    one, two = sessions
    plan_stack(one, FULL)
    plan = plan_stack(two, PlanRequest(refresh="full", budget=0))
    assert plan.calls == 0


def test_a_budget_counts_what_a_stack_reads_itself(sessions: list[Session]) -> None:
    with pytest.raises(UsageError, match="budget of 0"):
        plan_stack(sessions[0], PlanRequest(refresh="full", budget=0))


def test_the_progress_of_a_stack_counts_a_shared_answer_once_it_is_there(
    sessions: list[Session],
) -> None:
    one, two = sessions
    plan_stack(one, FULL)
    plan_stack(two, FULL)
    assert (one.client.calls, two.client.calls) == (1, 0)
    assert (one.client.in_flight.answered, two.client.in_flight.answered) == (1, 1)
    assert (one.client.left().calls, two.client.left().calls) == (0, 0)
