"""An apply creates, revokes and records rotating keys in the right order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.errors import SinkError
from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, OutcomeStatus, Plan
from reconciler.model.kind import IN_USE, Kind
from reconciler.model.provider import Steps, Written
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import Spec
from tests.engine.memory import MemoryApi, Stack
from tests.engine.tables import DAY, NOW, World, at, declared, recorded, shown

KEY = "AdminKey/ops"
FILE, VAULT = {"file": "ops.key"}, {"vault": {"path": "ops"}}
ROTATE = {"every": "30d", "overlap": "7d", "revoke": {"when_unused_for": "24h"}}


def spec(write_to: Any = FILE) -> dict[str, Any]:
    return {"name": "ops", "key": {"write_to": write_to, "rotate": ROTATE}}


def key(id: str, age: float = 10 * DAY, **more: Any) -> LiveObject:
    return shown("AdminKey", id, {"id": id, "name": "ops", "created_at": NOW - age, **more})


def old_entry(write_to: Any = FILE, receipt: Any = None) -> dict[str, Any]:
    return {
        "key_id": "key_1",
        "target": write_to,
        "receipt": receipt or {},
        "replaced_at": NOW - 20 * DAY,
    }


def entry(write_to: Any = FILE, *earlier: dict[str, Any]) -> dict[str, Any]:
    return {"key_id": "key_2", "target": write_to, "receipt": {}, "previous": list(earlier)}


class KeyApi(MemoryApi):
    """Delivers each new key, and notes the delivery that each deletion withdraws."""

    def __init__(self, *objects: LiveObject) -> None:
        super().__init__(objects)
        self.withdrawn: dict[str, Any] = {}
        """The delivered entry that came with each deletion, by the id of the key."""
        self.sink_fails = False

    def create(
        self,
        kind: Kind,
        project: str | None,
        spec: Spec,
        *,
        address: Address,
        mark: str | None,
        steps: Steps,
        record: Record | None = None,
    ) -> Written:
        """Create a key and deliver it."""
        written = super().create(
            kind, project, spec, address=address, mark=mark, steps=steps, record=record
        )
        delivered = {"key_id": written.live.id, "target": spec["key"]["write_to"], "receipt": {}}
        return replace(written, delivered={"key": delivered})

    def delete(
        self, live: LiveObject, *, address: Address, record: Record | None, steps: Steps
    ) -> None:
        """Delete a key, then clear its place."""
        super().delete(live, address=address, record=record, steps=steps)
        self.withdrawn[live.id] = record.delivered.get("key") if record else None
        if self.sink_fails:
            raise SinkError("vault does not answer")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Makes a stack with the given keys at its API and an entry of deliveries in its state."""
    made: list[Stack] = []

    def make(
        *keys: LiveObject, delivered: dict[str, Any], applied: dict[str, Any] | None = None
    ) -> Stack:
        made.append(Stack(tmp_path, KeyApi(*keys)))
        deposed = tuple(old["key_id"] for old in delivered.get("previous", ()))
        record = recorded(
            KEY, "key_2", applied or spec(), delivered={"key": delivered}, deposed=deposed
        )
        made[-1].record(record)
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def api(stack: Stack) -> KeyApi:
    assert isinstance(stack.api, KeyApi)
    return stack.api


def world(write_to: Any = FILE) -> World:
    return World([declared(KEY, spec(write_to))])


def record_of(stack: Stack) -> Record:
    return stack.store.records()[at(KEY)]


def applied(stack: Stack, plan: Plan | None = None, write_to: Any = FILE) -> ApplyResult:
    result = stack.apply(world(write_to), plan)
    assert [outcome.status for outcome in result.outcomes] == [OutcomeStatus.APPLIED]
    return result


# --- the next key


def test_the_next_key_is_created_beside_the_old_one(stack: Callable[..., Stack]) -> None:
    made = stack(key("key_2", 31 * DAY), delivered=entry())
    applied(made)
    assert made.api.written == ["create ops"]
    assert made.api.ids() == ["key_2", "new_1"]


def test_the_record_is_of_the_next_key_and_remembers_the_old_one(
    stack: Callable[..., Stack],
) -> None:
    made = stack(key("key_2", 31 * DAY), delivered=entry())
    applied(made)
    record = record_of(made)
    assert (record.id, record.deposed) == ("new_1", ("key_2",))
    assert record.delivered["key"]["key_id"] == "new_1"


def test_a_key_whose_answer_was_lost_is_deleted_and_another_one_created(
    stack: Callable[..., Stack],
) -> None:
    made = stack(key("key_2", 31 * DAY), delivered=entry())
    made.api.lost_after.append(True)
    applied(made)
    assert made.api.written == ["create ops", "delete new_1", "create ops"]
    assert record_of(made).id == "new_2"


