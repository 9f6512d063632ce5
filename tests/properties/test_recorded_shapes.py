"""No recorded answer of the live API, of 2024 or 2025, causes a difference."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given

from reconciler.api.objects.members import live_set, moves
from reconciler.engine.diff import diff_fields, drifted_fields
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.resource import MARK_KEY, LiveObject, Record
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet, LocalFile, Member
from tests.properties.bench import Bench, pending, resource, valid_specs
from tests.properties.strategies import examples

MARK = {MARK_KEY: "shop/test/Assistant/it"}
BARE = {
    "id": "asst_0", "object": "assistant", "created_at": 1761861537, "name": None, "description": None,
    "model": "gpt-4o", "instructions": None, "tools": [], "top_p": 1.0, "temperature": 1.0, "reasoning_effort": None,
    "tool_resources": {}, "metadata": {}, "response_format": "auto",
}  # fmt: skip
OLD = {name: value for name, value in BARE.items() if name != "reasoning_effort"}
STORE = {
    "id": "vs_0", "object": "vector_store", "created_at": 1758064068, "name": None, "description": None,
    "usage_bytes": 0, "file_counts": {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0},
    "status": "completed", "expires_after": None, "expires_at": None, "last_active_at": 1758064068, "metadata": {},
}  # fmt: skip
SEARCH = {
    "ranking_options": {
        "ranker": "default_2024_08_21",
        "score_threshold": 0.0,
        "hybrid_search": None,
    }
}
TWO_RESULTS = {
    "max_num_results": 2,
    "ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.5},
}
FUNCTION = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}

ASSISTANTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a model alone", {}, BARE),
    ("a model alone, of 2024", {}, OLD),
    ("all nulls", {item.name: None for item in KINDS["Assistant"].fields if item.nullable}, BARE),
    (
        "all defaults",
        {
            "tools": [],
            "top_p": 1,
            "temperature": 1,
            "tool_resources": {},
            "metadata": {},
            "response_format": "auto",
        },
        BARE,
    ),
    ("effort, where it is not shown", {"reasoning_effort": "high"}, OLD),
    ("a mark", {"metadata": {"team": "cx"}}, {**BARE, "metadata": {"team": "cx", **MARK}}),
    (
        "an interpreter with no files",
        {"tools": [{"type": "code_interpreter"}]},
        {
            **BARE,
            "tools": [{"type": "code_interpreter"}],
            "tool_resources": {"code_interpreter": {"file_ids": []}},
        },
    ),
    (
        "search and interpreter, with one store",
        {
            "tools": [{"type": "file_search"}, {"type": "code_interpreter"}],
            "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}},
        },
        {
            **BARE,
            "tools": [{"type": "file_search", "file_search": SEARCH}, {"type": "code_interpreter"}],
            "tool_resources": {
                "file_search": {"vector_store_ids": ["vs_1"]},
                "code_interpreter": {"file_ids": []},
            },
        },
    ),
    (
        "complete ranking options, which gain a null",
        {"tools": [{"type": "file_search", "file_search": TWO_RESULTS}]},
        {
            **BARE,
            "tools": [
                {
                    "type": "file_search",
                    "file_search": {
                        "max_num_results": 2,
                        "ranking_options": {
                            **TWO_RESULTS["ranking_options"],
                            "hybrid_search": None,
                        },
                    },
                }
            ],
        },
    ),
    (
        "a function without parameters",
        {"tools": [{"type": "function", "function": {"name": "get_weather"}}]},
        {**BARE, "tools": [{"type": "function", "function": FUNCTION}]},
    ),
    (
        "a function with empty parameters and no strictness",
        {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "get_weather", "parameters": {}, "description": ""},
                }
            ]
        },
        {
            **BARE,
            "tools": [
                {"type": "function", "function": {**FUNCTION, "description": None, "strict": None}}
            ],
        },
    ),
    (
        "a schema format whose optional parts are null",
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}},
            }
        },
        {
            **BARE,
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": "n",
                    "description": None,
                    "schema": {"type": "object"},
                    "strict": None,
                },
            },
        },
    ),
    (
        "a reasoning model, which has no temperature",
        {"reasoning_effort": "low"},
        {**BARE, "reasoning_effort": "low", "temperature": None, "top_p": None},
    ),
    (
        "no resources at all",
        {"tool_resources": {"code_interpreter": {"file_ids": []}}},
        {**BARE, "tool_resources": None},
    ),
]
STORES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("nothing at all", {}, STORE),
    ("all nulls", {"name": None, "expires_after": None, "metadata": None}, STORE),
    ("an empty name", {"name": ""}, STORE),
    ("a description, where it is not shown", {"description": "What it is for."}, STORE),
    (
        "an end that moves with use",
        {"name": "s", "expires_after": {"anchor": "last_active_at", "days": 3}},
        {
            **STORE,
            "name": "s",
            "status": "in_progress",
            "expires_after": {"anchor": "last_active_at", "days": 3},
            "expires_at": 1758323274,
            "last_active_at": 1758999999,
        },
    ),
]
ROWS = [("Assistant", {"model": "gpt-4o", **asked}, shown) for _, asked, shown in ASSISTANTS] + [
    ("VectorStore", asked, shown) for _, asked, shown in STORES
]
IDS = [name for name, _, _ in (*ASSISTANTS, *STORES)]


@pytest.mark.parametrize("is_known", [True, False], ids=["in the state", "not in the state"])
@pytest.mark.parametrize(("kind", "asked", "shown"), ROWS, ids=IDS)
def test_a_recorded_answer_is_what_was_asked_for(
    kind: str, asked: dict[str, Any], shown: dict[str, Any], is_known: bool
) -> None:
    live = LiveObject(KINDS[kind], shown["id"], shown)
    record = Record(Address(kind, "it"), shown["id"], applied=asked) if is_known else None
    found = diff_fields(KINDS[kind], desired=asked, live=live, record=record)
    never_shown = (
        {"reasoning_effort"} if record is None and shown.get("reasoning_effort") is None else set()
    )
    assert [change for change in found if change.name not in never_shown] == []


@pytest.mark.parametrize(("kind", "asked", "shown"), ROWS, ids=IDS)
def test_a_recorded_answer_is_no_drift(
    kind: str, asked: dict[str, Any], shown: dict[str, Any]
) -> None:
    record = Record(Address(kind, "it"), shown["id"], applied=asked)
    assert (
        drifted_fields(
            KINDS[kind], live=LiveObject(KINDS[kind], "id", shown), record=record, ignore=()
        )
        == []
    )


AUTO = {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}
TAGS = {"reconciler_path": "a.md", "reconciler_sha256": "1" * 64}


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        (
            Member("a.md", LocalFile("a.md", "1" * 64, 9)),
            {"attributes": TAGS, "chunking_strategy": AUTO},
        ),
        (Member("file-0", None, "file-0"), {"attributes": {}, "chunking_strategy": AUTO}),
        (Member("file-0", None, "file-0"), {"attributes": None}),
        (Member("file-0", None, "file-0"), {}),
        (
            Member("file-0", None, "file-0", {"n": 1}),
            {"attributes": {"n": 1.0}, "chunking_strategy": None},
        ),
        (
            Member("file-0", None, "file-0", {}, {"type": "auto"}),
            {"chunking_strategy": AUTO, "usage_bytes": 0},
        ),
    ],
)
def test_a_recorded_file_of_a_store_stays_as_it_is(member: Member, shown: dict[str, Any]) -> None:
    item = {
        "id": "file-0",
        "object": "vector_store.file",
        "created_at": 1,
        "status": "completed",
        "last_error": None,
    }
    kind = KINDS["VectorStore"].by_name["files"].type
    assert isinstance(kind, FileSetType)
    found = moves(live_set([{**item, **shown}]), FileSet((member,)), kind)
    assert (found.add, found.again, found.retag, found.remove) == ((), (), (), ())


def thinned(shown: dict[str, Any]) -> dict[str, Any]:
    """An answer that leaves out what says nothing, as older ones did."""
    return {name: value for name, value in shown.items() if value not in (None, {}, [])}


def nulled(shown: dict[str, Any]) -> dict[str, Any]:
    """An answer with null for everything that is empty, as newer ones have it."""
    return {name: None if value in ({}, []) else value for name, value in shown.items()}


@pytest.mark.parametrize("reshaped", [thinned, nulled])
@pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))
def test_nothing_may_be_absent_or_null_or_empty(kind: Kind, reshaped: Any, bench: Bench) -> None:
    @examples(8)
    @given(spec=valid_specs(kind))
    def check(spec: dict[str, Any]) -> None:
        with bench.fresh() as stack:
            wanted = resource(kind, spec)
            stack.apply(wanted)
            assert pending(stack.plan(wanted)) == []
            live = stack.live(wanted)
            record = stack.store.records()[wanted.address]
            other = LiveObject(
                kind, live.id, reshaped(dict(live.attributes)), live.project, live.own_calls
            )
            assert (
                diff_fields(
                    kind, desired=kind.fill_defaults(wanted.spec), live=other, record=record
                )
                == []
            )

    check()
