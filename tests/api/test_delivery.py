"""Keys of service accounts are delivered from the answer that shows them to a sink."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.errors import AmbiguousError, SinkError
from reconciler.model.keys import key_ids
from reconciler.model.provider import Written
from reconciler.model.resource import LiveObject, Record
from tests.api.conftest import World

A = {"write_to": {"file": "a.key"}}
B = {"write_to": {"file": "b.key"}}

pytestmark = pytest.mark.usefixtures("search")


def account(world: World, key: Any = A) -> Written:
    return world.create("ServiceAccount", {"name": "indexer", "key": key}, project="search")


def works(world: World, secret: str) -> bool:
    """Whether a key opens the project's door."""
    with world.emulator.store.lock:
        return world.emulator.store.key_record(secret) is not None


def keys_of(world: World, live: LiveObject) -> list[str]:
    with world.emulator.store.lock:
        found = list(world.emulator.store.all("api_key"))
        return sorted(record.id for record in found if record.hidden["owner"]["id"] == live.id)


def test_the_key_of_a_new_account_goes_to_its_sink(world: World) -> None:
    written = account(world)
    assert works(world, world.sinks.held["a.key"])
    assert keys_of(world, written.live) == [written.delivered["key"]["key_id"]]


def test_the_receipt_has_the_key_the_target_and_the_receipt_of_the_sink(world: World) -> None:
    delivered = account(world).delivered["key"]
    assert delivered["key_id"].startswith("key_")
    assert (delivered["target"], delivered["receipt"]) == (
        {"file": "a.key"},
        {"sink": "file", "file": "a.key", "digest": ""},
    )


def test_an_account_without_a_key_gets_none(world: World) -> None:
    written = account(world, None)
    assert keys_of(world, written.live) == []
    assert written.live.attributes["role"] == "none"


def test_no_secret_is_left_in_objects_receipts_or_journal(world: World) -> None:
    written = account(world)
    secret = world.sinks.held["a.key"]
    assert secret not in repr(written) + repr(written.delivered) + repr(world.steps.entries)
    assert "api_key" not in written.live.attributes
    assert secret not in world.client.redactor(f"here it is: {secret}")


def test_the_delivered_key_serves_the_project_in_the_same_run(world: World) -> None:
    account(world)
    assert world.keys.for_project("search").secret.reveal() == world.sinks.held["a.key"]
    assert world.create("VectorStore", {"name": "a"}, project="search").live.id


def test_a_target_that_is_not_ready_refuses_before_any_call(world: World) -> None:
    world.sinks.unready = True
    world.emulator.clear_requests()
    with pytest.raises(SinkError):
        account(world)
    assert world.emulator.requests == []


def test_a_key_that_could_not_be_delivered_is_deleted(world: World) -> None:
    world.sinks.failing = True
    with pytest.raises(SinkError, match="refused"):
        account(world)
    assert world.objects("api_key")[1:] == []
    assert len(world.objects("service_account")) == 1


def test_an_account_without_a_delivered_key_is_reported(world: World) -> None:
    world.sinks.failing = True
    with pytest.raises(
        SinkError, match="was made and has no key that was delivered; the next apply makes one"
    ):
        account(world)


def test_a_key_that_can_neither_be_delivered_nor_deleted_is_named(world: World) -> None:
    world.sinks.failing = True
    world.emulator.set_options(service_account_keys_deletable=False)
    with pytest.raises(SinkError, match=r"key_\w+ could not be deleted"):
        account(world)


def test_a_key_that_is_declared_later_is_minted(world: World) -> None:
    live = account(world, None).live
    written = world.update(live, {"key": A})
    assert keys_of(world, live) == [written.delivered["key"]["key_id"]]
    assert works(world, world.sinks.held["a.key"])


def test_another_target_gets_another_key_and_the_old_one_stays_where_it_was(world: World) -> None:
    first = account(world)
    second = world.update(first.live, {"key": B}, record=world.record_of(first))
    assert sorted(keys_of(world, first.live)) == sorted(key_ids(second.delivered["key"]))
    assert sorted(world.sinks.held) == ["a.key", "b.key"]
    assert all(works(world, secret) for secret in world.sinks.held.values())


def test_a_key_that_is_no_longer_declared_is_deleted_and_withdrawn(world: World) -> None:
    first = account(world)
    second = world.update(first.live, {"key": None}, record=world.record_of(first))
    assert (second.delivered, keys_of(world, first.live), world.sinks.held) == (
        {"key": None},
        [],
        {},
    )


def test_a_key_that_the_api_keeps_is_a_remark_and_no_failure(world: World) -> None:
    world.emulator.set_options(service_account_keys_deletable=False)
    first = account(world)
    second = world.update(first.live, {"key": None}, record=world.record_of(first))
    assert len(second.notes) == 1
    assert "still works" in second.notes[0]


def test_deleting_the_account_withdraws_its_key(world: World) -> None:
    written = account(world)
    world.delete(written.live, record=world.record_of(written))
    assert (world.sinks.held, world.objects("service_account")) == ({}, [])


# --- after a run that died


