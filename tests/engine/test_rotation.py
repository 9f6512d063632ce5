"""Keys are rotated and revoked when due, with the right sentence in the plan."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.engine.binding.deliveries import JournaledDelivery, with_deliveries
from reconciler.engine.inputs import PlanOptions
from reconciler.errors import ApiError
from reconciler.kinds import KINDS
from reconciler.model.change import Action, Change
from reconciler.model.keys import KeyAction, KeyStep, key_ids, reason_to_keep
from reconciler.model.kind import OnRemove
from reconciler.model.resource import LiveObject, Record
from tests.engine.tables import DAY, NOW, World, at, declared, recorded, shown

HOUR = 3_600.0
ACCOUNT, ADMIN = "ServiceAccount/search/ci", "AdminKey/ops"
FILE = {"file": "ci.key"}
ROTATE = {"every": "90d", "overlap": "7d", "revoke": {"when_unused_for": "24h"}}
PROJECTS = {"search": "proj_1"}


def key(**more: Any) -> dict[str, Any]:
    return {"write_to": FILE, "rotate": ROTATE, **more}


def entry(age: float = 10 * DAY, *earlier: dict[str, Any], **more: Any) -> dict[str, Any]:
    current = {"key_id": "key_2", "target": FILE, "receipt": {}, "made_at": NOW - age, **more}
    return {**current, "previous": list(earlier)} if earlier else current


def old(since: float, key_id: str = "key_1") -> dict[str, Any]:
    return {"key_id": key_id, "target": FILE, "receipt": {}, "replaced_at": NOW - since}


def listed(id: str, project: str | None = "search", **attributes: Any) -> LiveObject:
    owner = {"type": "service_account", "service_account": {"id": "svc_1"}}
    kind = "ServiceAccountKey" if project else "AdminKey"
    return shown(
        kind, id, {"id": id, "created_at": NOW - 99 * DAY, "owner": owner, **attributes}, project
    )


def account(
    value: dict[str, Any], delivered: dict[str, Any] | None, *keys: LiveObject, **more: Any
) -> World:
    live = shown(
        "ServiceAccount", "svc_1", {"id": "svc_1", "name": "ci", "role": "member"}, "search"
    )
    applied = {"name": "ci", "key": value}
    record = recorded(ACCOUNT, "svc_1", applied, delivered={"key": delivered} if delivered else {})
    world = World([declared(ACCOUNT, applied)], [record], [live, *keys], projects=PROJECTS)
    return world._replace(**more)


def step(world: World, action: KeyAction, address: str = ACCOUNT) -> KeyStep:
    (found,) = [one for one in world.change(address).keys if one.action is action]
    return found


def sentences(world: World, address: str = ACCOUNT) -> list[str]:
    return [one.why for one in world.change(address).keys]


# --- the current key


def test_a_key_that_is_old_enough_is_rotated_with_its_age_as_the_reason() -> None:
    change = account(key(), entry(93 * DAY)).change(ACCOUNT)
    assert (change.action, change.fields, change.is_destructive) == (Action.UPDATE, (), False)
    assert change.keys[0].why == "will be rotated: 93 days old"


def test_a_young_key_stays_and_takes_no_read() -> None:
    world = account(key(), entry(89 * DAY))
    reader = world.reader
    assert world.change(ACCOUNT).keys == ()
    assert "ServiceAccountKey" not in reader.asked


def test_a_key_whose_age_nobody_recorded_has_the_age_that_the_api_shows() -> None:
    unknown = entry()
    del unknown["made_at"]
    assert sentences(account(key(), unknown, listed("key_2")))[0] == "will be rotated: 99 days old"


def test_a_key_without_a_policy_is_never_due() -> None:
    assert account({"write_to": FILE}, entry(9_999 * DAY)).change(ACCOUNT).keys == ()


def test_another_destination_is_a_rotation_and_destroys_nothing() -> None:
    moved = declared(ACCOUNT, {"name": "ci", "key": {"write_to": {"file": "elsewhere.key"}}})
    change = account({"write_to": FILE}, entry())._replace(desired=[moved]).change(ACCOUNT)
    assert change.keys[0].why == "will be rotated: its destination changes"
    assert (change.action, change.is_destructive) == (Action.UPDATE, False)


def test_a_new_interval_alone_rotates_nothing() -> None:
    longer = declared(ACCOUNT, {"name": "ci", "key": key(rotate={"every": "30d"})})
    change = account(key(), entry(10 * DAY))._replace(desired=[longer]).change(ACCOUNT)
    assert (change.action, change.keys) == (Action.UPDATE, ())


def test_a_key_that_is_about_to_expire_is_rotated() -> None:
    expiring = entry(10 * DAY, expires_at=NOW + 5 * DAY)
    assert sentences(account(key(), expiring))[0] == "will be rotated: it expires in 5 days"


def test_a_key_made_in_the_future_is_not_rotated_and_the_clock_is_blamed() -> None:
    world = account(key(), entry(-3 * DAY))
    assert world.change(ACCOUNT).action is Action.NO_OP
    assert "3 days in the future, so a clock is off" in sentences(world)[0]


def test_a_rotation_waits_while_the_key_before_it_is_in_use() -> None:
    used = listed("key_1", last_used_at=NOW - 2 * HOUR)
    world = account(key(), entry(93 * DAY, old(20 * DAY)), used)
    change = world.change(ACCOUNT)
    assert change.action is Action.NO_OP
    assert sentences(world) == [
        "will be rotated later: 93 days old, but the key before it stays: used 2 hours ago",
        "old key stays: used 2 hours ago",
    ]
    (drift,) = world.plan().drift
    assert drift.overdue.startswith("its key should have been rotated: 93 days old")


# --- earlier keys

_IN_USE_SENTENCE = (
    "old key stays: this run authenticates with it; revoke it from a run with another key"
)
USES: list[tuple[float, dict[str, Any], KeyAction, str]] = [
    (8 * DAY, {"last_used_at": NOW - 6 * DAY}, KeyAction.REVOKE, "old key will be revoked: unused for 6 days"),
    (8 * DAY, {"last_used_at": None}, KeyAction.REVOKE, "old key will be revoked: it was never used"),
    (8 * DAY, {"is_over": True, "last_used_at": NOW}, KeyAction.REVOKE, "old key will be deleted: it has expired"),
    (8 * DAY, {"last_used_at": NOW - 2 * HOUR}, KeyAction.KEEP, "old key stays: used 2 hours ago"),
    (8 * DAY, {"last_used_at": NOW - 24 * HOUR}, KeyAction.KEEP, "old key stays: used 1 day ago"),
    (8 * DAY, {"last_used_at": NOW + 3 * DAY}, KeyAction.KEEP, "old key stays: used just now"),
    (8 * DAY, {}, KeyAction.KEEP, "old key stays: the API does not show when it was last used"),
    (8 * DAY, {"last_used_at": "yesterday"}, KeyAction.KEEP, "old key stays: the API does not show when it was last used"),
    (3 * DAY, {"last_used_at": None}, KeyAction.KEEP, "old key stays: its overlap lasts 4 days"),
    (8 * DAY, {"in_use": True, "last_used_at": None}, KeyAction.KEEP, _IN_USE_SENTENCE),
]  # fmt: skip


@pytest.mark.parametrize(("since", "use", "action", "sentence"), USES)
def test_an_earlier_key_is_revoked_only_once_it_is_unused(
    since: float, use: dict[str, Any], action: KeyAction, sentence: str
) -> None:
    world = account(key(), entry(10 * DAY, old(since)), listed("key_1", **use))
    assert [(one.action, one.why) for one in world.change(ACCOUNT).keys] == [(action, sentence)]


@pytest.mark.parametrize(("since", "use", "action", "sentence"), USES)
def test_an_earlier_key_that_is_an_object_follows_the_same_rules(
    since: float, use: dict[str, Any], action: KeyAction, sentence: str
) -> None:
    applied = {"name": "ops", "key": key()}
    record = recorded(
        ADMIN, "key_2", applied, deposed=("key_1",), delivered={"key": entry(DAY, old(since))}
    )
    live = [listed("key_2", None, created_at=NOW - DAY, name="ops"), listed("key_1", None, **use)]
    world = World([declared(ADMIN, applied)], [record], live)
    assert [(one.action, one.why) for one in world.change(ADMIN).keys] == [(action, sentence)]


def test_an_earlier_key_that_is_gone_is_forgotten() -> None:
    world = account(key(), entry(10 * DAY, old(DAY)))
    assert step(world, KeyAction.REVOKE).why.startswith("old key will be forgotten")


def test_an_earlier_key_whose_list_is_refused_stays() -> None:
    refused = {"ServiceAccountKey": ApiError("forbidden", status=403)}
    world = account(key(), entry(10 * DAY, old(99 * DAY)), refuses=refused)
    assert sentences(world) == ["old key stays: the API did not show its use"]
    assert world.plan().blocked == ()


def test_an_offline_plan_revokes_nothing() -> None:
    world = account(key(), entry(10 * DAY, old(99 * DAY)), options=PlanOptions(offline=True))
    assert sentences(world) == ["old key stays: the API did not show its use"]


def test_a_key_that_nothing_declares_goes_with_its_earlier_keys() -> None:
    assert {change.action for change in undeclared().plan().changes} == {Action.DELETE}
    assert sorted(str(change.id) for change in undeclared().plan().changes) == ["key_1", "key_2"]


def test_a_key_that_is_let_go_leaves_its_earlier_keys_alone() -> None:
    (change,) = undeclared(on_remove=OnRemove.RETAIN).plan().changes
    assert (change.action, change.id) == (Action.FORGET, "key_2")


def undeclared(**more: Any) -> World:
    delivered = {"key": entry(DAY, old(DAY))}
    record = recorded(ADMIN, "key_2", deposed=("key_1",), delivered=delivered, **more)
    return World([], [record], [listed("key_2", None), listed("key_1", None)])


# --- on request


def asked(**options: Any) -> Change:
    used = listed("key_1", last_used_at=NOW)
    request = PlanOptions(rotate_now=(at(ACCOUNT),), **options)
    return account(key(), entry(DAY, old(DAY)), used, options=request).change(ACCOUNT)


def test_a_key_is_rotated_on_request_and_the_old_ones_stay() -> None:
    change = asked()
    assert [one.action for one in change.keys] == [
        KeyAction.ROTATE,
        KeyAction.KEEP,
        KeyAction.KEEP,
    ]
    assert not change.is_destructive


def test_after_a_leak_the_old_keys_are_revoked_although_they_are_in_use() -> None:
    change = asked(revoke_now=True)
    assert [(one.action, one.key_id) for one in change.keys] == [
        (KeyAction.ROTATE, None),
        (KeyAction.REVOKE, "key_1"),
        (KeyAction.REVOKE, "key_2"),
    ]
    assert change.is_destructive
    assert "revokes key_2: whatever still uses it stops working" in change.destroys


# --- objects that are keys


def test_a_key_object_is_rotated_beside_the_old_one() -> None:
    applied = {"name": "ops", "key": key()}
    record = recorded(ADMIN, "key_2", applied, delivered={"key": entry()})
    world = World([declared(ADMIN, applied)], [record], [listed("key_2", None, name="ops")])
    change = world.change(ADMIN)
    assert (change.action, change.makes_object) == (Action.UPDATE, True)
    assert change.keys[0].why == "will be rotated: 99 days old"


def test_a_field_that_only_a_new_key_can_have_rotates_it() -> None:
    record = recorded(ADMIN, "key_2", {"name": "ops", "key": key()}, delivered={"key": entry()})
    live = [listed("key_2", None, name="ops", created_at=NOW)]
    change = World([declared(ADMIN, {"name": "new", "key": key()})], [record], live).change(ADMIN)
    assert change.keys[0].why == "will be rotated: name can only be set at creation"
    assert (change.action, change.is_destructive) == (Action.UPDATE, False)


# --- the journal of a run that died


def journaled(key_id: str, *, is_done: bool, at_time: float = NOW - DAY) -> JournaledDelivery:
    delivered = {"key_id": key_id, "target": FILE, "receipt": {"sink": "file"}, "made_at": at_time}
    return JournaledDelivery(delivered, at_time, is_done)


def taken(record: Record, *deliveries: JournaledDelivery) -> Record:
    return with_deliveries({record.address: record}, {record.address: deliveries}, KINDS)[
        record.address
    ]


def test_a_delivery_that_no_record_knows_is_the_current_key() -> None:
    record = recorded(ADMIN, "key_2", delivered={"key": entry()})
    after = taken(record, journaled("key_3", is_done=True))
    assert (after.id, after.deposed) == ("key_3", ("key_2",))
    assert list(key_ids(after.delivered["key"])) == ["key_3", "key_2"]
    assert after.delivered["key"]["previous"][0]["replaced_at"] == NOW - DAY


def test_taking_the_journal_in_twice_changes_nothing_more() -> None:
    record = recorded(ADMIN, "key_2", delivered={"key": entry()})
    deliveries = (journaled("key_3", is_done=False), journaled("key_4", is_done=True))
    once = taken(record, *deliveries)
    assert taken(once, *deliveries) == once


def test_a_delivery_without_an_outcome_keeps_both_keys_and_asks_for_a_third() -> None:
    applied = {"name": "ci", "key": key()}
    record = recorded(ACCOUNT, "svc_1", applied, delivered={"key": entry()})
    after = taken(record, journaled("key_3", is_done=False))
    assert list(key_ids(after.delivered["key"])) == ["key_2", "key_3"]
    world = account(key(), entry(), listed("key_3", last_used_at=None))._replace(prior=[after])
    assert sentences(world)[0] == (
        "will be rotated: an interrupted run may have delivered another key"
    )


# --- just before a revocation


@pytest.mark.parametrize(
    ("unused", "use", "stays"),
    [
        (DAY, {"last_used_at": NOW - 2 * DAY}, False),
        (DAY, {"last_used_at": None}, False),
        (DAY, {"last_used_at": NOW - HOUR}, True),
        (DAY, {}, True),
        (None, {"last_used_at": NOW}, False),
    ],
)
def test_the_last_look_before_a_revocation_decides(
    unused: float | None, use: dict[str, Any], stays: bool
) -> None:
    revocation = KeyStep("key", KeyAction.REVOKE, "", "key_1", unused_seconds=unused)
    assert bool(reason_to_keep(revocation, use, NOW)) == stays
