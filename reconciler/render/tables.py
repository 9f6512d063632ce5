"""Tables as text, CSV and Markdown, for usage, costs, history and the audit log."""

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
    """A table for a terminal; columns whose index is in `numbers` are right-aligned."""
    shown = [[terminal(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(map(cells, column)) for column in zip(*shown, strict=True)]
    aligned = [filled if at in numbers else padded for at in range(len(widths))]
    lines = []
    for row in shown:
        columns = zip(aligned, row, widths, strict=True)
        lines.append("  ".join(align(cell, width) for align, cell, width in columns).rstrip())
    return "\n".join(lines) + "\n"


def csv_table(headers: Row, rows: Sequence[Row]) -> str:
    """Comma-separated values; cells that a spreadsheet would run as a formula are quoted."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in (headers, *rows):
        writer.writerow([spreadsheet(cell) for cell in row])
    return stream.getvalue()


def markdown_table(headers: Row, rows: Sequence[Row], *, limit: int = COMMENT_LIMIT) -> str:
    """A GitHub table; the last rows are left out if it would exceed `limit` characters."""
    head = _line(headers, plain=True) + _line(["---"] * len(headers), plain=True)
    sections = [Section(partial(_line, row), "row") for row in rows]
    return assemble(head, sections, "", "the command with `--format text`", limit)


def _line(row: Row, *, plain: bool = False) -> str:
    shown = list(row)
    if not plain:
        shown = [cell and code_span(cell, in_table=True) for cell in row]
    return f"| {' | '.join(shown)} |\n"
