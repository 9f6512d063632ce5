"""Selection and read targets: the resources of a plan, and the lists and ids that it reads."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.inputs import PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.engine.refresh.collect import collect
from reconciler.engine.refresh.targets import ReadTargets, before_reading, reads_singly
from reconciler.engine.scope import LiveState, Scope
from reconciler.engine.selection import select
from reconciler.errors import ApiError, UsageError
from reconciler.kinds import KINDS
from reconciler.model.consistency import CreationWindow
from reconciler.model.values import Reference
from tests.engine.tables import NOW, World, at, declared, recorded, shown, store

STORE = "VectorStore/docs"
PROJECT = declared("Project/search", {"name": "Search"})
ACCOUNT = declared("ServiceAccount/search/ci", {"name": "ci"})
GROUP = declared("Group/staff", {"name": "Staff"})
MEMBER = declared(
    "GroupMember/fay", {"group_id": Reference(at("Group/staff")), "user_id": "user_1"}
)


def targets(world: World) -> ReadTargets:
    return ReadTargets(world.inputs, select(world.inputs))


@pytest.mark.parametrize(
    ("options", "order", "to_destroy"),
    [
        ({}, ["Group/staff", "GroupMember/fay", "Project/search", "ServiceAccount/search/ci"], []),
        (
            {"targets": ["ServiceAccount/search/ci"]},
            ["Project/search", "ServiceAccount/search/ci"],
            [],
        ),
        ({"targets": ["Project/search"]}, ["Project/search"], []),
        (
            {"targets": ["Project/search"], "destroy": True},
            ["Project/search", "ServiceAccount/search/ci"],
            ["Project/search", "ServiceAccount/search/ci"],
        ),
    ],
)
def test_selection(options: dict[str, Any], order: list[str], to_destroy: list[str]) -> None:
    named = {**options, "targets": tuple(at(address) for address in options.get("targets", ()))}
    world = World([MEMBER, ACCOUNT, GROUP, PROJECT], options=PlanOptions(**named))
    selection = select(world.inputs)
    assert sorted(map(str, selection.order)) == order
    assert sorted(map(str, selection.to_destroy)) == to_destroy


def test_resources_come_after_what_they_need() -> None:
    order = [
        str(address) for address in select(World([ACCOUNT, MEMBER, GROUP, PROJECT]).inputs).order
    ]
    assert order.index("Project/search") < order.index("ServiceAccount/search/ci")
    assert order.index("Group/staff") < order.index("GroupMember/fay")


def test_a_target_that_does_not_exist_is_refused_with_a_suggestion() -> None:
    world = World([PROJECT], options=PlanOptions(targets=(at("Project/serch"),)))
    with pytest.raises(UsageError, match="Project/search"):
        select(world.inputs)


def test_an_object_of_a_project_key_needs_the_resource_that_delivers_the_key() -> None:
    world = World(
        [PROJECT, ACCOUNT, declared("VectorStore/search/docs", {})],
        more={"key_writers": {"search": at("ServiceAccount/search/ci")}},
    )
    needs = select(world.inputs).needs
    assert at("ServiceAccount/search/ci") in needs[at("VectorStore/search/docs")]
    assert needs[at("ServiceAccount/search/ci")] == {at("Project/search")}


def test_declared_and_recorded_objects_and_unfinished_creates_are_listed() -> None:
    attempts = {at("Container/box"): [CreateAttempt(CreationWindow(NOW))]}
    world = World(
        [declared(STORE, {})],
        [recorded("Assistant/bot", "asst_1")],
        ownership=Ownership("shop", "prod", create_attempts=attempts),
    )
    scopes = {Scope(kind, None) for kind in ("VectorStore", "Assistant", "Container")}
    assert targets(world).outer == scopes
    assert targets(world).needed(before_reading) == scopes - {Scope("Container", None)}


def test_an_invite_lists_members_too() -> None:
    invite = declared("Invite/fay", {"email": "fay@example.com", "role": "reader"})
    assert targets(World([invite])).outer == {Scope("Invite", None), Scope("User", None)}


def test_a_list_inside_an_object_waits_for_the_object() -> None:
    world = targets(World([GROUP, MEMBER]))
    assert world.nested(before_reading) == set()
    assert world.nested(lambda _: "group_1") == {
        Scope("GroupMember", None, (("group_id", "group_1"),))
    }


def test_a_record_with_an_id_of_another_form_has_no_scope() -> None:
    world = targets(World(prior=[recorded("GroupMember/fay", "not-two-parts")]))
    assert world.record_scopes == {at("GroupMember/fay"): None}
    assert world.known_ids({Scope("GroupMember", None)}) == []


def test_records_and_adoptions_are_known_by_id() -> None:
    scope = Scope("VectorStore", None)
    world = World(
        [
            declared("VectorStore/new", {}, adopt="vs_2"),
            declared("VectorStore/any", {}, adopt=True),
        ],
        [recorded(STORE, "vs_1")],
    )
    assert targets(world).known_ids({scope}) == [(scope, "vs_1"), (scope, "vs_2")]


KNOWN = World([declared(STORE, {})], [recorded(STORE, "vs_1", deposed=("vs_0",))])


@pytest.mark.parametrize(
    ("world", "ids"),
    [
        (KNOWN, {"vs_1", "vs_0"}),
        (KNOWN._replace(options=PlanOptions(unmanaged=True)), None),
        (KNOWN._replace(options=PlanOptions(adopt=True)), None),
        (KNOWN._replace(more={"state_is_new": True}), None),
        (KNOWN._replace(desired=[*KNOWN.desired, declared("VectorStore/new", {})]), None),
        (KNOWN._replace(ownership=Ownership("shop", "prod", unfinished={at(STORE): NOW})), None),
    ],
)
def test_a_list_is_read_in_part_where_only_recorded_objects_count(
    world: World, ids: set[str] | None
) -> None:
    scope = Scope("VectorStore", None)
    assert targets(world).only_ids({scope}).get(scope) == ids


@pytest.mark.parametrize(
    ("count", "pages", "singly"),
    [(0, 5, False), (1, 1, True), (2, 1, False), (4, 5, True), (5, 5, False)],
)
def test_objects_are_read_singly_where_that_takes_fewer_calls(
    count: int, pages: int, singly: bool
) -> None:
    assert reads_singly(KINDS["VectorStore"], count, pages) is singly
    assert not reads_singly(KINDS["RateLimit"], count, pages)


@pytest.mark.parametrize(
    ("count", "pages", "sharers", "singly"),
    [(1, 1, 2, False), (1, 2, 2, False), (1, 3, 2, True), (1, 5, 50, False), (3, 200, 50, True)],
)
def test_objects_are_read_singly_where_that_takes_fewer_calls_of_all_stacks(
    count: int, pages: int, sharers: int, singly: bool
) -> None:
    assert reads_singly(KINDS["VectorStore"], count, pages, sharers) is singly


@pytest.mark.parametrize(
    ("scope", "stacks", "sharers"),
    [
        (Scope("Group", None), 50, 50),
        (Scope("Group", None), 1, 1),
        (Scope("ServiceAccount", "search"), 50, 2),
        (Scope("ServiceAccount", "search"), 1, 1),
        (Scope("VectorStore", None), 50, 2),
    ],
)
def test_lists_of_the_organization_are_of_use_to_all_stacks_and_others_to_few(
    scope: Scope, stacks: int, sharers: int
) -> None:
    assert targets(World(more={"sharers": stacks})).sharers_of(scope) == sharers


def test_marked_objects_are_searched_wherever_a_key_opens_a_project() -> None:
    world = targets(World([declared("VectorStore/a/docs", {})], more={"keyed_projects": ["", "b"]}))
    assert {scope.project for scope in world.marked(world.outer)} == {None, "a", "b"}
    admin_only = targets(World([PROJECT], more={"keyed_projects": [""]}))
    assert admin_only.marked(admin_only.outer) == []


def test_each_list_is_read_once() -> None:
    world = World(
        [declared(STORE, {"name": "A"}), declared("VectorStore/b", {"name": "B"}), PROJECT],
        live=[store("vs_9", "Other")],
    )
    reader = world.reader
    collect(world.inputs, reader, parallelism=2)
    assert sorted(reader.asked) == ["Project", "VectorStore"]


def test_a_refusal_of_everything_is_raised() -> None:
    refusals = {kind: ApiError("no", status=500) for kind in ("VectorStore", "Assistant")}
    world = World(
        [declared(STORE, {}), declared("Assistant/bot", {"model": "m"})], refuses=refusals
    )
    with pytest.raises(ApiError, match="no"):
        world.snapshot()


def test_a_refused_list_is_an_error_of_what_needed_it() -> None:
    world = World(
        [declared(STORE, {}), declared("Group/g", {"name": "g"})],
        refuses={"VectorStore": ApiError("no", status=500)},
    )
    snapshot = world.snapshot()
    assert set(snapshot.errors) == {at(STORE)}
    assert snapshot.is_unreadable(at(STORE))


def test_a_refused_search_is_a_warning_that_is_due_again() -> None:
    attempts = {at("Container/box"): [CreateAttempt(CreationWindow(NOW))]}
    world = World(
        ownership=Ownership("shop", "prod", create_attempts=attempts),
        refuses={"Container": ApiError("no", status=500)},
    )
    snapshot = world.snapshot()
    assert snapshot.errors == {}
    assert snapshot.search_failed
    assert world.plan().unsearched


def test_a_project_without_a_key_is_an_error_of_what_is_recorded_in_it() -> None:
    world = World(
        prior=[recorded("VectorStore/a/docs", "vs_1"), recorded("Group/g", "group_1")],
        live=[shown("Group", "group_1", {"id": "group_1", "name": "g"})],
        projects={"a": "proj_a"},
        closed=["a"],
    )
    assert set(world.snapshot().errors) == {at("VectorStore/a/docs")}


def test_a_live_state_replaces_forgets_and_finds_objects() -> None:
    state, scope = LiveState(KINDS), Scope("VectorStore", None)
    state.put(store("vs_1", "Old"))
    state.put(store("vs_1", "New"))
    live = state.find("VectorStore", None, "vs_1")
    assert live is not None
    assert live.attributes["name"] == "New"
    assert state.was_listed("VectorStore", None)
    state.forget(scope)
    assert state.find("VectorStore", None, "vs_1") is None


def test_a_live_state_knows_what_it_could_not_read() -> None:
    state = LiveState(KINDS)
    state.mark_unreadable([Scope("VectorStore", "a")])
    state.fail(Scope("Group", None), ApiError("no", status=500))
    assert state.is_unreadable("VectorStore", "a")
    assert not state.is_unreadable("VectorStore", "b")
    assert state.is_unreadable("Group", None)
