"""One resource is compared with its object: warnings, refusals, marks, missing fields."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.engine.inputs import PlanOptions
from reconciler.errors import ApiError
from reconciler.model.change import Action, Change, Reason
from reconciler.model.diagnostic import Severity
from reconciler.model.kind import IN_USE
from reconciler.model.resource import METADATA_PAIRS, LiveObject, Resource
from reconciler.model.values import LocalFile, Reference, SecretValue
from tests.engine.tables import NOW, World, at, declared, recorded, shown, store

STORE, BOT, BOX = "VectorStore/docs", "Assistant/bot", "Container/box"
DOCS = {"name": "Docs"}
IN_SYNC = World(
    [declared(STORE, DOCS)], [recorded(STORE, "vs_1", DOCS)], [store("vs_1", mark=STORE)]
)


def warnings(world: World, address: str = STORE) -> tuple[str, ...]:
    return world.change(address).warnings


# --- warnings


@pytest.mark.parametrize(
    ("applied", "desired", "part"),
    [
        ({"description": "old"}, {"description": "new"}, "description can only be set at creation"),
        ({}, {"description": "new"}, "description can only be set at creation"),
    ],
)
def test_a_field_that_nothing_can_change_any_more_is_a_warning(
    applied: dict[str, Any], desired: dict[str, Any], part: str
) -> None:
    world = IN_SYNC._replace(
        desired=[declared(STORE, {**DOCS, **desired})],
        prior=[recorded(STORE, "vs_1", {**DOCS, **applied})],
    )
    assert [part in warning for warning in warnings(world)] == [True]
    assert world.change(STORE).action is Action.NO_OP


@pytest.mark.parametrize(("desired", "is_warned"), [({}, True), ({"role": "reader"}, False)])
def test_a_field_that_nothing_can_clear_is_a_warning_once_it_is_not_set(
    desired: dict[str, Any], is_warned: bool
) -> None:
    email = {"email": "fay@example.com"}
    world = World(
        [declared("User/fay", {**email, **desired})],
        [recorded("User/fay", "user_1", {**email, "role": "reader"})],
        [shown("User", "user_1", {"id": "user_1", **email, "role": "reader"})],
    )
    expected = ("role is no longer set, and the API cannot clear it: it keeps its value",)
    assert warnings(world, "User/fay") == (expected if is_warned else ())


def test_an_answer_that_the_api_keeps_is_a_warning() -> None:
    prior = [recorded(STORE, "vs_1", DOCS, answered={"name": "docs"})]
    world = IN_SYNC._replace(prior=prior, live=[store("vs_1", "docs", mark=STORE)])
    assert warnings(world) == ("name: the API answered another value than asked, and keeps it",)
    assert world.change(STORE).action is Action.NO_OP


def container(**more: Any) -> LiveObject:
    attributes = {"id": "cntr_1", "name": "box", "status": "running", "memory_limit": "1g"}
    return shown("Container", "cntr_1", {**attributes, **more})


SECRETS = {
    "type": "allowlist",
    "allowed_domains": ["a.example"],
    "domain_secrets": [
        {"domain": "a.example", "name": "TOKEN", "value": SecretValue("env TOKEN", "digest")}
    ],
}


@pytest.mark.parametrize(
    ("spec", "attributes", "names"),
    [
        ({"file_ids": ["file-1"]}, {}, ["file_ids"]),
        ({"memory_limit": "1g"}, {}, []),
        (
            {"network_policy": SECRETS},
            {"network_policy": {"type": "allowlist", "allowed_domains": ["a.example"]}},
            ["network_policy"],
        ),
    ],
)
def test_a_value_that_no_answer_and_no_record_shows_is_a_warning_and_no_replacement(
    spec: dict[str, Any], attributes: dict[str, Any], names: list[str]
) -> None:
    world = World(
        [declared(BOX, {"name": "box", **spec}, adopt="cntr_1")], [], [container(**attributes)]
    )
    change = world.change(BOX)
    assert change.action is Action.ADOPT
    assert [warning.partition(":")[0] for warning in change.warnings] == names
    assert all("--replace Container/box" in warning for warning in change.warnings)


# --- answers


def test_a_field_that_answers_lack_is_one_warning_for_all_resources() -> None:
    bots = [declared(f"Assistant/bot{number}", {"model": "m", "name": "x"}) for number in range(3)]
    records = [
        recorded(str(bot.address), f"asst_{number}", {"model": "m", "name": "x"})
        for number, bot in enumerate(bots)
    ]
    live = [
        shown("Assistant", f"asst_{number}", {"id": f"asst_{number}", "name": "x", "metadata": {}})
        for number in range(3)
    ]
    plan = World(bots, records, live).plan()
    [diagnostic] = plan.diagnostics
    assert diagnostic.summary == 'The API did not show "model" of Assistant'
    assert "Answers for Assistant/bot0 and 2 more lack it" in diagnostic.detail
    assert diagnostic.severity is Severity.WARNING
    assert not any(change.fields for change in plan.changes)


def bot(**spec: Any) -> Resource:
    return declared(BOT, {"model": "m", **spec})


def test_a_malformed_answer_blocks_its_resource_and_no_other() -> None:
    broken = store("vs_1", mark=STORE, expires_after="tomorrow")
    expires = {"expires_after": {"anchor": "last_active_at", "days": 3}}
    world = IN_SYNC._replace(
        desired=[declared(STORE, {**DOCS, **expires}), declared("VectorStore/new", DOCS)],
        live=[broken],
    )
    reasons = {str(change.address): change.reason for change in world.plan().changes}
    assert reasons == {STORE: Reason.BLOCKED, "VectorStore/new": Reason.NEW}
    [diagnostic] = world.plan().diagnostics
    assert (diagnostic.summary, diagnostic.severity) == ("An answer cannot be used", Severity.ERROR)
    assert diagnostic.address == at(STORE)


def test_what_else_an_answer_has_is_kept_where_policies_ask_for_it() -> None:
    world = IN_SYNC._replace(live=[store("vs_1", mark=STORE, created_at=NOW)])
    assert world.change(STORE).facts == {}
    facts = world._replace(options=PlanOptions(facts=True)).change(STORE).facts
    assert facts == {"id": "vs_1", "status": "completed", "created_at": NOW}


@pytest.mark.parametrize(
    ("desired", "is_preview", "has_image"),
    [(DOCS, False, False), ({"name": "New"}, False, True), ({"name": "New"}, True, False)],
)
def test_only_a_change_that_may_be_applied_has_a_pre_image(
    desired: dict[str, Any], is_preview: bool, has_image: bool
) -> None:
    world = IN_SYNC._replace(
        desired=[declared(STORE, desired)], options=PlanOptions(is_preview=is_preview)
    )
    assert bool(world.change(STORE).pre_image) is has_image


# --- references


@pytest.mark.parametrize(
    ("reference", "value"),
    [(Reference(at(STORE)), "vs_1"), (Reference(at(STORE), ("name",)), "Docs")],
)
def test_an_object_that_could_not_be_read_has_its_recorded_values(
    reference: Reference, value: str
) -> None:
    world = World(
        [declared(STORE, DOCS), bot(name=reference)],
        [recorded(STORE, "vs_1", DOCS), recorded(BOT, "asst_1", {"model": "m", "name": value})],
        [shown("Assistant", "asst_1", {"id": "asst_1", "model": "m", "name": value})],
        refuses={"VectorStore": ApiError("no", status=500)},
    )
    assert world.change(STORE).reason is Reason.BLOCKED
    assert world.change(BOT).reason is Reason.IN_SYNC


def test_a_reference_to_the_file_of_an_upload_is_its_path() -> None:
    upload = {"file": LocalFile("guide.md", "digest", 5), "purpose": "assistants"}
    world = World(
        [declared("File/guide", upload), bot(name=Reference(at("File/guide"), ("file",)))]
    )
    assert world.change(BOT).after["name"] == "guide.md"


def test_an_unset_field_that_answers_lack_is_unknown() -> None:
    reference = Reference(at(STORE), ("usage_bytes",))
    world = IN_SYNC._replace(desired=[declared(STORE, DOCS), bot(name=reference)])
    assert str(world.change(BOT).after["name"]) == "(known after apply)"


# --- refusals

MANAGED = {"is_scim_managed": True}


def user(role: str, **more: Any) -> World:
    email = {"email": "fay@example.com"}
    live = {"id": "user_1", **email, "role": "owner", **more}
    return World(
        [declared("User/fay", {**email, "role": role})],
        [recorded("User/fay", "user_1", {**email, "role": "owner"})],
        [
            shown("User", "user_1", live),
            shown("User", "user_2", {"id": "user_2", "email": "x", "role": "owner"}),
        ],
    )


def test_the_role_of_a_person_whom_a_directory_manages_may_change() -> None:
    change = user("reader", **MANAGED).change("User/fay")
    assert (change.action, change.refusal) == (Action.UPDATE, "")


def admin_key(name: str, **key: Any) -> Change:
    spec = {"name": name, "key": {"write_to": {"file": "a.key"}, **key}}
    applied = {"name": "ops", "key": {"write_to": {"file": "a.key"}}}
    delivered = {"key": {"key_id": "key_1", "target": {"file": "a.key"}, "receipt": {}}}
    attributes = {"id": "key_1", "name": "ops", "created_at": NOW, IN_USE: True}
    world = World(
        [declared("AdminKey/ops", spec)],
        [recorded("AdminKey/ops", "key_1", applied, delivered=delivered)],
        [shown("AdminKey", "key_1", attributes)],
    )
    return world.change("AdminKey/ops")


@pytest.mark.parametrize(
    ("name", "key"), [("ops", {"rotate": {"every": "30d"}}), ("new", {"rotate": {"every": "30d"}})]
)
def test_the_key_of_this_run_may_get_another_interval_or_a_successor(
    name: str, key: dict[str, Any]
) -> None:
    change = admin_key(name, **key)
    assert (change.action, change.refusal) == (Action.UPDATE, "")


# --- marks


def pairs(number: int) -> dict[str, str]:
    return {f"key{index}": "x" for index in range(number)}


@pytest.mark.parametrize(
    ("number", "action"),
    [(METADATA_PAIRS - 1, Action.ADOPT), (METADATA_PAIRS, Action.NO_OP)],
)
def test_a_mark_is_written_where_the_metadata_has_room(number: int, action: Action) -> None:
    live = store("vs_1")
    full = replace(live, attributes={**live.attributes, "metadata": pairs(number)})
    assert IN_SYNC._replace(live=[full]).change(STORE).action is action


def test_an_imported_object_may_stay_without_its_mark() -> None:
    prior = [recorded(STORE, "vs_1", DOCS, marked_later=True)]
    change = IN_SYNC._replace(prior=prior, live=[store("vs_1")]).change(STORE)
    assert change.action is Action.NO_OP
    assert change.mark == f"shop/prod/{STORE}"


def test_nothing_follows_from_an_answer_without_metadata() -> None:
    live = store("vs_1")
    attributes = {name: value for name, value in live.attributes.items() if name != "metadata"}
    change = IN_SYNC._replace(live=[replace(live, attributes=attributes)]).change(STORE)
    assert (change.action, change.mark) == (Action.NO_OP, "")


def test_a_mark_of_another_address_of_ours_is_corrected() -> None:
    change = IN_SYNC._replace(live=[store("vs_1", mark="VectorStore/old")]).change(STORE)
    assert (change.action, change.reason) == (Action.ADOPT, Reason.RENAMED)
    assert change.mark == f"shop/prod/{STORE}"
