"""An inventory as text, JSON, Markdown and HTML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from reconciler.model.inventory import (
    Inventory,
    InventoryObject,
    ObjectRelation,
    UnreadList,
    coverage_of,
    sentences_of,
)
from reconciler.render.escape import code_span, fenced, markup, prose, terminal_lines
from reconciler.render.jsonview import document
from reconciler.render.lines import padded
from reconciler.render.phrases import cost_of
from reconciler.render.sections import COMMENT_LIMIT, Section, assemble, sections_of
from reconciler.render.tables import text_table
from reconciler.render.values import count, enclosed, redacted, tally

FORMAT_VERSION = "1.0"
OUTSIDE = "(organization)"
"""Stands for the project of objects that belong to none."""
# The number of objects of one kind and project that text and Markdown list.
_MOST = 20
_HEADERS = ("Project", "Kind", "Managed", "Unmanaged", "Ignored", "Built-in", "Ended", "Coverage")
# The columns that are aligned right: all but project and kind.
_NUMBERS = range(2, len(_HEADERS))

_MARKDOWN_HEAD = f"| {' | '.join(_HEADERS)} |\n|{' --- |' * 2}{' ---: |' * (len(_HEADERS) - 2)}\n"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .6rem; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
code { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
"""


def as_text(inventory: Inventory) -> str:
    """The counts by project and kind, then unmanaged objects, then unreadable lists."""
    parts = []
    rows = list(_rows(inventory))
    if rows:
        parts.append(text_table(_HEADERS, rows, numbers=_NUMBERS))
    unmanaged = inventory.of(ObjectRelation.UNMANAGED)
    if unmanaged:
        lines = [f"Unmanaged: {count(len(unmanaged), 'object')}", *_listed(unmanaged)]
        parts.append(terminal_lines(lines))
    if inventory.unread:
        lines = [f"  {sentence}" for sentence in sentences_of(inventory.unread)]
        parts.append(terminal_lines([_unknown(inventory.unread), *lines]))
    parts.append(f"{totals(inventory)}\n")
    return "\n".join(parts)


def as_json(inventory: Inventory) -> str:
    """Every object, the counts, and the lists that could not be read."""
    return document(
        {
            "format_version": FORMAT_VERSION,
            "stack": inventory.stack,
            "environment": inventory.environment,
            "calls": inventory.calls,
            "seconds": inventory.seconds,
            "coverage_percent": _rounded(inventory.coverage),
            "counts": _counts(inventory.objects),
            "complete": not inventory.unread,
            "groups": list(_groups(inventory)),
            "objects": list(map(_object, inventory.objects)),
            "unread": list(map(_unread, inventory.unread)),
        }
    )


def as_markdown(inventory: Inventory, *, limit: int = COMMENT_LIMIT) -> str:
    """A comment for a pull request or an issue; at most `limit` characters."""
    head = f"### Inventory: {prose(_headline(inventory))}\n\n"
    rows = list(_rows(inventory))
    if rows:
        head += _MARKDOWN_HEAD
    sections = sections_of(rows, _markdown_row, "row")
    unmanaged = inventory.of(ObjectRelation.UNMANAGED)
    if unmanaged:
        sections.append(Section(partial(_markdown_objects, unmanaged), "list of unmanaged objects"))
    if inventory.unread:
        sections.append(Section(partial(_markdown_unread, inventory), "list of unread kinds"))
    foot = f"\n{prose(totals(inventory))}\n"
    command = "`reconciler inventory --format json`"
    return assemble(head, sections, foot, command, limit)


