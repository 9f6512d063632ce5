"""Steps wait for the steps that they need, and pools limit how many run at a time."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.engine.apply.scheduler import ReadyQueue
from reconciler.engine.apply.steps import Step, StepKind, dependencies_of, steps_of
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason

STORE, BOT = Address("VectorStore", "store"), Address("Assistant", "bot")


def change(address: Address, action: Action, *needs: Address, create_first: bool = False) -> Change:
    return Change(
        address,
        action,
        Reason.CONFIG,
        id="id",
        depends_on=needs,
        create_before_destroy=create_first,
    )


def needs(*changes: Change) -> dict[Step, set[Step]]:
    return dependencies_of(steps_of(Plan("s", "e", changes)))


def write(address: Address) -> Step:
    return Step(address, StepKind.WRITE)


def delete(address: Address) -> Step:
    return Step(address, StepKind.DELETE)


def test_a_write_waits_for_the_writes_of_what_it_needs() -> None:
    graph = needs(change(STORE, Action.CREATE), change(BOT, Action.CREATE, STORE))
    assert graph == {write(STORE): set(), write(BOT): {write(STORE)}}


def test_a_delete_waits_for_the_deletes_of_what_needs_it() -> None:
    graph = needs(change(STORE, Action.DELETE), change(BOT, Action.DELETE, STORE))
    assert graph == {delete(STORE): {delete(BOT)}, delete(BOT): set()}


def test_a_delete_waits_for_the_rewriting_of_what_needed_it() -> None:
    graph = needs(change(STORE, Action.DELETE), change(BOT, Action.UPDATE, STORE))
    assert graph[delete(STORE)] == {write(BOT)}


def test_a_replacement_deletes_before_it_creates() -> None:
    assert needs(change(STORE, Action.REPLACE))[write(STORE)] == {delete(STORE)}


def test_a_replacement_can_create_first_and_then_lets_dependents_follow_before_it_deletes() -> None:
    graph = needs(
        change(STORE, Action.REPLACE, create_first=True), change(BOT, Action.UPDATE, STORE)
    )
    assert graph == {
        write(STORE): set(),
        write(BOT): {write(STORE)},
        delete(STORE): {write(STORE), write(BOT)},
    }


def test_an_unchanged_resource_has_no_step() -> None:
    assert needs(change(STORE, Action.NO_OP), change(BOT, Action.UPDATE, STORE)) == {
        write(BOT): set()
    }


ACCOUNT, OTHER = Address("ServiceAccount", "bot", "a"), Address("ServiceAccount", "bot", "b")
KEY = {"key": {"write_to": {"file": "secrets/bot.key"}}}


def test_a_key_waits_for_the_delete_of_another_key_in_its_sink() -> None:
    old = replace(change(ACCOUNT, Action.DELETE), before=KEY)
    new = replace(change(OTHER, Action.CREATE), desired=KEY)
    assert needs(old, new) == {delete(ACCOUNT): set(), write(OTHER): {delete(ACCOUNT)}}


def test_a_key_does_not_wait_for_a_delete_that_waits_for_it() -> None:
    old = replace(change(ACCOUNT, Action.DELETE), before=KEY)
    new = replace(change(OTHER, Action.CREATE, ACCOUNT), desired=KEY)
    assert needs(old, new) == {delete(ACCOUNT): {write(OTHER)}, write(OTHER): set()}


def test_keys_with_different_sinks_do_not_wait() -> None:
    old = replace(
        change(ACCOUNT, Action.DELETE), before={"key": {"write_to": {"file": "secrets/old.key"}}}
    )
    new = replace(change(OTHER, Action.CREATE), desired=KEY)
    assert needs(old, new) == {delete(ACCOUNT): set(), write(OTHER): set()}


def test_a_project_is_forgotten_after_its_resources() -> None:
    project = Address("Project", "a")
    graph = needs(change(project, Action.FORGET), change(ACCOUNT, Action.FORGET, project))
    assert graph == {write(project): {write(ACCOUNT)}, write(ACCOUNT): set()}


WAITING = replace(change(Address("Batch", "nightly"), Action.CREATE), wait_for_job=True)


def test_a_reference_to_a_job_waits_for_its_end_if_the_apply_does() -> None:
    wait = Step(WAITING.address, StepKind.WAIT)
    graph = needs(WAITING, change(BOT, Action.CREATE, WAITING.address))
    assert graph == {
        write(WAITING.address): set(),
        wait: {write(WAITING.address)},
        write(BOT): {wait},
    }


def test_a_left_behind_object_is_deleted_after_the_write_that_records_it() -> None:
    graph = needs(left_behind(STORE), change(STORE, Action.UPDATE))
    assert graph[Step(STORE, StepKind.DELETE, "old")] == {write(STORE)}


def left_behind(address: Address, *needs: Address) -> Change:
    return Change(address, Action.DELETE, Reason.LEFT_BEHIND, id="old", depends_on=needs)


def test_a_left_behind_object_is_deleted_after_its_users_are_rewritten() -> None:
    graph = needs(left_behind(STORE), change(BOT, Action.UPDATE, STORE))
    assert graph[Step(STORE, StepKind.DELETE, "old")] == {write(BOT)}


def test_the_parent_of_a_left_behind_object_is_deleted_after_it() -> None:
    graph = needs(left_behind(BOT, STORE), change(STORE, Action.DELETE))
    assert graph[delete(STORE)] == {Step(BOT, StepKind.DELETE, "old")}


PROJECTS = [write(Address("Project", name)) for name in "abc"]
STORES = [write(Address("VectorStore", name)) for name in "abc"]


def taken(ready: ReadyQueue) -> list[Step]:
    """Take steps until every slot is taken."""
    return list(iter(ready.take, None))


def test_each_worker_pool_has_its_own_slots() -> None:
    ready = ReadyQueue(2, lambda step: step.address.kind)
    ready.add([*PROJECTS, *STORES])
    assert taken(ready) == [*PROJECTS[:2], *STORES[:2]]
    ready.end(STORES[0])
    assert taken(ready) == STORES[2:]


def test_with_a_parallelism_of_one_the_pools_share_a_slot() -> None:
    ready = ReadyQueue(1, lambda step: step.address.kind)
    ready.add([*PROJECTS, *STORES])
    assert taken(ready) == PROJECTS[:1]
    ready.end(PROJECTS[0])
    assert taken(ready) == PROJECTS[1:2]


def test_a_wait_takes_no_slot() -> None:
    ready = ReadyQueue(1, lambda step: step.address.kind)
    waits = [Step(Address("Batch", name), StepKind.WAIT) for name in "ab"]
    ready.add([*PROJECTS, *waits])
    assert taken(ready) == [*waits, PROJECTS[0]]
