"""A plan without a call: answers from an earlier live state, and from records for what it lacks."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from reconciler.engine.refresh.replayed import ReplayingReader
from reconciler.engine.scope import LiveState, Scope
from reconciler.errors import ApiError
from reconciler.kinds import ALL_KINDS, KINDS
from tests.engine.tables import recorded, shown, store

STORES, GROUPS, ROLES = (Scope(kind, None) for kind in ("VectorStore", "Group", "Role"))
RECORDS = [
    recorded("VectorStore/docs", "vs_1", {"name": "Recorded"}),
    recorded("VectorStore/gone", "vs_0", {"name": "Gone"}),
    recorded("Group/staff", "group_1", {"name": "Recorded"}),
    recorded("Role/editor", "role_1", {"name": "Recorded"}),
]
REFUSAL = ApiError("no", status=403)


def replaying() -> ReplayingReader:
    """A reader whose state listed the stores, was refused the roles, and did not read the groups."""
    live = LiveState(ALL_KINDS)
    live.list(STORES, [store("vs_1", "Live"), store("vs_9", "Other")])
    live.fail(ROLES, REFUSAL)
    return ReplayingReader(live, {record.address: record for record in RECORDS})


class Row(NamedTuple):
    """A kind, and the ids and names that its list shows."""

    what: str
    kind: str
    objects: list[tuple[str, str]]


@pytest.mark.parametrize(
    "row",
    [
        Row(
            "a list that was read shows no record that it lacked",
            "VectorStore",
            [("vs_1", "Live"), ("vs_9", "Other")],
        ),
        Row("a list that was not read shows the records", "Group", [("group_1", "Recorded")]),
        Row("a list without records is empty", "Project", []),
    ],
    ids=lambda row: row.what,
)
def test_a_list_is_answered_from_the_earlier_reading_or_the_records(row: Row) -> None:
    objects = replaying().list(ALL_KINDS[row.kind], None)
    assert [(live.id, live.attributes["name"]) for live in objects] == row.objects


@pytest.mark.parametrize(
    ("kind", "id", "name"),
    [
        ("VectorStore", "vs_1", "Live"),
        ("VectorStore", "vs_0", None),
        ("Group", "group_1", "Recorded"),
        ("Group", "group_9", None),
        # A refusal of the list says nothing about one object.
        ("Role", "role_1", "Recorded"),
    ],
)
def test_an_object_is_answered_as_it_was_read_or_else_recorded(
    kind: str, id: str, name: str | None
) -> None:
    live = replaying().get(ALL_KINDS[kind], None, id)
    assert (live.attributes["name"] if live else None) == name


def test_a_list_that_was_refused_is_refused_again() -> None:
    with pytest.raises(ApiError) as refused:
        replaying().list(KINDS["Role"], None)
    assert refused.value is REFUSAL


def test_every_recorded_kind_can_be_read_without_a_call() -> None:
    reader = replaying()
    assert all(reader.can_read(KINDS[record.address.kind], "any") for record in RECORDS)
    assert reader.calls == 0


def test_a_record_shows_the_stored_value_where_the_api_kept_another() -> None:
    record = recorded(
        "Group/staff", "group_1", {"name": "Staff"}, answered={"name": "staff (renamed)"}
    )
    reader = ReplayingReader(LiveState(ALL_KINDS), {record.address: record})
    (live,) = reader.list(KINDS["Group"], None)
    assert live.attributes["name"] == "staff (renamed)"
    assert reader.read_own_calls(live, ["members"]) is live


def test_a_live_state_tells_what_a_list_lacked_from_what_was_not_listed() -> None:
    live = LiveState(ALL_KINDS)
    live.list(STORES, [store("vs_1")])
    wanted = [(STORES, "vs_1"), (STORES, "vs_2"), (GROUPS, "group_1")]
    assert live.lacking(wanted) == [(STORES, "vs_2")]


def test_an_id_of_another_form_is_in_no_list() -> None:
    live = LiveState(ALL_KINDS)
    live.put(shown("GroupMember", "group_1/user_1", {"group_id": "group_1", "user_id": "user_1"}))
    assert live.find("GroupMember", None, "not-two-parts") is None
    member = live.find("GroupMember", None, "group_1/user_1")
    assert member is not None
    assert [each.id for each in live.objects("GroupMember", None)] == [member.id]
