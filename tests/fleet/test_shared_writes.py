"""Writes of one stack make answers stale for other stacks of the fleet."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from reconciler.app.applying import apply_checked_plan, locked
from reconciler.app.plans import plan_stack
from reconciler.app.session import Session
from reconciler.app.sharing import Sharing
from reconciler.emulator import Emulator
from reconciler.emulator.store import ORGANIZATION
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan
from reconciler.model.consistency import ServerClock
from reconciler.model.fleet import Command, StackStatus
from tests.fleet.side_by_side import FULL, Neighbours, neighbours, sharing

__all__ = ["neighbours", "sharing"]


def group(name: str, *, shown: str = "") -> str:
    return f"kind: Group\nmetadata: {{name: {name}}}\nspec: {{name: {shown or name}}}\n"


def project(name: str) -> str:
    return f"kind: Project\nmetadata: {{name: {name}}}\nspec: {{name: {name}}}\n"


def names(emulator: Emulator, kind: str) -> Counter[str]:
    return Counter(
        item.body["name"] for item in emulator.store.collection(kind, ORGANIZATION).ordered()
    )


@contextmanager
def session(neighbours: Neighbours, name: str, sharing: Sharing) -> Iterator[Session]:
    with Session(neighbours.stack(name).settings, sharing=sharing) as opened:
        yield opened


def applied(opened: Session, plan: Plan) -> ApplyResult:
    with locked(opened, "apply"):
        return apply_checked_plan(
            opened, replace(plan, state_serial=opened.store.serial), command="apply"
        )


def test_a_stack_that_is_planned_after_another_has_applied_sees_what_that_one_made(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    neighbours.declare("one", project("common"))
    neighbours.declare("two", project("common"))
    one, two = (
        neighbours.run(Command.APPLY, [name], sharing=sharing, may_fail=True)[0]
        for name in ("one", "two")
    )
    assert (one.status, two.status) == (StackStatus.APPLIED, StackStatus.FAILED)
    assert two.plan is not None
    assert [str(change.address) for change in two.plan.blocked] == ["Project/common"]
    assert names(neighbours.emulator, "project")["common"] == 1


def test_a_stack_that_was_planned_before_another_created_the_same_object_creates_none(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    neighbours.declare("one", project("common"))
    neighbours.declare("two", project("common"))
    with session(neighbours, "one", sharing) as one, session(neighbours, "two", sharing) as two:
        plans = plan_stack(one, FULL), plan_stack(two, FULL)
        first = applied(one, plans[0])
        second = applied(two, plans[1])
    assert [outcome.status for outcome in first.outcomes] == [OutcomeStatus.APPLIED]
    assert [outcome.status for outcome in second.outcomes] == [OutcomeStatus.STALE]
    assert names(neighbours.emulator, "project")["common"] == 1


def test_objects_with_marks_are_looked_for_again_once_another_stack_has_written(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    store = "kind: VectorStore\nmetadata: {name: docs}\nspec: {name: Docs}\n"
    neighbours.declare("one", store)
    neighbours.declare("two", store)
    with session(neighbours, "one", sharing) as one, session(neighbours, "two", sharing) as two:
        plans = plan_stack(one, FULL), plan_stack(two, FULL)
        results = applied(one, plans[0]), applied(two, plans[1])
    statuses = [outcome.status for result in results for outcome in result.outcomes]
    assert statuses == [OutcomeStatus.APPLIED, OutcomeStatus.STALE]


def test_stacks_that_create_the_same_object_at_the_same_time_create_it_once(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    stacks = [f"team-{number}" for number in range(4)]
    for name in stacks:
        neighbours.declare(name, project("common"))
    neighbours.emulator.set_options(list_lag_ms=600_000)
    together = threading.Barrier(len(stacks))

    def work(name: str) -> OutcomeStatus:
        with session(neighbours, name, sharing) as opened:
            plan = plan_stack(opened, FULL)
            together.wait(30)
            (outcome,) = applied(opened, plan).outcomes
            return outcome.status

    with ThreadPoolExecutor(len(stacks)) as pool:
        statuses = Counter(pool.map(work, stacks))
    assert statuses == {OutcomeStatus.APPLIED: 1, OutcomeStatus.STALE: 3}
    assert names(neighbours.emulator, "project")["common"] == 1


def test_an_answer_from_before_the_last_apply_of_a_stack_is_not_used_for_it(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    neighbours.declare("one", group("one"))
    neighbours.declare("two", group("two"))
    neighbours.run(Command.APPLY, sharing=sharing)
    neighbours.run(Command.DRIFT, sharing=sharing)
    # Another process, which shares nothing, applies a change.
    neighbours.declare("one", group("one", shown="renamed"))
    neighbours.run(Command.APPLY, ["one"])
    one, two = neighbours.run(Command.DRIFT, sharing=sharing)
    assert (one.status, two.status) == (StackStatus.IN_SYNC, StackStatus.IN_SYNC)
    assert (one.shared_answers, two.shared_answers) == (0, 1)


@pytest.mark.parametrize("kind", ["group", "rate limit"])
def test_an_apply_reads_an_object_again_that_its_plan_knows_from_another_reading(
    neighbours: Neighbours, sharing: Sharing, kind: str
) -> None:
    """A group is read by its id, a rate limit with the list that the plan has read too."""
    before, after = CHANGES[kind]
    neighbours.declare("one", before)
    neighbours.run(Command.APPLY, sharing=sharing)
    neighbours.run(Command.DRIFT, sharing=sharing)
    neighbours.declare("one", after)
    with session(neighbours, "one", sharing) as one:
        plan = plan_stack(one, FULL)
        assert one.client.calls == 0
        change_by_hand(neighbours.emulator)
        (outcome,) = applied(one, plan).outcomes
    assert outcome.status is OutcomeStatus.STALE


def limit(requests: int) -> str:
    return f"""\
{project("home")}---
kind: RateLimit
metadata: {{name: gpt-4.1, project: home}}
spec: {{model: gpt-4.1, max_requests_per_1_minute: {requests}}}
"""


CHANGES = {
    "group": (group("one"), group("one", shown="renamed")),
    "rate limit": (limit(30), limit(40)),
}


def change_by_hand(emulator: Emulator) -> None:
    """Change every group and every rate limit that a stack has set."""
    with emulator.store.lock:
        for item in emulator.store.all("group"):
            item.body["name"] = "changed by hand"
        for item in emulator.store.all("project"):
            for changed in item.hidden.get("limits", {}).values():
                changed["max_requests_per_1_minute"] = 35


def test_a_plan_knows_the_time_of_the_oldest_answer_that_it_was_made_from(
    neighbours: Neighbours, sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The emulator has the clock of this machine. An estimate of it from the dates of answers, which
    # a busy server writes late, could move by more than lies between the two readings.
    monkeypatch.setattr(ServerClock, "learn", lambda *_, **__: None)
    for name in ("one", "two"):
        neighbours.declare(name, group(name))
    neighbours.run(Command.APPLY, sharing=sharing)
    neighbours.run(Command.DRIFT, ["one"], sharing=sharing)
    read_by = time.time()
    (two,) = neighbours.run(Command.DRIFT, ["two"], sharing=sharing)
    assert two.plan is not None
    assert two.shared_answers > 0
    assert two.began_at >= read_by
    assert two.plan.refresh.began_at < read_by


def test_stacks_that_apply_side_by_side_converge_and_create_nothing_twice(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    stacks = [f"team-{number}" for number in range(8)]
    for name in stacks:
        neighbours.declare(name, "---\n".join([project(name), group(name)]))
    neighbours.run(Command.APPLY, sharing=sharing, workers=8)
    created = names(neighbours.emulator, "project") + names(neighbours.emulator, "group")
    assert {name: created[name] for name in stacks} == dict.fromkeys(stacks, 2)
    results = neighbours.run(Command.PLAN, sharing=sharing, workers=8)
    assert {result.status for result in results} == {StackStatus.IN_SYNC}


@pytest.mark.parametrize(
    ("max_age_seconds", "status"), [(900, StackStatus.IN_SYNC), (0, StackStatus.DRIFTED)]
)
def test_a_stack_sees_what_was_read_for_others_until_that_is_too_old(
    neighbours: Neighbours, max_age_seconds: float, status: StackStatus
) -> None:
    neighbours.declare("one", group("one"))
    with Sharing(stacks=8, max_age_seconds=max_age_seconds, settle_seconds=0) as sharing:
        neighbours.run(Command.APPLY, sharing=sharing)
        neighbours.run(Command.DRIFT, sharing=sharing)
        change_by_hand(neighbours.emulator)
        (result,) = neighbours.run(Command.DRIFT, sharing=sharing)
    assert result.status is status
