"""Tables as text, CSV and Markdown, for usage, costs, history and the audit log."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence

from reconciler.render.escape import code_span, spreadsheet, terminal
from reconciler.render.lines import cells, filled, padded
from reconciler.render.sections import COMMENT_LIMIT, assemble, sections_of

Row = Sequence[str]


def text_table(headers: Row, rows: Sequence[Row], *, numbers: Collection[int] = ()) -> str:
    """A table for a terminal; columns whose index is in `numbers` are right-aligned."""
    shown = [list(map(terminal, row)) for row in (headers, *rows)]
    widths = [max(map(cells, column)) for column in zip(*shown, strict=True)]
    lines = []
    for row in shown:
        aligned = []
        for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
            align = filled if at in numbers else padded
            aligned.append(align(cell, width))
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines) + "\n"


def csv_table(headers: Row, rows: Sequence[Row]) -> str:
    """Comma-separated values; cells that a spreadsheet would run as a formula are quoted."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in (headers, *rows):
        writer.writerow(map(spreadsheet, row))
    return stream.getvalue()


def markdown_table(headers: Row, rows: Sequence[Row], *, limit: int = COMMENT_LIMIT) -> str:
    """A GitHub table; the last rows are left out if it would exceed `limit` characters."""
    head = _line(headers, plain=True) + _line(["---"] * len(headers), plain=True)
    sections = sections_of(rows, _line, "row")
    return assemble(head, sections, "", "the command with `--format text`", limit)


def _line(row: Row, *, plain: bool = False) -> str:
    shown = row
    if not plain:
        # An empty code span is not empty.
        shown = [cell and code_span(cell, in_table=True) for cell in row]
    return f"| {' | '.join(shown)} |\n"
