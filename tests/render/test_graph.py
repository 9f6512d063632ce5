"""Dependency graphs are valid in every diagram language."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from reconciler.errors import UsageError
from reconciler.model.address import Address
from reconciler.render.graph import GRAPH_FORMATS, render_graph

from .goldens import assert_golden

PROJECT = Address("Project", "search")
STORE = Address("VectorStore", "handbook", "search")
BOT = Address("Assistant", "support-bot", "search")
EDGES = {BOT: [STORE, PROJECT], STORE: [PROJECT], Address("Agent", "alone"): []}


@pytest.mark.parametrize("format", GRAPH_FORMATS)
def test_a_graph_reads_as_it_did(format: str) -> None:
    assert_golden(f"graph.{format}", render_graph(EDGES, format))


@pytest.mark.parametrize("format", GRAPH_FORMATS)
def test_the_order_of_the_edges_does_not_matter(format: str) -> None:
    other = {node: list(reversed(needs)) for node, needs in reversed(EDGES.items())}
    assert render_graph(other, format) == render_graph(EDGES, format)


@pytest.mark.parametrize("format", GRAPH_FORMATS)
def test_an_empty_graph_and_a_cycle_can_be_drawn(format: str) -> None:
    assert render_graph({}, format)
    assert render_graph({BOT: [STORE], STORE: [BOT]}, format)


@pytest.mark.parametrize("format", GRAPH_FORMATS)
def test_a_label_cannot_leave_its_box(format: str) -> None:
    text = render_graph({Address("A", 'x"]; <b>\n&', "p"): []}, format)
    assert "<b>" not in text or format == "dot"
    assert '\\"]' in text or '"];' not in text


def test_the_picture_is_xml() -> None:
    ElementTree.fromstring(render_graph(EDGES, "svg"))


def test_what_is_needed_stands_to_the_right() -> None:
    texts = ElementTree.fromstring(render_graph(EDGES, "svg")).iter(
        "{http://www.w3.org/2000/svg}text"
    )
    x = {label.text: int(label.attrib["x"]) for label in texts}
    assert x[str(BOT)] < x[str(STORE)] < x[str(PROJECT)]


def test_an_unknown_format_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match='Did you mean "mermaid"'):
        render_graph(EDGES, "mermaidd")
