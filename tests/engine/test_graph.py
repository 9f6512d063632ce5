"""Graphs are ordered by dependency, and closures are complete."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.graph import closure, in_dependency_order, invert


@st.composite
def acyclic_graphs(draw: st.DrawFn) -> dict[int, list[int]]:
    size = draw(st.integers(0, 12))
    return {
        node: draw(st.lists(st.sampled_from(range(node)), unique=True)) if node else []
        for node in range(size)
    }


@given(acyclic_graphs())
def test_everything_comes_after_what_it_needs(needs: dict[int, list[int]]) -> None:
    order = in_dependency_order(needs)
    assert all(
        order.index(need) < order.index(node) for node, wanted in needs.items() for need in wanted
    )


@given(acyclic_graphs())
def test_no_node_is_lost_or_repeated(needs: dict[int, list[int]]) -> None:
    assert sorted(in_dependency_order(needs)) == sorted(needs)


def test_equals_go_in_the_order_of_their_key() -> None:
    assert in_dependency_order({"c": [], "a": [], "b": []}) == ["a", "b", "c"]


def test_a_need_outside_of_the_graph_holds_nobody_up() -> None:
    assert in_dependency_order({"a": ["elsewhere"]}) == ["a"]


def test_a_cycle_has_no_order() -> None:
    with pytest.raises(ValueError, match="cycle"):
        in_dependency_order({"a": ["b"], "b": ["a"]})


def test_a_closure_holds_what_is_needed_indirectly() -> None:
    assert closure({"a": ["b"], "b": ["c"], "c": [], "d": []}, ["a"]) == {"a", "b", "c"}


def test_inverting_names_the_dependents() -> None:
    assert invert({"a": ["b"], "b": [], "c": ["b"]})["b"] == ["a", "c"]
