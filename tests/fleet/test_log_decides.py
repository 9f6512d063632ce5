"""The audit log decides which stacks of a fleet to look at: it is read once for all of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from reconciler.app.applying import apply_checked_plan, locked
from reconciler.app.planning import CHECKPOINT
from reconciler.app.plans import PlanRequest, plan_stack
from reconciler.app.session import Session
from reconciler.app.sharing import Sharing
from reconciler.emulator import Emulator
from reconciler.engine.refresh.checkpoint import RefreshCheckpoint
from reconciler.fleet.summary import fleet_report, summarized
from reconciler.model.change import Plan
from reconciler.model.consistency import AUDIT_CLOCK_SECONDS, LIST_BEHIND_LOG_SECONDS
from reconciler.model.fleet import Command, StackResult, StackStatus
from reconciler.render.fleet import as_json, cost
from tests.fleet.side_by_side import Neighbours, sharing
from tests.fleet.stack_files import team

__all__ = ["sharing"]

AUTO = PlanRequest(refresh="auto")
LOG = "GET /organization/audit_logs"
LISTS = "GET /organization/projects"
STACKS = [f"team-{number}" for number in range(5)]


class ServerTime:
    """The clock of the server, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def server_time() -> ServerTime:
    return ServerTime()


@pytest.fixture
def fleet(tmp_path: Path, server_time: ServerTime) -> Iterator[Neighbours]:
    """Stacks that were applied minutes ago, and whose checkpoints know the log since then."""
    with Emulator(clock=server_time) as emulator, Sharing(stacks=8, settle_seconds=0) as earlier:
        neighbours = Neighbours(tmp_path, emulator)
        for name in STACKS:
            neighbours.declare(name, team(name))
        for _ in range(2):
            neighbours.run(Command.APPLY, sharing=earlier, plan=AUTO)
            # Lists may lack what the log shows for a minute, so entries count for that long.
            server_time.ahead += LIST_BEHIND_LOG_SECONDS + AUDIT_CLOCK_SECONDS
        neighbours.clear()
        yield neighbours


def by_log(results: list[StackResult]) -> list[str]:
    return [result.id.folder for result in results if result.answered_by_log]


def test_one_page_of_the_log_answers_for_all_stacks_that_nobody_changed(
    fleet: Neighbours, sharing: Sharing
) -> None:
    results = fleet.run(Command.DRIFT, sharing=sharing, plan=AUTO, workers=4)
    assert {result.status for result in results} == {StackStatus.IN_SYNC}
    assert fleet.calls() == Counter({LOG: 1})
    assert by_log(results) == STACKS


def test_the_report_says_which_stacks_the_log_answered_for(
    fleet: Neighbours, sharing: Sharing
) -> None:
    fleet.declare("new", team("new"))
    results = fleet.run(Command.DRIFT, sharing=sharing, plan=AUTO)
    report = fleet_report("drift", [summarized(result) for result in results], seconds=1.0)
    assert cost(report).endswith("; 5 stacks not read, as the audit log shows no change")
    views = json.loads(as_json(report))["stacks"]
    answered = {view["folder"]: view["answered_by_log"] for view in views}
    assert answered == {**dict.fromkeys(STACKS, True), "new": False}


def test_only_the_stacks_that_the_log_names_are_looked_at(
    fleet: Neighbours, sharing: Sharing
) -> None:
    changed = fleet.project_id(STACKS[2])
    fleet.by_hand("POST", f"/organization/projects/{changed}", {"name": "by hand"})
    fleet.clear()
    results = fleet.run(Command.DRIFT, sharing=sharing, plan=AUTO)
    assert [result.status for result in results if result.id.folder == STACKS[2]] == [
        StackStatus.DRIFTED
    ]
    assert fleet.calls()[LOG] == 1
    assert fleet.calls()[LISTS] == 1
    assert STACKS[2] not in by_log(results)


def test_a_full_drift_looks_at_everything_whatever_the_log_says(
    fleet: Neighbours, sharing: Sharing
) -> None:
    results = fleet.run(Command.DRIFT, sharing=sharing)
    assert by_log(results) == []
    assert fleet.calls()[LOG] == 0
    assert fleet.calls()[LISTS] == 1


def test_a_stack_without_a_checkpoint_is_read_in_full(fleet: Neighbours, sharing: Sharing) -> None:
    fleet.declare("new", team("new"))
    results = fleet.run(Command.DRIFT, sharing=sharing, plan=AUTO)
    (new,) = [result for result in results if result.id.folder == "new"]
    assert new.plan is not None
    assert "no earlier reading" in new.plan.refresh.full_refresh_reason
    assert by_log(results) == STACKS


def test_a_stack_whose_last_full_reading_is_long_ago_is_read_in_full(
    fleet: Neighbours, sharing: Sharing
) -> None:
    old = "  refresh: {full_every_hours: 0.01}\n"
    fleet.declare(STACKS[0], team(STACKS[0]), stack=old)
    results = fleet.run(Command.DRIFT, sharing=sharing, plan=AUTO)
    assert results[0].plan is not None
    assert "it is due" in results[0].plan.refresh.full_refresh_reason
    assert by_log(results) == STACKS[1:]


