"""References: cycles, and the resources that a resource depends on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests.references import cycles, guess_reference
from reconciler.model.address import Address
from reconciler.model.values import Reference
from tests.manifests.conftest import PROJECT, Folder


def store(name: str, description: str, project: str = "") -> str:
    where = f", project: {project}" if project else ""
    return f"---\nkind: VectorStore\nmetadata: {{name: {name}{where}}}\nspec: {{name: '{description}'}}\n"


def test_a_cycle_is_one_problem_that_prints_it(folder: Folder) -> None:
    text = (
        store("c", "${VectorStore/a}")
        + store("b", "x ${VectorStore/c.name}")
        + store("a", "${VectorStore/b}")
    )
    folder.write({"m.yaml": text})
    assert folder.problems() == [
        (
            "m.yaml:12:14: error: VectorStore/a: Cyclic references: VectorStore/a -> VectorStore/b -> "
            "VectorStore/c -> VectorStore/a."
        )
    ]


def test_a_resource_that_refers_to_itself_is_a_cycle(folder: Folder) -> None:
    folder.write({"m.yaml": store("a", "${VectorStore/a}")})
    assert folder.problems() == [
        "m.yaml:4:14: error: VectorStore/a: Cyclic references: VectorStore/a -> VectorStore/a."
    ]


def test_a_project_that_needs_what_is_in_it_is_a_cycle(folder: Folder) -> None:
    project = PROJECT.replace("name: Search}", "name: '${VectorStore/search/a}'}")
    folder.write({"m.yaml": project + store("a", "x", project="search")})
    assert folder.problems() == [
        (
            "m.yaml:3:14: error: Project/search: Cyclic references: Project/search -> VectorStore/search/a "
            "-> Project/search."
        )
    ]


def test_two_cycles_are_two_problems(folder: Folder) -> None:
    folder.write({"m.yaml": store("a", "${VectorStore/a}") + store("b", "${VectorStore/b}")})
    assert len(folder.problems()) == 2


def test_references_into_an_unread_file_are_not_reported_as_unknown(folder: Folder) -> None:
    folder.write(
        {"a.yaml": "kind: [", "m.yaml": store("a", "${VectorStore/b}", project="elsewhere")}
    )
    assert [problem.split(" error: ")[1].split(":")[0] for problem in folder.problems()] == [
        "Not valid YAML"
    ]


def test_a_resource_lists_its_references(folder: Folder) -> None:
    folder.write({"m.yaml": store("a", "x") + store("b", "${VectorStore/a}")})
    assert folder.load().resources[1].references == {Address("VectorStore", "a")}


def test_an_undeclared_reference_is_read_by_its_spelling() -> None:
    found = guess_reference("RateLimit/search/gpt-4.1.max_requests_per_1_minute")
    assert found == Reference(
        Address("RateLimit", "gpt-4.1", "search"), ("max_requests_per_1_minute",)
    )


NODES = [Address("Agent", name) for name in "abcdef"]


@given(st.dictionaries(st.sampled_from(NODES), st.lists(st.sampled_from(NODES), unique=True)))
def test_cycles_are_found_exactly_where_no_order_exists(
    edges: dict[Address, list[Address]],
) -> None:
    left = {node: {need for need in needs if need in edges} for node, needs in edges.items()}
    while ready := {node for node, needs in left.items() if not needs}:
        left = {node: needs - ready for node, needs in left.items() if node not in ready}
    rings = list(cycles(edges))
    assert bool(rings) == bool(left)
    for ring in rings:
        assert all(
            after in edges[before] for before, after in zip(ring, [*ring[1:], ring[0]], strict=True)
        )
