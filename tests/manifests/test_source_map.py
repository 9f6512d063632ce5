"""The source locations of values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests.load import load_documents
from reconciler.manifests.problems import Problems
from reconciler.manifests.source_map import Document
from reconciler.model.paths import Trail, dotted, undotted

TEXT = """\
kind: Agent
spec:
  tools: [{type: mcp, args: [a, b]}]
  shared: &x
    deep: 1
  again: *x
  last: end
"""


@pytest.fixture
def document() -> Document:
    return load_documents(TEXT, "a.yaml", Problems())[0]


@pytest.mark.parametrize(
    ("trail", "place", "key_place"),
    [
        ((), "1:1", "1:1"),
        (("kind",), "1:7", "1:1"),
        (("spec",), "3:3", "2:1"),
        (("spec", "tools", 0, "args", 1), "3:33", "3:33"),
        (("spec", "tools", 0, "args"), "3:29", "3:23"),
        (("spec", "shared", "deep"), "5:11", "5:5"),
        (("spec", "again", "deep"), "5:11", "5:5"),
        (("spec", "last"), "7:9", "7:3"),
        (("spec", "tools", 7), "3:10", "3:10"),
        (("spec", "last", "deeper"), "7:9", "7:9"),
        (("nowhere",), "1:1", "1:1"),
    ],
)
def test_a_path_leads_to_its_value_its_key_or_its_deepest_written_part(
    document: Document, trail: Trail, place: str, key_place: str
) -> None:
    found = (str(document.location_of(trail)), str(document.location_of(trail, key=True)))
    assert found == (f"a.yaml:{place}", f"a.yaml:{key_place}")


@given(st.data())
def test_locations_do_not_depend_on_earlier_lookups(data: st.DataObject) -> None:
    fresh, used = (load_documents(TEXT, "a.yaml", Problems())[0] for _ in range(2))
    trails: list[Trail] = [
        ("spec", "tools", 0, "args", 1), ("spec", "again", "deep"), ("spec", "last"), ("spec", "shared"), ("kind",)
    ]  # fmt: skip
    for trail in data.draw(st.permutations(trails)):
        assert used.has(trail)
        assert used.location_of(trail, key=True) == fresh.location_of(trail, key=True)


def test_spec_places_list_every_written_path(document: Document) -> None:
    assert list(document.spec_places) == [
        "tools", "tools[0]", "tools[0].type", "tools[0].args", "tools[0].args[0]", "tools[0].args[1]",
        "shared", "shared.deep", "again", "again.deep", "last",
    ]  # fmt: skip


def test_spec_places_know_nothing_of_a_path_that_is_not_written(document: Document) -> None:
    assert document.spec_places.get("tools[1]") is None


@pytest.mark.parametrize(
    ("trail", "text"),
    [(("a", 0, "b"), "a[0].b"), (("metadata", "cost.center"), 'metadata["cost.center"]'), ((), "")],
)
def test_a_path_is_written_with_dots_and_brackets(trail: Trail, text: str) -> None:
    assert (dotted(trail), undotted(text)) == (text, trail)


@given(st.lists(st.integers(0, 99) | st.text("ab.-_[]é", min_size=1), min_size=1, max_size=5))
def test_a_dotted_path_reads_back(parts: list[Any]) -> None:
    trail: Trail = tuple(parts)
    assert undotted(dotted(trail)) == trail