def test_the_undelivered_key_of_a_dead_run_is_deleted_before_the_next_one(
    stack: Callable[..., Stack],
) -> None:
    made = stack(key("key_2", 31 * DAY), delivered=entry())
    made.api.lost_after.extend([True] * 4)
    result = made.apply(world())
    assert "the answer was lost" in result.outcomes[0].message
    unknown = [id for id in made.api.ids() if id != "key_2"]
    made.api.written.clear()
    later = made.next_run()
    applied(later)
    assert later.api.written == [f"delete {unknown[0]}", "create ops"]
    later.store.close()


def test_a_key_that_changed_since_the_plan_is_not_succeeded(stack: Callable[..., Stack]) -> None:
    made = stack(key("key_2", 31 * DAY), delivered=entry())
    plan = made.plan(world())
    made.api.objects[0] = key("key_2", 31 * DAY, name="renamed")
    result = made.apply(world(), plan)
    assert result.outcomes[0].status is OutcomeStatus.STALE
    assert made.api.written == []


# --- the end of an old key


def deletions(stack: Stack) -> list[str]:
    return [write for write in stack.api.written if write.startswith("delete")]


UNUSED = {"last_used_at": NOW - 10 * DAY}


def test_an_unused_old_key_is_revoked_and_forgotten(stack: Callable[..., Stack]) -> None:
    made = stack(key("key_1", **UNUSED), key("key_2"), delivered=entry(FILE, old_entry()))
    applied(made)
    record = record_of(made)
    assert deletions(made) == ["delete key_1"]
    assert (record.id, record.deposed) == ("key_2", ())
    assert "previous" not in record.delivered["key"]


@pytest.mark.parametrize(
    ("since", "note"),
    [
        ({"last_used_at": NOW - 60}, "key_1 stays: it was used after the plan was made."),
        ({}, "key_1 stays: the API does not show when it was last used."),
        ({**UNUSED, IN_USE: True}, "key_1 stays: this run authenticates with it."),
    ],
)
def test_an_old_key_that_is_needed_since_the_plan_stays(
    stack: Callable[..., Stack], since: dict[str, Any], note: str
) -> None:
    made = stack(key("key_1", **UNUSED), key("key_2"), delivered=entry(FILE, old_entry()))
    plan = made.plan(world())
    made.api.objects[0] = key("key_1", **since)
    assert applied(made, plan).outcomes[0].notes == (note,)
    assert deletions(made) == []
    assert record_of(made).deposed == ("key_1",)


def test_the_place_of_an_old_key_that_is_gone_is_cleared(stack: Callable[..., Stack]) -> None:
    made = stack(key("key_2"), delivered=entry(FILE, old_entry(VAULT)))
    applied(made)
    assert api(made).withdrawn["key_1"]["target"] == [VAULT]
    assert record_of(made).deposed == ()


@pytest.mark.parametrize(
    ("old", "present", "cleared"),
    [
        (FILE, FILE, []),
        (VAULT, FILE, [VAULT]),
        ([FILE, VAULT], FILE, [VAULT]),
        ([FILE, VAULT], [VAULT, FILE], []),
    ],
)
def test_only_places_that_the_present_key_does_not_have_are_cleared(
    stack: Callable[..., Stack], old: Any, present: Any, cleared: list[Any]
) -> None:
    made = stack(
        key("key_1", **UNUSED),
        key("key_2"),
        delivered=entry(present, old_entry(old)),
        applied=spec(present),
    )
    applied(made, write_to=present)
    assert api(made).withdrawn["key_1"]["target"] == cleared


def test_each_place_is_cleared_with_its_own_receipt(stack: Callable[..., Stack]) -> None:
    old = old_entry([FILE, VAULT], [{"at": "file"}, {"at": "vault"}])
    made = stack(key("key_1", **UNUSED), key("key_2"), delivered=entry(FILE, old))
    applied(made)
    assert api(made).withdrawn["key_1"]["receipt"] == [{"at": "vault"}]


def test_an_old_key_whose_place_cannot_be_cleared_stays_recorded(
    stack: Callable[..., Stack],
) -> None:
    made = stack(key("key_1", **UNUSED), key("key_2"), delivered=entry(FILE, old_entry()))
    api(made).sink_fails = True
    [note] = applied(made).outcomes[0].notes
    assert note.startswith("key_1 is revoked, and could not be removed from its destination")
    assert record_of(made).deposed == ("key_1",)
