"""The page of a kind in the documentation: what `explain` says of it and of every part of it, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from reconciler.model.kind import KEEP, OVERWRITTEN, Declaration, Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import SERVER_CHOSEN, Property
from reconciler.render.calls import calls_of
from reconciler.render.explain import kind_facts
from reconciler.render.explain_types import children_of, describe, limits_of
from reconciler.render.values import inline

_CHANGES = {
    Mutability.IN_PLACE: "in place",
    Mutability.REPLACES: "replaces the object",
    Mutability.FIXED: "never, only at creation",
}
_SHOWN = {
    Readable.SOMETIMES: "not always shown by the API",
    Readable.NEVER: "never shown by the API",
}
_SCOPES = {
    ScopeType.ORGANIZATION: "The organization",
    ScopeType.PROJECT: "A project, with the admin key",
    ScopeType.EITHER: "The organization or a project",
    ScopeType.PROJECT_KEY: "A project, with a key of its own",
}
_DEEPEST = 4


def page_name(kind: str) -> str:
    """The file of a kind's page: `service-account.md`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind).lower() + ".md"


def kind_page(kind: Declaration) -> str:
    """The whole page."""
    return "\n".join(_lines(kind)).rstrip("\n") + "\n"


def index(kinds: Mapping[str, Declaration]) -> str:
    """A table of the kinds for each scope, with links to their pages beside the index."""
    return "\n".join(_index(kinds))


def _index(kinds: Mapping[str, Declaration]) -> Iterator[str]:
    for scope in dict.fromkeys(kind.scope for kind in kinds.values()):
        yield f"## {_SCOPES[scope]}"
        yield from ("", "| Kind | What it is |", "|---|---|")
        for kind in kinds.values():
            if kind.scope is scope:
                yield f"| [`{kind.name}`](kinds/{page_name(kind.name)}) | {_cell(kind.doc)} |"
        yield ""


def _lines(kind: Declaration) -> Iterator[str]:
    yield from (f"# {kind.name}", "", kind.doc, "")
    if kind.retirement:
        yield from (f"> **Retired.** {kind.retirement.sentence}", "")
    yield from ("| | |", "|---|---|")
    for name, text in kind_facts(kind):
        yield f"| {name} | {_commands(text) if name == 'import' else _cell(text)} |"
    yield from ("", "## Fields", "", "| Field | Value | Left out | Changes | What it is |", "|---|---|---|---|---|")
    for field in kind.fields:
        yield _row(f"`{field.name}`", field, _left_out_field(field), _changes(field) if isinstance(kind, Kind) else "")
        yield from _parts(field.name, children_of(field.type), 1)
    yield from ("", "## Example", "", "```yaml", kind.example.rstrip("\n"), "```", "")
    if isinstance(kind, Kind):
        yield from _calls(kind)


def _calls(kind: Kind) -> Iterator[str]:
    yield from ("## Calls", "", "| For | Call |", "|---|---|")
    yield from (f"| {word} | `{call}` |" for word, call in calls_of(kind))
    for field in kind.own_calls:
        yield f"| `{field.name}` | calls of its own |"


def _parts(path: str, parts: Mapping[str, Property], depth: int) -> Iterator[str]:
    for part in parts.values():
        name = f"{path}.{part.name}"
        yield _row(f"`{name}`", part, _left_out(part.default, required=part.required), "")
        if depth < _DEEPEST:
            yield from _parts(name, children_of(part.type), depth + 1)


def _row(name: str, part: Field | Property, left_out: str, changes: str) -> str:
    value = ", ".join([describe(part.type), *limits_of(part.type)])
    return "| " + " | ".join([name, _cell(value), _cell(left_out), changes, _cell(part.doc)]) + " |"


def _left_out_field(field: Field) -> str:
    return "the resource's own name" if field.defaults_to_name else _left_out(field.default, required=field.required)


def _left_out(default: object, *, required: bool) -> str:
    if required:
        return "**required**"
    if default is SERVER_CHOSEN:
        return "not sent"
    return "nothing" if default is None else f"`{inline(default)}`"


def _changes(field: Field) -> str:
    return "; ".join(_changes_of(field))


def _changes_of(field: Field) -> Iterator[str]:
    yield _CHANGES[field.mutability]
    if field.reset is KEEP:
        yield "stays when it is taken away"
    if field.reset is OVERWRITTEN:
        yield "what it was before comes back when it is taken away"
    if field.readable in _SHOWN:
        yield _SHOWN[field.readable]


def _commands(text: str) -> str:
    return " or ".join(f"`{command}`" for command in text.split(" or "))


def _cell(text: str) -> str:
    """Text of our own in a cell: its backticks mean what they say, and a bar would end the cell."""
    return text.replace("\n", " ").replace("|", "\\|")
