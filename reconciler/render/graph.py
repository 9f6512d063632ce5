"""Dependency graphs as Mermaid, Graphviz or SVG.

Arrows point from a resource to its dependencies.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from textwrap import indent

from reconciler.errors import UsageError
from reconciler.model.address import Address
from reconciler.model.diagnostic import nearest
from reconciler.render.escape import markup, quoted, terminal
from reconciler.render.lines import cells
from reconciler.render.values import enclosed, grouped

GRAPH_FORMATS = ("mermaid", "dot", "svg")

Edge = tuple[Address, Address]

# In pixels: a row with its gap, the gap between columns, a box, and a character of its text.
_ROW, _GAP, _HEIGHT, _CHARACTER = 44, 70, 28, 8


def render_graph(edges: Mapping[Address, Collection[Address]], format: str) -> str:
    """The graph of `edges`, which maps each address to its dependencies."""
    if format not in GRAPH_FORMATS:
        raise UsageError(
            f'unknown graph format "{format}".{nearest(format, GRAPH_FORMATS)}',
            hint=f"the formats are {', '.join(GRAPH_FORMATS)}",
        )
    nodes = sorted(set(edges).union(*edges.values()))
    arrows: list[Edge] = []
    for node in nodes:
        arrows += product((node,), sorted(edges.get(node, ())))
    return {"mermaid": mermaid, "dot": dot, "svg": svg}[format](nodes, arrows)


def mermaid(nodes: Sequence[Address], edges: Sequence[Edge]) -> str:
    """A Mermaid flowchart with a subgraph for each project."""
    # An address can hold characters that end a name in Mermaid, so names are numbers.
    names = {node: f"n{number}" for number, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    for number, (project, own) in enumerate(_by_project(nodes).items()):
        boxes = "\n".join(f'  {names[node]}["{_mermaid_label(str(node))}"]' for node in own)
        if project is None:
            lines.append(boxes)
        else:
            title = f'  subgraph p{number}["{_mermaid_label(project)}"]'
            lines += [title, indent(boxes, "  "), "  end"]
    for node, needed in edges:
        arrow = f"{names[node]} --> {names[needed]}"
        lines.append(f"  {arrow}")
    return "\n".join(lines) + "\n"


def dot(nodes: Sequence[Address], edges: Sequence[Edge]) -> str:
    """A Graphviz graph with a cluster for each project."""
    node_style = '  node [shape=box, style=rounded, fontname="sans-serif"];'
    lines = ["digraph reconciler {", "  rankdir=LR;", node_style]
    for number, (project, own) in enumerate(_by_project(nodes).items()):
        boxes = "\n".join(f"  {quoted(str(node))};" for node in own)
        if project is None:
            lines.append(boxes)
        else:
            # Graphviz draws a frame around subgraphs whose names begin with `cluster`, and no others.
            lines += [f"  subgraph cluster_{number} {{", f"    label={quoted(project)};"]
            lines += [indent(boxes, "  "), "  }"]
    for node, needed in edges:
        arrow = f"{quoted(str(node))} -> {quoted(str(needed))}"
        lines.append(f"  {arrow};")
    return "\n".join([*lines, "}"]) + "\n"


def svg(
    nodes: Sequence[Address],
    edges: Sequence[Edge],
    *,
    label: str = "",
    styled: bool = True,
) -> str:
    """A picture in columns: dependents on the left, their dependencies to the right.

    `label` describes it to screen readers. Without `styled`, the page brings the style sheet.
    """
    columns = _columns(nodes, edges)
    # The font is monospaced, so the longest text decides about the width of all boxes.
    width = max((cells(str(node)) for node in nodes), default=0) * _CHARACTER + 24
    last = len(columns) - 1
    corner = {}
    for depth, column in enumerate(columns):
        left = (last - depth) * (width + _GAP) + 10
        for row, node in enumerate(column):
            corner[node] = (left, row * _ROW + 10)
    total_width = len(columns) * (width + _GAP) - _GAP + 20
    total_height = max(map(len, columns), default=0) * _ROW + 10
    shapes = [_arrow(corner[node], corner[needed], width) for node, needed in edges]
    shapes += [_box(*corner[node], width, str(node)) for node in nodes]
    size = f'width="{total_width}" height="{total_height}"'
    view = f'viewBox="0 0 {total_width} {total_height}"'
    named = enclosed(' role="img" aria-label="', markup(label), '"')
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view}{named}>']
    if styled:
        parts.append(_STYLE)
    return "\n".join([*parts, _TIP, *shapes, "</svg>"]) + "\n"


_STYLE = """\
<style>
  text { font: 13px ui-monospace, monospace; fill: #1f2328; }
  rect { fill: #f6f8fa; stroke: #8c959f; }
  path { fill: none; stroke: #8c959f; }
</style>"""
_TIP = """\
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" \
markerWidth="8" markerHeight="8" orient="auto">\
<polyline points="0,0 8,4 0,8" fill="none" stroke="#8c959f"/></marker></defs>"""


def _columns(nodes: Sequence[Address], edges: Sequence[Edge]) -> list[list[Address]]:
    """Nodes by the length of their longest dependency chain."""
    depth = dict.fromkeys(nodes, 0)
    # No chain is longer than the number of nodes, except in a cycle, which valid configurations do
    # not have.
    for _ in nodes:
        deeper = {node: depth[needed] + 1 for node, needed in edges if depth[node] <= depth[needed]}
        if not deeper:
            break
        depth.update(deeper)
    columns = grouped(nodes, depth.__getitem__)
    return [columns[level] for level in sorted(columns)]


def _box(x: int, y: int, width: int, label: str) -> str:
    rect = f'<rect x="{x}" y="{y}" width="{width}" height="{_HEIGHT}" rx="5"/>'
    return f'{rect}<text x="{x + 12}" y="{y + 18}">{markup(label)}</text>'


def _arrow(start: tuple[int, int], end: tuple[int, int], width: int) -> str:
    x1, y1, x2, y2 = start[0] + width, start[1] + _HEIGHT // 2, end[0], end[1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    curve = f"M{x1},{y1} C{middle},{y1} {middle},{y2} {x2},{y2}"
    return f'<path d="{curve}" marker-end="url(#tip)"/>'


def _by_project(nodes: Sequence[Address]) -> dict[str | None, list[Address]]:
    return grouped(nodes, lambda node: node.project)


def _mermaid_label(text: str) -> str:
    # Mermaid writes entities with `#` instead of `&#`.
    return re.sub('["#&<>`]', lambda match: f"#{ord(match[0])};", terminal(text))
