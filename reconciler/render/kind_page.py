"""The page of a kind in the documentation: the facts of `explain` as Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from reconciler.model.kind import KEEP, OVERWRITTEN, Declaration, Field, Kind, ScopeType
from reconciler.model.types import SERVER_CHOSEN, Property
from reconciler.render.calls import calls_of
from reconciler.render.explain import KEPT, MUTABILITIES, READABILITIES, RESET, kind_facts
from reconciler.render.explain_types import children_of, describe, limits_of
from reconciler.render.values import grouped, inline

_SCOPES = {
    ScopeType.ORGANIZATION: "Organization",
    ScopeType.PROJECT: "Project, with the admin key",
    ScopeType.EITHER: "Organization or project",
    ScopeType.PROJECT_KEY: "Project, with the project's key",
}
# Deeper parts are rare, and `explain` shows them.
_DEEPEST = 4


def page_name(kind: str) -> str:
    """The file of a kind's page: `service-account.md`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind).lower() + ".md"


def kind_page(kind: Declaration) -> str:
    """The whole page."""
    return "\n".join(_lines(kind)).rstrip("\n") + "\n"


def index(kinds: Mapping[str, Declaration]) -> str:
    """A table of kinds for each scope, with links to their pages."""
    return "\n".join(_index(kinds))


def _index(kinds: Mapping[str, Declaration]) -> Iterator[str]:
    for scope, own in grouped(kinds.values(), lambda kind: kind.scope).items():
        yield f"## {_SCOPES[scope]}"
        yield from ("", "| Kind | Description |", "|---|---|")
        for kind in own:
            yield f"| [`{kind.name}`](kinds/{page_name(kind.name)}) | {_cell(kind.doc)} |"
        yield ""


def _lines(kind: Declaration) -> Iterator[str]:
    yield from (f"# {kind.name}", "", kind.doc, "")
    if kind.retirement:
        yield from (f"> **Retired.** {kind.retirement.sentence}", "")
    yield from ("| | |", "|---|---|")
    for name, text in kind_facts(kind):
        cell = _commands(text) if name == "import" else _cell(text)
        yield f"| {name} | {cell} |"
    yield from ("", "## Fields", "")
    yield from ("| Field | Value | Default | Changes | Description |", "|---|---|---|---|---|")
    for field in kind.fields:
        changes = ""
        # Rules make no object whose fields could change.
        if isinstance(kind, Kind):
            changes = "; ".join(_changes(field))
        yield _row(f"`{field.name}`", field, _default_of(field), changes)
        yield from _parts(field.name, children_of(field.type), 1)
    yield from ("", "## Example", "", "```yaml", kind.example.rstrip("\n"), "```", "")
    if isinstance(kind, Kind):
        yield from _calls(kind)


def _calls(kind: Kind) -> Iterator[str]:
    yield from ("## Calls", "", "| Operation | Call |", "|---|---|")
    for word, call in calls_of(kind):
        yield f"| {word} | `{call}` |"
    for field in kind.own_calls:
        yield f"| `{field.name}` | separate calls |"


def _parts(path: str, parts: Mapping[str, Property], depth: int) -> Iterator[str]:
    for part in parts.values():
        name = f"{path}.{part.name}"
        yield _row(f"`{name}`", part, _default(part.default, required=part.required), "")
        if depth < _DEEPEST:
            yield from _parts(name, children_of(part.type), depth + 1)


def _row(name: str, part: Field | Property, default: str, changes: str) -> str:
    value = ", ".join([describe(part.type), *limits_of(part.type)])
    return f"| {name} | {_cell(value)} | {_cell(default)} | {changes} | {_cell(part.doc)} |"


def _default_of(field: Field) -> str:
    if field.defaults_to_name:
        return "the resource's name"
    return _default(field.default, required=field.required)


def _default(default: object, *, required: bool) -> str:
    if required:
        return "**required**"
    if default is SERVER_CHOSEN:
        return "not set"
    if default is None:
        return "`null`"
    return f"`{inline(default)}`"


def _changes(field: Field) -> Iterator[str]:
    yield MUTABILITIES[field.mutability]
    if field.reset is KEEP:
        yield KEPT
    if field.reset is OVERWRITTEN:
        yield RESET
    if field.readable in READABILITIES:
        yield READABILITIES[field.readable]


def _commands(text: str) -> str:
    return "`" + text.replace(" or ", "` or `") + "`"


def _cell(text: str) -> str:
    """Trusted text in a table cell: its backticks stay markup, and bars are escaped."""
    return text.replace("\n", " ").replace("|", "\\|")
