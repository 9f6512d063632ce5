"""Reads of a plan come from the state, from the cache, or from the API."""

from __future__ import annotations

import logging

import pytest

from reconciler.engine.refresh.cached import CachedReader
from reconciler.engine.refresh.checkpoint import UnchangedScopes
from reconciler.engine.refresh.recorded import StateReader
from reconciler.engine.scope import Scope
from reconciler.errors import ApiError
from reconciler.kinds import KINDS
from tests.engine.tables import NOW, MemoryReader, at, recorded, shown, store

STORES, GROUPS = KINDS["VectorStore"], KINDS["Group"]
OBJECTS = [store("vs_1", "Docs"), shown("Group", "group_1", {"id": "group_1", "name": "Live"})]
RECORDS = {at("Group/staff"): recorded("Group/staff", "group_1", {"name": "Recorded"})}


def cached(api: MemoryReader, *, unchanged: bool = False) -> CachedReader:
    """A reader in front of an API; with `unchanged`, the groups are unchanged."""
    scopes = {("Group", None): NOW} if unchanged else {}
    return CachedReader(api, StateReader(RECORDS), UnchangedScopes(scopes=scopes))


def test_a_list_is_requested_once() -> None:
    api = MemoryReader(OBJECTS)
    reader = cached(api)
    assert reader.list(STORES, None) == reader.list(STORES, None)
    assert api.asked == ["VectorStore"]


def test_a_fresh_list_is_requested_again_and_replaces_the_first() -> None:
    api = MemoryReader(OBJECTS)
    reader = cached(api)
    reader.list(STORES, None)
    reader.list(STORES, None, fresh=True)
    reader.list(STORES, None)
    assert api.asked == ["VectorStore", "VectorStore"]


def test_a_partial_list_does_not_answer_for_the_whole_one() -> None:
    api = MemoryReader(OBJECTS)
    reader = cached(api)
    reader.list(STORES, None, only_ids=frozenset({"vs_1"}))
    reader.list(STORES, None)
    assert api.asked == ["VectorStore", "VectorStore"]


def test_lists_of_two_projects_are_two_lists() -> None:
    api = MemoryReader(OBJECTS)
    reader = cached(api)
    assert (len(reader.list(STORES, None)), len(reader.list(STORES, "search"))) == (1, 0)


def test_the_absence_of_an_object_is_remembered_until_a_fresh_read() -> None:
    api = MemoryReader([], refuses={})
    reader = cached(api)
    assert reader.get(STORES, None, "vs_1") is None
    assert reader.get(STORES, None, "vs_1") is None
    before = len(api.asked)
    reader.get(STORES, None, "vs_1", fresh=True)
    assert len(api.asked) > before


def test_an_error_is_not_remembered() -> None:
    api = MemoryReader(OBJECTS, refuses={"VectorStore": ApiError("busy", status=500)})
    reader = cached(api)
    for _ in range(2):
        with pytest.raises(ApiError):
            reader.list(STORES, None)
    assert api.asked == ["VectorStore", "VectorStore"]


def test_own_calls_are_cached_by_object_and_fields() -> None:
    api = MemoryReader(OBJECTS)
    reader = cached(api)
    for names in (["files"], ["files"], ["files", "name"]):
        reader.read_own_calls(OBJECTS[0], names)
    assert api.asked == ["vs_1: files", "vs_1: files, name"]


def test_an_unchanged_scope_is_answered_from_the_state() -> None:
    api = MemoryReader(OBJECTS)
    reader = cached(api, unchanged=True)
    [live] = reader.list(GROUPS, None)
    assert live.value("name") == "Recorded"
    assert reader.get(GROUPS, None, "group_1") == live
    assert reader.get(GROUPS, None, "group_9") is None
    assert api.asked == []


def test_only_the_unchanged_scope_is_answered_from_the_state() -> None:
    api = MemoryReader(OBJECTS)
    assert [live.id for live in cached(api, unchanged=True).list(STORES, None)] == ["vs_1"]
    assert api.asked == ["VectorStore"]


def test_a_scope_that_is_no_longer_unchanged_is_read() -> None:
    api = MemoryReader(OBJECTS)
    reader = cached(api, unchanged=True)
    reader.list(GROUPS, None)
    reader.set_unchanged(UnchangedScopes())
    [live] = reader.list(GROUPS, None)
    assert live.value("name") == "Live"


def test_a_scope_is_unchanged_in_one_project_alone() -> None:
    api = MemoryReader([])
    limits = KINDS["RateLimit"]
    scopes = UnchangedScopes(scopes={("RateLimit", "search"): NOW})
    reader = CachedReader(api, StateReader({}), scopes)
    reader.list(limits, "search")
    reader.list(limits, "find")
    assert api.asked == ["RateLimit"]


@pytest.mark.parametrize(
    ("unchanged", "calls", "message"),
    [
        (UnchangedScopes(scopes={("Group", None): 0.0}), ["list"], "unchanged since 1970-01-01"),
        (UnchangedScopes(), ["list"], "read in full"),
        (UnchangedScopes(), ["read"], "has had 3 pages"),
        (UnchangedScopes(full_refresh_reason="it is due"), ["list"], "it is due"),
        (UnchangedScopes(reasons={("Group", None): "it moved"}), ["list"], "it moved"),
    ],
)
def test_the_log_says_how_a_scope_is_read_and_why(
    unchanged: UnchangedScopes,
    calls: list[str],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pages = {Scope("Group", None): 3}
    reader = CachedReader(MemoryReader([]), StateReader({}), unchanged, pages)
    with caplog.at_level(logging.INFO, logger="reconciler.engine"):
        reader.announce(GROUPS, None, *calls)
        reader.announce(GROUPS, None, *calls)
    assert len(caplog.messages) == 1
    assert message in caplog.messages[0]


# The state as a reader


def test_a_recorded_object_has_the_values_of_the_last_apply() -> None:
    record = recorded("Group/staff", "group_1", {"name": "Asked"}, answered={"name": "Answered"})
    [live] = StateReader({record.address: record}).list(GROUPS, None)
    assert (live.id, live.value("name"), live.project) == ("group_1", "Answered", None)


def test_a_recorded_object_is_in_its_project() -> None:
    record = recorded("RateLimit/search/gpt", "rl-1", {"model": "gpt-4o"})
    reader = StateReader({record.address: record})
    assert len(reader.list(KINDS["RateLimit"], "search")) == 1
    assert reader.list(KINDS["RateLimit"], "find") == []


def test_a_recorded_object_is_in_its_parent() -> None:
    record = recorded(
        "GroupMember/fay", "group_1/user_1", {"group_id": "group_1", "user_id": "user_1"}
    )
    reader = StateReader({record.address: record})
    members = KINDS["GroupMember"]
    assert len(reader.list(members, None, (("group_id", "group_1"),))) == 1
    assert reader.list(members, None, (("group_id", "group_2"),)) == []
