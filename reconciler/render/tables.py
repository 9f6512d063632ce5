"""Plain tables, for what is a list of rows and no plan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from reconciler.render.escape import code_span, terminal
from reconciler.render.lines import cells, padded
from reconciler.render.sections import COMMENT_LIMIT, Section, assemble

Row = Sequence[str]


def text_table(headers: Row, rows: Sequence[Row]) -> str:
    """Columns as wide as what is in them, for a terminal."""
    shown = [[terminal(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(map(cells, column)) for column in zip(*shown, strict=True)]
    return "".join("  ".join(map(padded, row, widths)).rstrip() + "\n" for row in shown)


def markdown_table(headers: Row, rows: Sequence[Row], *, limit: int = COMMENT_LIMIT) -> str:
    """A table of GitHub's dialect, the last rows left out where it would be too long."""
    head = f"{_line(headers, plain=True)}{_line(['---'] * len(headers), plain=True)}"
    sections = [Section(partial(_line, row), "row") for row in rows]
    return assemble(head, sections, "", "it as text", limit)


def _line(row: Row, *, plain: bool = False) -> str:
    return f"| {' | '.join(cell if plain or not cell else code_span(cell, in_table=True) for cell in row)} |\n"
