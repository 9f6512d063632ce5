"""Only real differences are differences, in the shapes of the API's answers."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.engine.diff import diff_fields, drifted_fields, image, without_ignored
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import FieldChange, Origin
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import FileSet, LocalFile, Member, Unknown

ASSISTANT = {
    "id": "asst_1", "object": "assistant", "created_at": 1, "name": None, "description": None, "model": "gpt-4o",
    "instructions": None, "tools": [], "top_p": 1.0, "temperature": 1.0, "reasoning_effort": None,
    "tool_resources": {}, "metadata": {}, "response_format": "auto",
}  # fmt: skip
STORE = {
    "id": "vs_1", "object": "vector_store", "created_at": 1, "name": None, "description": None, "usage_bytes": 0,
    "file_counts": {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}, "status": "completed",
    "expires_after": None, "expires_at": None, "last_active_at": 1, "metadata": {},
}  # fmt: skip
AGENT = {
    "id": "agent_1", "object": "agent", "created_at": 1, "updated_at": 1, "model": "gpt-5.1", "name": None,
    "instructions": None, "metadata": {}, "tools": [], "reasoning": {"effort": "medium", "summary": None},
    "text": {"format": {"type": "text"}, "verbosity": "medium"}, "service_tier": "auto",
    "multi_agent": {"enabled": False, "max_concurrent_subagents": 6}, "compaction": {"async": False},
    "experimental": {"time_awareness": False},
}  # fmt: skip
BASES = {"Assistant": ASSISTANT, "VectorStore": STORE, "Agent": AGENT}


def live(kind: str, carried: dict[str, Any] | None = None, **changes: Any) -> LiveObject:
    return LiveObject(
        KINDS[kind], "id", {**BASES.get(kind, {}), **changes}, own_calls=carried or {}
    )


def record(kind: str, **applied: Any) -> Record:
    return Record(Address(kind, "x"), "id", applied=applied)


def diff(
    kind: str, desired: dict[str, Any], shown: LiveObject, prior: Record | None = None
) -> list[FieldChange]:
    return diff_fields(KINDS[kind], desired=desired, live=shown, record=prior)


FILE_SEARCH = {
    "type": "file_search",
    "file_search": {
        "ranking_options": {
            "ranker": "default_2024_08_21",
            "score_threshold": 0.0,
            "hybrid_search": None,
        },
    },
}
CODE_RESOURCES = {"code_interpreter": {"file_ids": []}}


@pytest.mark.parametrize(
    ("kind", "desired", "shown"),
    [
        ("Assistant", {"temperature": 1}, {}),
        ("Assistant", {"temperature": 1, "top_p": 1}, {"temperature": None, "top_p": None}),
        ("Assistant", {"temperature": 0.5}, {"temperature": 0.50}),
        ("Assistant", {"name": None, "metadata": None, "tool_resources": None}, {}),
        ("Assistant", {"metadata": {"a": "1"}}, {"metadata": {"a": "1", "reconciler": "s/e/Assistant/x"}}),
        ("Assistant", {"tools": [{"type": "file_search"}]}, {"tools": [FILE_SEARCH]}),
        ("Assistant", {"tools": [{"type": "file_search", "file_search": {}}]}, {"tools": [FILE_SEARCH]}),
        (
            "Assistant",
            {"tools": [{"type": "file_search", "file_search": {"ranking_options": {"ranker": "auto", "score_threshold": 0}}}]},
            {"tools": [FILE_SEARCH]},
        ),
        (
            "Assistant",
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "strict": False, "parameters": {"type": "object", "properties": {}}},
                    }
                ]
            },
        ),
        (
            "Assistant",
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
            {"tools": [{"type": "function", "function": {"name": "f", "strict": False, "parameters": {}}}]},
        ),
        (
            "Assistant",
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"maximum": 3}}}]},
            {"tools": [{"type": "function", "function": {"name": "f", "strict": None, "parameters": {"maximum": 3.0}}}]},
        ),
        ("Assistant", {"tools": [{"type": "code_interpreter"}]}, {"tools": [{"type": "code_interpreter"}], "tool_resources": CODE_RESOURCES}),
        ("Assistant", {"tool_resources": {}}, {"tool_resources": CODE_RESOURCES}),
        (
            "Assistant",
            {"tool_resources": {"code_interpreter": {"file_ids": ["b", "a"]}}},
            {"tool_resources": {"code_interpreter": {"file_ids": ["a", "b"]}, "file_search": {"vector_store_ids": []}}},
        ),
        ("Assistant", {"response_format": "auto"}, {"response_format": None}),
        (
            "Assistant",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "description": None, "schema": {"type": "object"}, "strict": False},
                }
            },
        ),
        ("Assistant", {"reasoning_effort": None}, {"reasoning_effort": None}),
        ("VectorStore", {"name": None}, {"name": ""}),
        ("VectorStore", {"name": ""}, {"name": None}),
        ("VectorStore", {"expires_after": None}, {}),
        ("Agent", {"text": {"verbosity": "medium"}}, {}),
        ("Agent", {"text": {"format": {"type": "text"}}}, {}),
        ("Agent", {"reasoning": {"effort": "medium"}}, {}),
        ("Agent", {"multi_agent": {"enabled": False}}, {}),
        ("Agent", {"tools": None}, {}),
        ("Agent", {"tools": [{"type": "web_search"}]}, {"tools": [{"type": "web_search", "mode": "live", "context_size": "medium", "allowed_domains": None, "location": None}]}),
    ],
)  # fmt: skip
def test_values_that_the_server_normalises_are_no_difference(
    kind: str, desired: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert diff(kind, desired, live(kind, **shown)) == []


@pytest.mark.parametrize(
    ("kind", "desired", "shown", "paths"),
    [
        ("Assistant", {"response_format": {"type": "text"}}, {}, ["response_format"]),
        ("Assistant", {"temperature": 0.2}, {}, ["temperature"]),
        ("Assistant", {"metadata": {"a": "1"}}, {"metadata": {"a": "1", "b": "2"}}, ["metadata.b"]),
        (
            "Assistant",
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {}}}]},
            ["tools[0].function.strict"],
        ),
        (
            "Assistant",
            {"tools": [{"type": "file_search"}]},
            {"tools": [{"type": "file_search", "file_search": {"ranking_options": {"ranker": "auto", "score_threshold": 0.4}}}]},
            ["tools[0].file_search.ranking_options.score_threshold"],
        ),
        ("Assistant", {"tools": []}, {"tools": [{"type": "code_interpreter"}]}, ["tools[0]"]),
        ("Assistant", {"name": None}, {"name": "theirs"}, ["name"]),
        (
            "Agent",
            {"tools": [{"type": "mcp", "server_label": "x", "transport": {"type": "http", "server_url": "https://x"}, "allowed_tools": []}]},
            {"tools": [{"type": "mcp", "server_label": "x", "transport": {"type": "http", "server_url": "https://x"}, "allowed_tools": None}]},
            ["tools[0].allowed_tools"],
        ),
        ("VectorStore", {"expires_after": {"anchor": "last_active_at", "days": 30}}, {"expires_after": {"anchor": "last_active_at", "days": 7}}, ["expires_after.days"]),
    ],
)  # fmt: skip
def test_a_real_difference_is_found_where_it_is(
    kind: str, desired: dict[str, Any], shown: dict[str, Any], paths: list[str]
) -> None:
    assert [change.dotted for change in diff(kind, desired, live(kind, **shown))] == paths


def test_a_field_that_was_never_set_is_the_servers_to_choose() -> None:
    assert (
        diff(
            "Assistant",
            {"model": "gpt-4o"},
            live("Assistant", temperature=0.3),
            record("Assistant"),
        )
        == []
    )


def test_a_field_that_is_no_longer_set_goes_back_to_the_default() -> None:
    (change,) = diff(
        "Assistant", {}, live("Assistant", temperature=0.3), record("Assistant", temperature=0.3)
    )
    assert (change.before, change.after, bool(change.note)) == (0.3, 1, True)


def test_a_limit_that_is_no_longer_set_is_reset_to_its_previous_value() -> None:
    prior = Record(
        Address("RateLimit", "m", "p"),
        "rl-m",
        applied={"model": "m", "max_requests_per_1_minute": 5},
        overwritten={"max_requests_per_1_minute": 100},
    )
    (change,) = diff(
        "RateLimit",
        {"model": "m"},
        live("RateLimit", model="m", max_requests_per_1_minute=5),
        prior,
    )
    assert (change.before, change.after) == (5, 100)


@pytest.mark.parametrize(
    ("applied", "shown", "desired", "origin"),
    [
        ("a", "a", "b", Origin.CONFIG),
        ("a", "b", "a", Origin.DRIFT),
        ("a", "b", "c", Origin.BOTH),
    ],
)
def test_a_change_says_which_side_moved(
    applied: str, shown: str, desired: str, origin: Origin
) -> None:
    (change,) = diff(
        "Assistant",
        {"name": desired},
        live("Assistant", name=shown),
        record("Assistant", name=applied),
    )
    assert change.origin is origin


def test_an_answer_that_the_server_insists_on_is_not_asked_for_again() -> None:
    prior = Record(
        Address("Assistant", "x"), "id", applied={"temperature": 0.2}, answered={"temperature": 1}
    )
    assert diff("Assistant", {"temperature": 0.2}, live("Assistant"), prior) == []


def test_an_answer_that_moves_again_is_a_difference() -> None:
    prior = Record(
        Address("Assistant", "x"), "id", applied={"temperature": 0.2}, answered={"temperature": 1}
    )
    assert diff("Assistant", {"temperature": 0.2}, live("Assistant", temperature=0.9), prior) != []


def test_an_unknown_value_differs_from_everything() -> None:
    desired = {"tool_resources": {"file_search": {"vector_store_ids": [Unknown("x")]}}}
    shown = live("Assistant", tool_resources={"file_search": {"vector_store_ids": ["vs_1"]}})
    assert [change.after for change in diff("Assistant", desired, shown)] == [Unknown("x")]


def test_a_write_only_field_is_compared_with_what_was_applied() -> None:
    changes = diff(
        "Assistant",
        {"reasoning_effort": "low"},
        live("Assistant"),
        record("Assistant", reasoning_effort="low"),
    )
    assert changes == []


def test_new_content_of_a_file_forces_replacement() -> None:
    shown = live("File", filename="a.txt", purpose="assistants", bytes=3)
    prior = record("File", path=LocalFile("a.txt", "1" * 64, 3), purpose="assistants")
    desired = {"path": LocalFile("a.txt", "2" * 64, 3), "purpose": "assistants"}
    assert [change.forces_replacement for change in diff("File", desired, shown, prior)] == [True]


def test_a_description_that_can_only_be_given_at_creation_is_left_alone() -> None:
    assert (
        diff(
            "VectorStore",
            {"description": "new"},
            live("VectorStore"),
            record("VectorStore", description="old"),
        )
        == []
    )


def member(path: str, digest: str, **more: Any) -> Member:
    return Member(path, LocalFile(path, digest, 1), **more)


def test_members_are_compared_by_path_and_digest() -> None:
    desired = {"files": FileSet((member("a.md", "1"), member("b.md", "2")))}
    shown = live(
        "VectorStore",
        carried={"files": FileSet((member("a.md", "1"), member("b.md", "9"), member("c.md", "3")))},
    )
    assert sorted(change.dotted for change in diff("VectorStore", desired, shown)) == [
        'files["b.md"].sha256',
        'files["c.md"]',
    ]


def test_automatic_chunking_equals_the_sizes_that_it_reads_back_as() -> None:
    static = {
        "type": "static",
        "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
    }
    shown = live(
        "VectorStore", carried={"files": FileSet((member("a.md", "1", chunking_strategy=static),))}
    )
    for asked in (None, {"type": "auto"}):
        assert (
            diff(
                "VectorStore",
                {"files": FileSet((member("a.md", "1", chunking_strategy=asked),))},
                shown,
            )
            == []
        )


def test_drift_is_told_from_what_was_applied_to_what_is_there() -> None:
    (change,) = drifted_fields(
        KINDS["Assistant"],
        live=live("Assistant", name="theirs"),
        record=record("Assistant", name="ours"),
        ignore=(),
    )
    assert (change.before, change.after) == ("ours", "theirs")


def test_an_ignored_field_takes_no_part() -> None:
    shown = live("Assistant", name="theirs")
    assert without_ignored({"name": "ours", "model": "m"}, live=shown, ignore=("name",)) == {
        "model": "m"
    }


def test_an_ignored_path_inside_a_field_takes_the_live_value() -> None:
    shown = live("Assistant", metadata={"a": "theirs", "b": "2"})
    spec = without_ignored(
        {"metadata": {"a": "ours", "b": "2"}}, live=shown, ignore=("metadata.a",)
    )
    assert spec == {"metadata": {"a": "theirs", "b": "2"}}


def test_the_image_of_an_object_leaves_out_what_moves_by_itself() -> None:
    first = live("VectorStore", last_active_at=1, usage_bytes=1)
    second = live("VectorStore", last_active_at=2, usage_bytes=9)
    assert image(KINDS["VectorStore"], first) == image(KINDS["VectorStore"], second)


def test_a_list_can_grow_by_an_id_that_is_not_known_yet() -> None:
    asked = {
        "tool_resources": {"file_search": {"vector_store_ids": [Unknown("${VectorStore/new}")]}}
    }
    (change,) = diff(
        "Assistant",
        asked,
        live("Assistant", tool_resources={"file_search": {"vector_store_ids": []}}),
    )
    assert change.after == {"vector_store_ids": [Unknown("${VectorStore/new}")]}