def recover(world: World, live: LiveObject, key: Any = A) -> Written:
    """What the next run does: it has found the account, and its key is not recorded as delivered."""
    world.next_run()
    record = Record(world.steps.past and world.steps.past[0] and _address(), live.id)
    return world.update(live, {"key": key}, record=record)


def _address() -> Any:
    from reconciler.model.address import Address

    return Address("ServiceAccount", "it", "search")


def forget_from(world: World, name: str) -> None:
    """Cut the journal off before the end of the last step of this name, and before the sink had the key."""
    world.sinks.held.clear()
    last = max(index for index, entry in enumerate(world.steps.entries) if entry.name == name)
    del world.steps.entries[last + 1 :]
    world.steps.entries[last].status = "begun"
    world.steps.entries[last].result = {}
    world.steps.entries[last].id = None


@pytest.mark.parametrize("died_in", ["create", "deliver key"])
def test_a_key_lost_with_a_create_is_replaced_and_deleted(world: World, died_in: str) -> None:
    live = account(world).live
    (lost,) = keys_of(world, live)
    forget_from(world, died_in)
    written = recover(world, live)
    assert keys_of(world, live) == [written.delivered["key"]["key_id"]] != [lost]


@pytest.mark.parametrize("died_in", ["mint key", "deliver key"])
def test_a_minted_key_that_was_lost_is_replaced_and_deleted(world: World, died_in: str) -> None:
    live = account(world, None).live
    world.next_run()
    world.steps.past.clear()
    world.update(live, {"key": A})
    forget_from(world, died_in)
    written = recover(world, live)
    assert keys_of(world, live) == [written.delivered["key"]["key_id"]]


def test_a_key_that_was_delivered_before_the_run_died_is_kept(world: World) -> None:
    first = account(world)
    written = recover(world, first.live)
    assert written.delivered == first.delivered
    assert keys_of(world, first.live) == [first.delivered["key"]["key_id"]]


def test_a_key_that_was_delivered_elsewhere_is_replaced(world: World) -> None:
    first = account(world)
    written = recover(world, first.live, B)
    assert keys_of(world, first.live) == [written.delivered["key"]["key_id"]]


def test_foreign_keys_are_left_alone(world: World, search: str) -> None:
    live = account(world, None).live
    path = "/organization/projects/{project}/service_accounts/{id}/api_keys"
    ids = {"project": search, "id": live.id}
    world.clock.sleep(60)
    foreign = world.client.request("POST", path, key=world.admin, ids=ids, json={"name": "by hand"})
    forget_from(world, "create")
    written = recover(world, live)
    assert keys_of(world, live) == sorted([foreign["id"], written.delivered["key"]["key_id"]])


def test_a_create_whose_answer_was_lost_is_repaired_in_the_same_run(world: World) -> None:
    world.emulator.add_fault("on=POST:*/service_accounts,do=reset,when=after")
    with pytest.raises(AmbiguousError):
        account(world)
    (body,) = world.objects("service_account")
    live = world.provider.get(_kind(), "search", body["id"])
    assert live is not None
    written = world.update(live, {"key": A})
    assert keys_of(world, live) == [written.delivered["key"]["key_id"]]


def test_a_mint_whose_answer_was_lost_is_repeated_and_the_lost_key_deleted(world: World) -> None:
    live = account(world, None).live
    world.emulator.add_fault("on=POST:*/api_keys,do=reset,when=after")
    written = world.update(live, {"key": A})
    assert keys_of(world, live) == [written.delivered["key"]["key_id"]]


def minted_and_lost(world: World) -> LiveObject:
    """An account without a key of ours, and a run that died while it gave it one."""
    live = account(world, None).live
    world.next_run()
    world.steps.past.clear()
    world.update(live, {"key": A})
    forget_from(world, "mint key")
    world.next_run()
    return live


def test_a_lost_key_that_is_no_longer_wanted_is_deleted(world: World) -> None:
    live = minted_and_lost(world)
    world.provider.delete_leftovers(live, address=_address(), record=None, steps=world.steps)
    assert keys_of(world, live) == []


def test_a_lost_key_that_the_list_lacks_yet_is_waited_for(world: World) -> None:
    live = minted_and_lost(world)
    world.emulator.set_options(list_lag_ms=3000)
    world.provider.delete_leftovers(live, address=_address(), record=None, steps=world.steps)
    world.emulator.set_options(list_lag_ms=0)
    assert keys_of(world, live) == []


def _kind() -> Any:
    from reconciler.kinds import KINDS

    return KINDS["ServiceAccount"]


def test_a_key_that_our_file_still_holds_is_kept_when_the_state_is_lost(world: World) -> None:
    live = account(world).live
    secret, ids = world.sinks.held["a.key"], keys_of(world, live)
    again = world.update(live, {"key": A})
    assert (world.sinks.held["a.key"], keys_of(world, live)) == (secret, ids)
    assert again.delivered["key"]["key_id"] == ids[0]


def test_a_key_that_the_account_does_not_have_is_replaced_when_the_state_is_lost(
    world: World,
) -> None:
    live = account(world).live
    world.sinks.held["a.key"] = "sk-svcacct-of-somebody-else-0000000000"
    world.update(live, {"key": A})
    assert works(world, world.sinks.held["a.key"])
