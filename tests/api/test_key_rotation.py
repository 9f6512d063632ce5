"""Account keys rotate: deliveries that a destination refuses, and revocations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.errors import SinkError, UncertainDeliveryError
from reconciler.model.address import Address
from reconciler.model.keys import KeyAction, KeyStep, earlier_keys, key_ids
from reconciler.model.provider import Written
from reconciler.model.resource import LiveObject, Record
from reconciler.model.secret import Secret
from reconciler.model.values import Spec
from tests.api.conftest import MemorySinks, World

DAY = 86_400.0
ADDRESS = Address("ServiceAccount", "it", "search")
ONE = {"write_to": {"file": "a.key"}}
BOTH = {"write_to": [{"file": "a.key"}, {"file": "b.key"}]}
ROTATE = KeyStep("key", KeyAction.ROTATE, "will be rotated")

pytestmark = pytest.mark.usefixtures("search")


class PickySinks(MemorySinks):
    """Sinks of which some refuse, and some cannot be read back."""

    def __init__(self) -> None:
        super().__init__()
        self.refusing: set[str] = set()
        self.unclear: set[str] = set()
        self.unreadable: set[str] = set()

    def put(
        self, target: Spec, secret: Secret, *, address: Address, token: str
    ) -> Mapping[str, Any]:
        if target["file"] in self.unclear:
            super().put(target, secret, address=address, token=token)
            raise UncertainDeliveryError("no answer")
        if target["file"] in self.refusing:
            raise SinkError("it refused")
        return super().put(target, secret, address=address, token=token)

    def recall(self, target: Spec, *, address: Address) -> Secret | None:
        if target["file"] in self.unreadable:
            return None
        return super().recall(target, address=address)


@pytest.fixture
def sinks(world: World, monkeypatch: pytest.MonkeyPatch) -> PickySinks:
    """The sinks of the world, which can be told to refuse."""
    picky = PickySinks()
    for name in ("put", "recall", "withdraw", "check"):
        monkeypatch.setattr(world.sinks, name, getattr(picky, name))
    return picky


def create(world: World, key: Any) -> Written:
    return world.create("ServiceAccount", {"name": "it", "key": key}, project="search")


def update(world: World, record: Record, live: LiveObject, key: Any, *steps: KeyStep) -> Record:
    written = world.provider.update(
        live, {"key": key}, address=ADDRESS, mark=None, record=record, steps=world.steps, keys=steps
    )
    return replace(record, delivered=written.delivered)


def works(world: World, secret: str) -> bool:
    with world.emulator.store.lock:
        return world.emulator.store.key_record(secret) is not None


def keys_of_account(world: World, live: LiveObject) -> set[str]:
    with world.emulator.store.lock:
        keys = list(world.emulator.store.all("api_key"))
        return {key.id for key in keys if key.hidden["owner"]["id"] == live.id}


def revocation(key_id: str, unused: float | None = DAY) -> KeyStep:
    return KeyStep("key", KeyAction.REVOKE, "", key_id, unused_seconds=unused)


def test_a_destination_that_refuses_a_rotation_keeps_the_old_key_and_the_new_one_is_deleted(
    world: World, sinks: PickySinks
) -> None:
    first = create(world, ONE)
    before = dict(sinks.held)
    sinks.refusing = {"a.key"}
    with pytest.raises(SinkError, match="it refused"):
        update(world, world.record_of(first), first.live, ONE, ROTATE)
    assert sinks.held == before
    assert keys_of_account(world, first.live) == {first.delivered["key"]["key_id"]}


def test_where_one_destination_refuses_the_others_get_the_old_key_back(
    world: World, sinks: PickySinks
) -> None:
    first = create(world, BOTH)
    before = dict(sinks.held)
    sinks.refusing = {"b.key"}
    with pytest.raises(SinkError, match="it refused"):
        update(world, world.record_of(first), first.live, BOTH, ROTATE)
    assert sinks.held == before
    assert keys_of_account(world, first.live) == {first.delivered["key"]["key_id"]}


def test_where_the_old_key_cannot_be_read_back_both_keys_stay_valid(
    world: World, sinks: PickySinks
) -> None:
    first = create(world, BOTH)
    sinks.refusing, sinks.unreadable = {"b.key"}, {"a.key", "b.key"}
    with pytest.raises(UncertainDeliveryError, match="both keys stay valid"):
        update(world, world.record_of(first), first.live, BOTH, ROTATE)
    assert all(works(world, secret) for secret in sinks.held.values())


def test_after_a_delivery_without_an_answer_both_keys_stay_valid(
    world: World, sinks: PickySinks
) -> None:
    first = create(world, ONE)
    old = sinks.held["a.key"]
    sinks.unclear = {"a.key"}
    with pytest.raises(UncertainDeliveryError):
        update(world, world.record_of(first), first.live, ONE, ROTATE)
    assert works(world, old)
    assert works(world, sinks.held["a.key"])


def test_an_earlier_key_that_is_unused_is_revoked(world: World, sinks: PickySinks) -> None:
    first = create(world, ONE)
    old, old_id = sinks.held["a.key"], first.delivered["key"]["key_id"]
    record = update(world, world.record_of(first), first.live, ONE, ROTATE)
    assert [key["key_id"] for key in earlier_keys(record.delivered["key"])] == [old_id]
    record = update(world, record, first.live, ONE, revocation(old_id))
    assert not works(world, old)
    assert works(world, sinks.held["a.key"])
    assert list(key_ids(record.delivered["key"])) == [record.delivered["key"]["key_id"]]


def test_an_earlier_key_that_was_used_after_the_plan_stays(world: World, sinks: PickySinks) -> None:
    first = create(world, ONE)
    old, old_id = sinks.held["a.key"], first.delivered["key"]["key_id"]
    record = update(world, world.record_of(first), first.live, ONE, ROTATE)
    world.emulator.state.set_last_used(old_id, int(world.clock() - 60))
    record = update(world, record, first.live, ONE, revocation(old_id))
    assert works(world, old)
    assert old_id in key_ids(record.delivered["key"])


def test_an_earlier_key_is_revoked_at_once_although_it_is_in_use(
    world: World, sinks: PickySinks
) -> None:
    first = create(world, ONE)
    old, old_id = sinks.held["a.key"], first.delivered["key"]["key_id"]
    world.emulator.state.set_last_used(old_id, int(world.clock()))
    update(world, world.record_of(first), first.live, ONE, ROTATE, revocation(old_id, None))
    assert not works(world, old)
    assert works(world, sinks.held["a.key"])


def test_a_key_that_the_api_does_not_delete_stays_recorded(world: World, sinks: PickySinks) -> None:
    first = create(world, ONE)
    old_id = first.delivered["key"]["key_id"]
    record = update(world, world.record_of(first), first.live, ONE, ROTATE)
    world.emulator.set_options(service_account_keys_deletable=False)
    record = update(world, record, first.live, ONE, revocation(old_id))
    assert old_id in key_ids(record.delivered["key"])
    assert sinks.held


def test_the_second_slot_gets_the_current_key_before_the_next_one_is_delivered(
    world: World, sinks: PickySinks
) -> None:
    slots = {**ONE, "previous_to": {"file": "old.key"}}
    first = create(world, slots)
    old = sinks.held["a.key"]
    record = update(world, world.record_of(first), first.live, slots, ROTATE)
    assert sinks.held["old.key"] == old != sinks.held["a.key"]
    update(world, record, first.live, slots, revocation(first.delivered["key"]["key_id"]))
    assert "old.key" not in sinks.held


def test_once_the_state_is_lost_our_other_keys_are_earlier_ones_and_strangers_are_not(
    world: World, sinks: PickySinks
) -> None:
    first = create(world, ONE)
    record = update(world, world.record_of(first), first.live, ONE, ROTATE)
    middle = record.delivered["key"]["key_id"]
    record = update(world, record, first.live, ONE, ROTATE)
    world.next_run()
    world.steps.past.clear()
    found = update(world, Record(ADDRESS, first.live.id), first.live, ONE)
    assert list(key_ids(found.delivered["key"])) == [record.delivered["key"]["key_id"], middle]
    assert "is_open" not in found.delivered["key"]
    # Nobody can tell the key that came with the account from one of somebody else.
    assert first.delivered["key"]["key_id"] in keys_of_account(world, first.live)
