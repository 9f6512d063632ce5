"""Claims about which work waits for which."""

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
    found = needs(change(STORE, Action.CREATE), change(BOT, Action.CREATE, STORE))
    assert found == {write(STORE): set(), write(BOT): {write(STORE)}}


def test_a_delete_waits_for_the_deletes_of_what_needs_it() -> None:
    found = needs(change(STORE, Action.DELETE), change(BOT, Action.DELETE, STORE))
    assert found == {delete(STORE): {delete(BOT)}, delete(BOT): set()}


def test_a_delete_waits_for_the_rewriting_of_what_needed_it() -> None:
    found = needs(change(STORE, Action.DELETE), change(BOT, Action.UPDATE, STORE))
    assert found[delete(STORE)] == {write(BOT)}


def test_a_replacement_deletes_before_it_creates() -> None:
    assert needs(change(STORE, Action.REPLACE))[write(STORE)] == {delete(STORE)}


def test_a_replacement_can_create_first_and_then_lets_dependents_follow_before_it_deletes() -> None:
    found = needs(change(STORE, Action.REPLACE, create_first=True), change(BOT, Action.UPDATE, STORE))
    assert found == {
        write(STORE): set(),
        write(BOT): {write(STORE)},
        delete(STORE): {write(STORE), write(BOT)},
    }


def test_what_is_unchanged_is_no_work() -> None:
    assert needs(change(STORE, Action.NO_OP), change(BOT, Action.UPDATE, STORE)) == {write(BOT): set()}


ACCOUNT, OTHER = Address("ServiceAccount", "bot", "a"), Address("ServiceAccount", "bot", "b")
KEY = {"key": {"write_to": {"file": "secrets/bot.key"}}}


def test_a_key_that_goes_where_a_deleted_one_is_waits_for_that_delete() -> None:
    old = replace(change(ACCOUNT, Action.DELETE), before=KEY)
    new = replace(change(OTHER, Action.CREATE), desired=KEY)
    assert needs(old, new) == {delete(ACCOUNT): set(), write(OTHER): {delete(ACCOUNT)}}


def test_a_key_does_not_wait_for_a_delete_that_waits_for_it() -> None:
    old = replace(change(ACCOUNT, Action.DELETE), before=KEY)
    new = replace(change(OTHER, Action.CREATE, ACCOUNT), desired=KEY)
    assert needs(old, new) == {delete(ACCOUNT): {write(OTHER)}, write(OTHER): set()}


def test_keys_that_go_to_different_places_wait_for_nothing() -> None:
    old = replace(change(ACCOUNT, Action.DELETE), before={"key": {"write_to": {"file": "secrets/old.key"}}})
    new = replace(change(OTHER, Action.CREATE), desired=KEY)
    assert needs(old, new) == {delete(ACCOUNT): set(), write(OTHER): set()}


def test_a_project_is_forgotten_after_all_that_is_in_it() -> None:
    project = Address("Project", "a")
    found = needs(change(project, Action.FORGET), change(ACCOUNT, Action.FORGET, project))
    assert found == {write(project): {write(ACCOUNT)}, write(ACCOUNT): set()}


def left_behind(address: Address, *needs: Address) -> Change:
    return Change(address, Action.DELETE, Reason.LEFT_BEHIND, id="old", depends_on=needs)


def test_what_a_replacement_left_behind_waits_for_the_rewriting_of_what_used_it() -> None:
    found = needs(left_behind(STORE), change(BOT, Action.UPDATE, STORE))
    assert found[Step(STORE, StepKind.DELETE, "old")] == {write(BOT)}


def test_what_a_left_over_object_was_reached_by_is_deleted_after_it() -> None:
    found = needs(left_behind(BOT, STORE), change(STORE, Action.DELETE))
    assert found[delete(STORE)] == {Step(BOT, StepKind.DELETE, "old")}


PROJECTS = [write(Address("Project", name)) for name in "abc"]
STORES = [write(Address("VectorStore", name)) for name in "abc"]


def taken(ready: ReadyQueue) -> list[Step]:
    """All that can be taken."""
    return list(iter(ready.take, None))


def test_as_many_as_may_go_are_counted_crew_by_crew() -> None:
    ready = ReadyQueue(2, lambda node: node.address.kind)
    ready.add([*PROJECTS, *STORES])
    assert taken(ready) == [*PROJECTS[:2], *STORES[:2]]
    ready.end(STORES[0])
    assert taken(ready) == STORES[2:]


def test_one_at_a_time_is_one_of_all() -> None:
    ready = ReadyQueue(1, lambda node: node.address.kind)
    ready.add([*PROJECTS, *STORES])
    assert taken(ready) == PROJECTS[:1]
    ready.end(PROJECTS[0])
    assert taken(ready) == PROJECTS[1:2]


def test_waiting_for_a_job_takes_nobodys_place() -> None:
    ready = ReadyQueue(1, lambda node: node.address.kind)
    waits = [Step(Address("Batch", name), StepKind.WAIT) for name in "ab"]
    ready.add([*PROJECTS, *waits])
    assert taken(ready) == [*waits, PROJECTS[0]]
