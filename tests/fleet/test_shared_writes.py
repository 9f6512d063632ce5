"""What one stack of a fleet writes while another one uses what was read before."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from msgspec.structs import replace

from reconciler.app.applying import apply_checked_plan, locked
from reconciler.app.plans import plan_stack
from reconciler.app.session import Session
from reconciler.app.sharing import Sharing
from reconciler.emulator import Emulator
from reconciler.emulator.store import ORGANIZATION
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan
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


def test_stacks_that_create_the_same_object_at_the_same_time_create_it_once(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    stacks = [f"team-{number}" for number in range(4)]
    for name in stacks:
        neighbours.declare(name, project("common"))
    neighbours.emulator.set_options(latency_ms=50)
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


def test_an_apply_reads_an_object_again_that_its_plan_knows_from_another_stack(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    for name in ("one", "two"):
        neighbours.declare(name, group(name))
    neighbours.run(Command.APPLY, sharing=sharing)
    neighbours.run(Command.DRIFT, ["two"], sharing=sharing)
    neighbours.declare("one", group("one", shown="renamed"))
    with session(neighbours, "one", sharing) as one:
        plan = plan_stack(one, FULL)
        assert one.client.calls == 0
        (record,) = (
            item
            for item in neighbours.emulator.store.collection("group", ORGANIZATION).ordered()
            if item.body["name"] == "one"
        )
        record.body["name"] = "changed by hand"
        (outcome,) = applied(one, plan).outcomes
    assert outcome.status is OutcomeStatus.STALE


def test_a_plan_knows_the_time_of_the_oldest_answer_that_it_was_made_from(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    for name in ("one", "two"):
        neighbours.declare(name, group(name))
    neighbours.run(Command.APPLY, sharing=sharing)
    neighbours.run(Command.DRIFT, ["one"], sharing=sharing)
    read_by = time.time()
    (two,) = neighbours.run(Command.DRIFT, ["two"], sharing=sharing)
    assert two.plan is not None
    assert two.began_at > read_by
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


def test_a_long_refresh_reads_the_same_for_all_until_it_is_too_old(
    neighbours: Neighbours, sharing: Sharing
) -> None:
    neighbours.declare("one", group("one"))
    neighbours.run(Command.APPLY, sharing=sharing)
    neighbours.run(Command.DRIFT, sharing=sharing)
    (record,) = neighbours.emulator.store.collection("group", ORGANIZATION).ordered()
    record.body["name"] = "changed by hand"
    (known,) = neighbours.run(Command.DRIFT, sharing=sharing)
    with Sharing(max_age_seconds=0, settle_seconds=0) as short:
        (current,) = neighbours.run(Command.DRIFT, sharing=short)
    assert (known.status, current.status) == (StackStatus.IN_SYNC, StackStatus.DRIFTED)