def test_a_log_that_cannot_be_read_costs_one_call_for_all_stacks(
    fleet: Neighbours, sharing: Sharing
) -> None:
    full = fleet.run(Command.DRIFT, sharing=sharing)
    calls = fleet.calls()
    fleet.clear()
    fleet.emulator.set_options(audit_off=True)
    with Sharing(stacks=len(STACKS), settle_seconds=0) as anew:
        results = fleet.run(Command.DRIFT, sharing=anew, plan=AUTO, workers=4)
    assert [result.status for result in results] == [result.status for result in full]
    assert by_log(results) == []
    assert fleet.calls() == calls + Counter({LOG: 1})


def test_an_apply_of_a_stack_makes_the_others_ask_the_log_again(
    fleet: Neighbours, sharing: Sharing
) -> None:
    fleet.run(Command.DRIFT, sharing=sharing, plan=AUTO)
    fleet.declare(STACKS[0], team(STACKS[0], requests=40))
    fleet.run(Command.APPLY, STACKS[:1], sharing=sharing, plan=AUTO)
    fleet.clear()
    results = fleet.run(Command.DRIFT, sharing=sharing, plan=AUTO)
    assert fleet.calls()[LOG] == 1
    assert {result.status for result in results} == {StackStatus.IN_SYNC}


@contextmanager
def planned(
    fleet: Neighbours, sharing: Sharing, refresh: str
) -> Iterator[list[tuple[Session, Plan]]]:
    """All stacks, each with the plan of a change, before any of them is applied."""
    for name in STACKS:
        fleet.declare(name, team(name, requests=40))
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(Session(fleet.stack(name).settings, sharing=sharing))
            for name in STACKS
        ]
        yield [(each, plan_stack(each, PlanRequest(refresh=refresh))) for each in sessions]


def apply(session: Session, plan: Plan) -> None:
    with locked(session, "apply"):
        serial = session.store.serial
        apply_checked_plan(session, replace(plan, state_serial=serial), command="apply")


def test_first_applies_leave_the_log_to_the_plan_after_them(
    tmp_path: Path, emulator: Emulator, sharing: Sharing
) -> None:
    neighbours = Neighbours(tmp_path, emulator)
    for name in STACKS:
        neighbours.declare(name, team(name))
    neighbours.run(Command.APPLY, sharing=sharing, plan=AUTO)
    assert neighbours.calls()[LOG] == 0
    neighbours.clear()
    neighbours.run(Command.PLAN, sharing=sharing, plan=AUTO)
    # To each stack, the new projects of the others are changes of the list.
    assert neighbours.calls() == Counter({LOG: 1, LISTS: 1})


@pytest.mark.parametrize(("refresh", "asked"), [("full", 0), ("auto", 1)])
def test_stacks_that_all_wrote_leave_the_log_to_the_plan_after_them(
    fleet: Neighbours, sharing: Sharing, refresh: str, asked: int
) -> None:
    with planned(fleet, sharing, refresh) as plans:
        for session, plan in plans:
            apply(session, plan)
    assert fleet.calls()[LOG] == asked
    fleet.clear()
    results = fleet.run(Command.PLAN, sharing=sharing, plan=AUTO)
    assert {result.status for result in results} == {StackStatus.IN_SYNC}
    assert fleet.calls() == Counter({LOG: 1})


@pytest.mark.parametrize("refresh", ["full", "auto"])
def test_what_somebody_changes_while_stacks_write_is_found_by_the_plan_after_them(
    fleet: Neighbours, sharing: Sharing, refresh: str
) -> None:
    """Although an earlier apply wrote the same object, which might explain a second entry."""
    limit = f"/organization/projects/{fleet.project_id(STACKS[1])}/rate_limits/rl-gpt-4.1"
    with planned(fleet, sharing, refresh) as plans:
        for session, plan in plans[:2]:
            apply(session, plan)
        fleet.by_hand("POST", limit, {"max_requests_per_1_minute": 77})
        for session, plan in plans[2:]:
            apply(session, plan)
    results = fleet.run(Command.PLAN, sharing=sharing, plan=AUTO)
    drifted = [result.id.folder for result in results if result.status is StackStatus.DRIFTED]
    assert drifted == [STACKS[1]]


def test_a_checkpoint_knows_the_log_only_up_to_when_another_stack_asked_for_it(
    tmp_path: Path, emulator: Emulator, sharing: Sharing
) -> None:
    neighbours = Neighbours(tmp_path, emulator)
    for name in STACKS[:2]:
        neighbours.declare(name, team(name))
    neighbours.run(Command.APPLY, sharing=sharing)
    neighbours.run(Command.PLAN, STACKS[:1], sharing=sharing, plan=AUTO)
    asked_before = time.time()
    neighbours.clear()
    neighbours.run(Command.APPLY, STACKS[1:2], sharing=sharing)
    assert neighbours.calls()[LOG] == 0
    with Session(neighbours.stack(STACKS[1]).settings) as session:
        checkpoint = RefreshCheckpoint.load(session.store.remarks.get(CHECKPOINT))
    assert checkpoint is not None
    assert checkpoint.newest_entries
    assert {scope.checked_at < asked_before for scope in checkpoint.verified} == {True}
