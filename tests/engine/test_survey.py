"""Overviews as tables: answers of the API in, reported objects and unread lists out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from reconciler.engine.inputs import PlanOptions
from reconciler.engine.overview import Overview
from reconciler.engine.refresh.collect import collect
from reconciler.errors import ApiError
from reconciler.kinds import KINDS
from reconciler.model.ignoring import IgnoreRules
from reconciler.model.inventory import InventoryObject, ObjectRelation
from reconciler.model.kind import ScopeType
from reconciler.model.resource import LiveObject
from tests.engine.tables import World, at, declared, recorded, shown, store

INVENTORY = PlanOptions(unmanaged=True, inventory=True)
UNMANAGED = PlanOptions(unmanaged=True)

MANAGED, OTHERS, IGNORED, BUILT_IN, ENDED = (
    ObjectRelation.MANAGED,
    ObjectRelation.UNMANAGED,
    ObjectRelation.IGNORED,
    ObjectRelation.BUILT_IN,
    ObjectRelation.ENDED,
)
SEARCH = shown("Project", "proj_1", {"id": "proj_1", "name": "Search", "status": "active"})
OLD = shown("Project", "proj_0", {"id": "proj_0", "name": "Old", "status": "archived"})
STAFF = shown("Group", "group_1", {"id": "group_1", "name": "Staff"})
FAY = shown(
    "User", "user_1", {"id": "user_1", "name": "Fay", "email": "fay@example.com", "role": "owner"}
)
MEMBER = shown(
    "GroupMember",
    "group_1/user_1",
    {"group_id": "group_1", "user_id": "user_1", "name": "Fay of the group"},
)


def overview(*live: LiveObject, options: PlanOptions = INVENTORY, **more: Any) -> Overview:
    """The overview of an organization; `keyed_projects` are the projects with a key."""
    inputs = {"declarable": KINDS, "keyed_projects": [""], **more.pop("inputs", {})}
    return World(live=live, options=options, more=inputs, **more).snapshot().overview


def entry_of(overview: Overview, id: str) -> InventoryObject:
    (entry,) = [entry for entry in overview.objects if entry.id == id]
    return entry


class Row(NamedTuple):
    """One object of an organization, how it relates to the stack, and its label."""

    what: str
    live: Sequence[LiveObject]
    id: str
    relation: ObjectRelation
    label: str
    world: Mapping[str, Any] = {}
    inputs: Mapping[str, Any] = {}


ROWS = [
    Row("an object of nobody", [STAFF], "group_1", OTHERS, "Staff"),
    Row(
        "a recorded object",
        [STAFF],
        "group_1",
        MANAGED,
        "Staff",
        {"prior": [recorded("Group/staff", "group_1")]},
    ),
    Row(
        "a declared object",
        [STAFF],
        "group_1",
        MANAGED,
        "Staff",
        {
            "desired": [declared("Group/staff", {"name": "Staff"}, adopt=True)],
        },
    ),
    Row(
        "an object with a mark of another stack",
        [store("vs_1", mark="blog/prod/VectorStore/docs")],
        "vs_1",
        OTHERS,
        "Docs",
    ),
    Row(
        "a mark in a list that only the overview reads proves nothing",
        [store("vs_1", mark="VectorStore/docs")],
        "vs_1",
        OTHERS,
        "Docs",
    ),
    Row(
        "an object that a rule ignores by its label",
        [STAFF],
        "group_1",
        IGNORED,
        "Staff",
        inputs={"ignore": IgnoreRules(["Group/Sta*"])},
    ),
    Row(
        "a rule hides no object of ours",
        [STAFF],
        "group_1",
        MANAGED,
        "Staff",
        {"prior": [recorded("Group/staff", "group_1")]},
        {"ignore": IgnoreRules(["Group/Sta*"])},
    ),
    Row("a project that was archived", [OLD], "proj_0", ENDED, "Old"),
    Row(
        "a membership is named after its group and its user",
        [STAFF, FAY, MEMBER],
        "group_1/user_1",
        OTHERS,
        "Staff/fay@example.com",
    ),
    Row(
        "a membership of objects that no list shows has its ids",
        [STAFF, shown("GroupMember", MEMBER.id, {"group_id": "group_1", "user_id": "user_1"})],
        "group_1/user_1",
        OTHERS,
        "Staff/user_1",
    ),
    Row(
        "an object without a name has its id",
        [shown("VectorStore", "vs_1", {"id": "vs_1", "name": None})],
        "vs_1",
        OTHERS,
        "vs_1",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_an_overview_says_who_has_each_object(row: Row) -> None:
    entry = entry_of(overview(*row.live, inputs=row.inputs, **row.world), row.id)
    assert (entry.relation, entry.label) == (row.relation, row.label)


def test_an_object_of_an_unnamed_project_is_shown_under_the_projects_name_at_the_api() -> None:
    account = shown("ServiceAccount", "sa_1", {"id": "sa_1", "name": "ci"}, "proj_1")
    entry = entry_of(overview(SEARCH, account), "sa_1")
    assert (entry.project, entry.project_id) == ("Search", "proj_1")


def test_an_object_of_a_named_project_is_shown_under_the_name_of_the_configuration() -> None:
    account = shown("ServiceAccount", "sa_1", {"id": "sa_1", "name": "ci"}, "find")
    entry = entry_of(overview(SEARCH, account, projects={"find": "proj_1"}), "sa_1")
    assert (entry.project, entry.project_id) == ("find", "proj_1")


def test_nothing_is_read_in_an_archived_project() -> None:
    account = shown("ServiceAccount", "sa_1", {"id": "sa_1", "name": "ci"}, "proj_0")
    assert [
        entry.id for entry in overview(OLD, account).objects if entry.kind == OLD.kind.name
    ] == ["proj_0"]
    assert "sa_1" not in {entry.id for entry in overview(OLD, account).objects}


FIRST, *_, LATER = [
    kind.name
    for kind in KINDS.values()
    if kind.scope is ScopeType.PROJECT_KEY and kind.calls.listable and not kind.parents
]
"""The list that is read first with the key of a project, and the last one."""


class UnreadRow(NamedTuple):
    """An organization with one obstacle, and the reason for a list that was not read."""

    what: str
    kind: str
    reason: str | None
    world: Mapping[str, Any]


UNREAD_ROWS = [
    UnreadRow("every list answers", "Group", None, {}),
    UnreadRow(
        "a list is refused",
        "Group",
        "no (403)",
        {"refuses": {"Group": ApiError("no", status=403)}},
    ),
    UnreadRow(
        "a message that names the status itself",
        "Group",
        "403 forbidden",
        {"refuses": {"Group": ApiError("403 forbidden", status=403)}},
    ),
    UnreadRow(
        "no key opens a project",
        "VectorStore",
        'no key of the project "Search"',
        {"closed": ["proj_1"]},
    ),
    UnreadRow(
        "the key of a project is of another one",
        LATER,
        "wrong key (401)",
        {"refuses": {FIRST: ApiError("wrong key", status=401)}},
    ),
]


@pytest.mark.parametrize("row", UNREAD_ROWS, ids=lambda row: row.what)
def test_a_list_that_cannot_be_read_is_reported_with_the_reason(row: UnreadRow) -> None:
    unread = overview(SEARCH, **row.world).unread
    reasons = {entry.reason for entry in unread if entry.kind == row.kind}
    assert (row.reason in reasons) if row.reason else not reasons


def test_a_kind_without_a_list_is_reported_once() -> None:
    unlisted = [kind.name for kind in KINDS.values() if not kind.calls.listable]
    reasons = {entry.kind: entry.reason for entry in overview(SEARCH).unread}
    assert unlisted
    assert {reasons.get(name) for name in unlisted} == {"the API has no list of them"}


def test_a_lost_connection_ends_the_overview() -> None:
    with pytest.raises(ApiError, match="connection"):
        overview(SEARCH, refuses={"Group": ApiError("connection lost")})


def test_settings_that_always_exist_are_shown_unread_in_an_inventory_alone() -> None:
    retention = [
        entry for entry in overview(SEARCH, STAFF).objects if entry.kind == "DataRetention"
    ]
    assert {(entry.project, entry.relation) for entry in retention} == {
        (None, BUILT_IN),
        ("Search", BUILT_IN),
    }
    unmanaged = overview(SEARCH, STAFF, options=UNMANAGED)
    assert "DataRetention" not in {entry.kind for entry in unmanaged.objects}


def test_without_being_asked_for_nothing_is_read_for_an_overview() -> None:
    world = World(live=[STAFF, SEARCH])
    assert world.snapshot().overview == Overview()


def test_a_plan_with_targets_has_an_empty_overview() -> None:
    options = PlanOptions(unmanaged=True, targets=(at("Group/staff"),))
    world = World([declared("Group/staff", {"name": "Staff"}, adopt=True)], live=[STAFF, FAY])
    shown_ids = {entry.id for entry in world._replace(options=options).snapshot().overview.objects}
    assert "user_1" not in shown_ids


def test_grants_of_a_user_are_read_only_where_somebody_made_a_role() -> None:
    built_in = shown("Role", "role_0", {"id": "role_0", "name": "Owner", "predefined_role": True})
    custom = shown("Role", "role_1", {"id": "role_1", "name": "Auditor", "predefined_role": False})
    grant = {"user_id": "user_1", "role_id": "role_1"}
    assignment = shown("RoleAssignment", "user_id=user_1/role_1", grant)
    asked = []
    for role in (built_in, custom):
        world = World(
            live=[FAY, role, assignment],
            options=INVENTORY,
            more={"declarable": KINDS, "keyed_projects": [""]},
        )
        reader = world.reader
        collect(world.inputs, reader, parallelism=1)
        asked.append(reader.asked.count("RoleAssignment"))
    assert asked[0] < asked[1]