def as_html(inventory: Inventory) -> str:
    """One page without network access: every count, every object that could be managed."""
    title = f"Inventory: {_headline(inventory)}"
    rows = list(_html_rows(inventory.objects))
    body = [
        f"<h1>{markup(title)}</h1>",
        f"<p>{markup(totals(inventory))}</p>",
        _html_table(_HEADERS, list(_rows(inventory)), numbers=_NUMBERS),
    ]
    if inventory.unread:
        body.append(f"<h2>{markup(_unknown(inventory.unread))}</h2><ul>")
        body += [f"<li>{markup(sentence)}</li>" for sentence in sentences_of(inventory.unread)]
        body.append("</ul>")
    body.append(f"<h2>{count(len(rows), 'object')}</h2>")
    body.append(_html_table(("Project", "Kind", "Name", "ID", "Standing"), rows))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{markup(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


FORMATS: dict[str, Callable[[Inventory], str]] = {
    "text": as_text,
    "json": as_json,
    "markdown": as_markdown,
    "html": as_html,
}
"""The formats of an inventory."""


def totals(inventory: Inventory) -> str:
    """The number of objects, the coverage, and the cost of reading them."""
    number = count(len(inventory.objects), "object")
    listed = enclosed(": ", ", ".join(tally(_counts(inventory.objects))))
    sentences = [f"{number}{listed}.", f"{_coverage(inventory)}."]
    if inventory.unread:
        sentences.append(f"{_unknown(inventory.unread)}.")
    sentences.append(f"{cost_of(inventory.calls, inventory.seconds)}.")
    return " ".join(sentences)


def _headline(inventory: Inventory) -> str:
    counts = inventory.counts
    manageable = counts[ObjectRelation.MANAGED] + counts[ObjectRelation.UNMANAGED]
    if not manageable:
        return "nothing to manage"
    share = percent(inventory.coverage)
    return f"{share} managed, {count(counts[ObjectRelation.UNMANAGED], 'unmanaged object')}"


def _coverage(inventory: Inventory) -> str:
    share = percent(inventory.coverage)
    return f"Coverage: {share or 'there is nothing to manage'}"


def percent(share: float | None) -> str:
    """A share with one decimal, rounded down, so that 100 % means everything; empty for None."""
    rounded = _rounded(share)
    if rounded is None:
        return ""
    return f"{rounded:.1f} %"


def _rounded(share: float | None) -> float | None:
    if share is None:
        return None
    return math.floor(share * 10) / 10


def _unknown(unread: Sequence[UnreadList]) -> str:
    return f"Unknown: {count(len(unread), 'list')} could not be read"


def _rows(inventory: Inventory) -> Iterator[list[str]]:
    for (project, kind), objects in inventory.groups.items():
        # An empty cell is easier to overlook than a zero, and most are.
        numbers = [f"{number:,}" if number else "" for number in _counts(objects).values()]
        yield [project or OUTSIDE, kind, *numbers, percent(coverage_of(objects))]


def _groups(inventory: Inventory) -> Iterator[dict[str, Any]]:
    for (project, kind), objects in inventory.groups.items():
        yield {
            "project": _safe(project),
            "project_id": objects[0].project_id,
            "kind": kind,
            "counts": _counts(objects),
            "coverage_percent": _rounded(coverage_of(objects)),
        }


def _listed(objects: Sequence[InventoryObject]) -> Iterator[str]:
    """A line for each object, up to `_MOST` of each project and kind."""
    owners = [_owner(entry) for entry in objects]
    width = max(map(len, owners), default=0)
    id_width = max((len(entry.id) for entry in objects), default=0)
    sizes, seen = Counter(owners), Counter[str]()
    for owner, entry in zip(owners, objects, strict=True):
        seen[owner] += 1
        if seen[owner] <= _MOST:
            yield f"  ? {padded(owner, width)}  {padded(entry.id, id_width)}  {entry.label}"
        elif seen[owner] == sizes[owner]:
            yield f"    {padded(owner, width)}  … and {sizes[owner] - _MOST:,} more"


def _owner(entry: InventoryObject) -> str:
    return entry.kind + enclosed(" in ", entry.project)


def _counts(objects: Sequence[InventoryObject]) -> dict[str, int]:
    """The number of objects with each relation, in the order of `_HEADERS`; zeros too."""
    counts = Counter(entry.relation for entry in objects)
    return {standing.value: counts[standing] for standing in ObjectRelation}


def _object(entry: InventoryObject) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "id": entry.id,
        "name": redacted(entry.label),
        "standing": entry.relation.value,
        "project": _safe(entry.project),
        "project_id": entry.project_id,
        "address": entry.address and str(entry.address),
    }


def _unread(entry: UnreadList) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "project": _safe(entry.project),
        "project_id": entry.project_id,
        "reason": redacted(entry.reason),
    }


def _safe(text: str | None) -> str | None:
    if text is None:
        return None
    return redacted(text)


def _markdown_row(row: Sequence[str]) -> str:
    project, kind, *numbers = row
    cells = [code_span(project, in_table=True), code_span(kind, in_table=True), *numbers]
    return f"| {' | '.join(cells)} |\n"


def _markdown_objects(objects: Sequence[InventoryObject]) -> str:
    block = fenced(list(_listed(objects)))
    head = f"⚪ {count(len(objects), 'unmanaged object')}"
    return f"\n<details><summary>{head}</summary>\n\n{block}\n\n</details>\n\n"


def _markdown_unread(inventory: Inventory) -> str:
    lines = [f"- {prose(sentence)}\n" for sentence in sentences_of(inventory.unread)]
    return f"\n⚠️ {_unknown(inventory.unread)}:\n\n{''.join(lines)}\n"


def _html_rows(objects: Sequence[InventoryObject]) -> Iterator[list[str]]:
    """A row for each object but built-in ones, which nobody can manage."""
    for entry in objects:
        if entry.relation is not ObjectRelation.BUILT_IN:
            project = entry.project or OUTSIDE
            yield [project, entry.kind, entry.label, entry.id, entry.relation.value]


def _html_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()
) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        parts = ""
        for at, cell in enumerate(cells):
            attribute = ' class="number"' if at in numbers else ""
            parts += f"<{tag}{attribute}>{markup(cell)}</{tag}>"
        return f"<tr>{parts}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    head = line("th", headers)
    table = f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<div class="scroll">{table}</div>'
