"""Regressions that the property tests found, each as its smallest case."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.engine.apply.records import imported_record
from reconciler.engine.diff import diff_fields
from reconciler.kinds import KINDS
from reconciler.model.resource import Lifecycle, LiveObject
from tests.properties.bench import AROUND, STORE_IDS, Bench, Stack, only, pending, resource
from tests.properties.strategies import local_file

ASSISTANT, AGENT, FILE, STORE = (
    KINDS[name] for name in ("Assistant", "Agent", "File", "VectorStore")
)
README = local_file("docs/a.md", AROUND.contents["docs/a.md"])


def after(stack: Stack, kind: Any, *specs: dict[str, Any]) -> LiveObject:
    """The object after one spec was applied in place of the other."""
    for spec in specs:
        stack.apply(resource(kind, spec))
        assert pending(stack.plan(resource(kind, spec))) == []
    return stack.live(resource(kind, specs[-1]))


@pytest.mark.parametrize(
    ("kind", "first", "second", "path"),
    [
        (
            ASSISTANT,
            {"tools": [{"type": "file_search", "file_search": {"max_num_results": 5}}]},
            {"tools": [{"type": "file_search"}]},
            "tools[0].file_search.max_num_results",
        ),
        (
            ASSISTANT,
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": {"type": "string"}},
                    }
                ]
            },
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            "tools[0].function.parameters.type",
        ),
        (AGENT, {"reasoning": {"effort": "high"}}, {"reasoning": {}}, "reasoning.effort"),
        (AGENT, {"reasoning": {"effort": "high"}}, {"reasoning": None}, "reasoning.effort"),
        (AGENT, {"reasoning": {"effort": "high"}}, {}, "reasoning"),
        (
            AGENT,
            {"tools": [{"type": "web_search", "location": {"city": "Bonn", "country": "DE"}}]},
            {"tools": [{"type": "web_search", "location": {"country": "DE"}}]},
            "tools[0].location.city",
        ),
    ],
)
def test_a_nested_part_that_is_no_longer_set_goes_back(
    kind: Any, first: dict[str, Any], second: dict[str, Any], path: str, bench: Bench
) -> None:
    with bench.fresh() as stack:
        stack.apply(resource(kind, {"model": "m", **first}))
        changed = resource(kind, {"model": "m", **second})
        found = only(stack.plan(changed)).fields
        assert path in [field.dotted for field in found] or found[0].dotted in path
        stack.apply(changed)
        assert pending(stack.plan(changed)) == []


def test_resources_of_a_tool_that_are_no_longer_set_are_detached(bench: Bench) -> None:
    with bench.fresh() as stack:
        both = {
            "file_search": {"vector_store_ids": [STORE_IDS[0]]},
            "code_interpreter": {"file_ids": []},
        }
        live = after(
            stack,
            ASSISTANT,
            {"model": "m", "tool_resources": both},
            {"model": "m", "tool_resources": {"code_interpreter": {}}},
        )
        assert not live.value("tool_resources").get("file_search", {}).get("vector_store_ids")


def test_an_experimental_feature_that_is_no_longer_set_is_off(bench: Bench) -> None:
    with bench.fresh() as stack:
        live = after(
            stack,
            AGENT,
            {"model": "m", "experimental": {"time_awareness": True}},
            {"model": "m", "experimental": {}},
        )
        assert live.value("experimental") == {"time_awareness": False}


def test_no_reasoning_is_asked_for_once(bench: Bench) -> None:
    with bench.fresh() as stack:
        after(stack, AGENT, {"model": "m", "reasoning": None})


def test_an_agent_whose_effort_the_server_chose_is_left_alone() -> None:
    live = LiveObject(
        AGENT, "agent_1", {"model": "m", "reasoning": {"effort": "medium", "summary": None}}
    )
    for reasoning in (None, {}, {"summary": None}):
        assert (
            diff_fields(
                AGENT, desired={"model": "m", "reasoning": reasoning}, live=live, record=None
            )
            == []
        )


def test_what_the_server_chose_is_not_taken_back_after_an_import(bench: Bench) -> None:
    with bench.fresh() as stack:
        theirs = {
            "model": "m",
            "tools": [{"type": "file_search", "file_search": {"max_num_results": 5}}],
        }
        live = stack.make(resource(ASSISTANT, theirs))
        ours = resource(ASSISTANT, {"model": "m", "tools": [{"type": "file_search"}]})
        adopting = replace(ours, lifecycle=Lifecycle(adopt=live.id))
        stack.store.put(imported_record(ASSISTANT, only(stack.plan(adopting))))
        assert only(stack.plan(ours)).field_names == ()


@pytest.mark.parametrize(("first", "second"), [(True, 1), (0, False), ([1], [True])])
def test_a_boolean_is_no_number(first: Any, second: Any) -> None:
    def tools(value: Any) -> list[Any]:
        return [{"type": "function", "function": {"name": "f", "parameters": {"const": value}}}]

    live = LiveObject(ASSISTANT, "asst_1", {"model": "m", "tools": tools(first)})
    assert (
        len(
            diff_fields(
                ASSISTANT, desired={"model": "m", "tools": tools(second)}, live=live, record=None
            )
        )
        == 1
    )


def test_a_change_under_a_key_with_two_underscores_is_shown() -> None:
    def tools(**values: int) -> list[Any]:
        return [{"type": "function", "function": {"name": "f", "parameters": values}}]

    live = LiveObject(ASSISTANT, "asst_1", {"model": "m", "tools": tools(__a=1, b=1)})
    found = diff_fields(
        ASSISTANT, desired={"model": "m", "tools": tools(__a=2, b=2)}, live=live, record=None
    )
    assert {change.path[-1] for change in found} == {"__a", "b"}


def test_what_left_a_list_and_what_came_in_at_the_same_index_are_both_shown() -> None:
    def spec(*names: str) -> dict[str, Any]:
        tool = {
            "type": "function",
            "function": {"name": "f", "parameters": {"required": list(names)}},
        }
        return {"model": "m", "tools": [tool]}

    live = LiveObject(ASSISTANT, "asst_1", spec("p", "q", "a"))
    found = diff_fields(ASSISTANT, desired=spec("a", "r"), live=live, record=None)
    assert {"p", "q", "r"} <= {value for change in found for value in (change.before, change.after)}


def test_a_lifetime_that_is_no_longer_set_replaces_the_file(bench: Bench) -> None:
    with bench.fresh() as stack:
        spec = {"path": README, "purpose": "assistants"}
        first = after(
            stack, FILE, {**spec, "expires_after": {"anchor": "created_at", "seconds": 3600}}
        )
        second = after(stack, FILE, spec)
        assert (first.id != second.id, second.attributes["expires_at"]) == (True, None)


def test_a_description_that_came_too_late_is_told_again_and_again(bench: Bench) -> None:
    with bench.fresh() as stack:
        stack.apply(resource(STORE, {"name": "a"}))
        late = resource(STORE, {"name": "b", "description": "too late"})
        stack.apply(late)
        assert [
            text for text in only(stack.plan(late)).warnings if text.startswith("description")
        ] != []


@pytest.mark.parametrize("create_before_destroy", [None, True])
def test_a_limit_that_moves_to_another_model_leaves_both_rows_as_they_were(
    create_before_destroy: bool | None, bench: Bench
) -> None:
    def limit(**spec: Any) -> Any:
        made = resource(KINDS["RateLimit"], spec)
        return replace(made, lifecycle=Lifecycle(create_before_destroy=create_before_destroy))

    def rows() -> list[Any]:
        found = stack.provider.list(KINDS["RateLimit"], "search")
        return sorted((one.id, sorted(one.attributes.items())) for one in found)

    with bench.fresh() as stack:
        before = rows()
        stack.apply(limit(model="gpt-4.1", max_requests_per_1_minute=7))
        stack.apply(limit(model="gpt-4o", max_requests_per_1_minute=8))
        stack.apply(limit(model="gpt-4o"))
        stack.apply()
        assert rows() == before
