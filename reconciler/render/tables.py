"""Plain tables, for what is a list of rows and no plan."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from functools import partial

from reconciler.render.escape import code_span, spreadsheet, terminal
from reconciler.render.lines import cells, filled, padded
from reconciler.render.sections import COMMENT_LIMIT, Section, assemble

Row = Sequence[str]


def text_table(headers: Row, rows: Sequence[Row], *, numbers: Collection[int] = ()) -> str:
    """Columns as wide as what is in them, for a terminal; those of `numbers` end where their header ends."""
    shown = [[terminal(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(map(cells, column)) for column in zip(*shown, strict=True)]
    aligned = [filled if at in numbers else padded for at in range(len(widths))]
    return "".join(
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)).rstrip() + "\n"
        for row in shown
    )


def csv_table(headers: Row, rows: Sequence[Row]) -> str:
    """Comma-separated values, for programs and for spreadsheets, where no cell may begin a formula."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([spreadsheet(cell) for cell in row] for row in (headers, *rows))
    return written.getvalue()


def markdown_table(headers: Row, rows: Sequence[Row], *, limit: int = COMMENT_LIMIT) -> str:
    """A table of GitHub's dialect, the last rows left out where it would be too long."""
    head = f"{_line(headers, plain=True)}{_line(['---'] * len(headers), plain=True)}"
    sections = [Section(partial(_line, row), "row") for row in rows]
    return assemble(head, sections, "", "it as text", limit)


def _line(row: Row, *, plain: bool = False) -> str:
    return f"| {' | '.join(cell if plain or not cell else code_span(cell, in_table=True) for cell in row)} |\n"
