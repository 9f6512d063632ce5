"""The documentation of a kind or a field, from its declaration."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from reconciler.errors import UsageError
from reconciler.model.diagnostic import nearest
from reconciler.model.job import Job
from reconciler.model.kind import (
    KEEP,
    OVERWRITTEN,
    Declaration,
    Field,
    Kind,
    Mutability,
    OnRemove,
    Readable,
    Removal,
    ScopeType,
    Shape,
)
from reconciler.model.rule import RuleKind
from reconciler.model.types import SERVER_CHOSEN, Property, Type
from reconciler.render.explain_types import children_of, describe, limits_of
from reconciler.render.lines import line, padded, plain
from reconciler.render.values import inline

_SCOPES = {
    ScopeType.ORGANIZATION: "the organization; calls need the admin key",
    ScopeType.PROJECT: "a project, named by metadata.project; calls need the admin key",
    ScopeType.EITHER: "a project where metadata.project names one, else the organization; calls need the admin key",
    ScopeType.PROJECT_KEY: "the project of a key: metadata.project says which, left out it is that of the default key",
}
_SCOPES_IN_SHORT = {
    ScopeType.ORGANIZATION: "organization",
    ScopeType.PROJECT: "project",
    ScopeType.EITHER: "scope",
    ScopeType.PROJECT_KEY: "project",
}
_REMOVALS = {
    Removal.DELETE: "the object is deleted",
    Removal.ARCHIVE: "the object is archived, which is final",
    Removal.RESTORE: "the object stays, and what was overwritten is written back",
}
_MUTABILITIES = {Mutability.REPLACES: "a change forces replacement", Mutability.FIXED: "only at creation"}
_WIDTH = 96

Item = TypeVar("Item")


class Part(Struct, frozen=True):
    """A field or a property: its type, in a few words what holds for it, and its sentence."""

    name: str
    type: Type
    facts: tuple[str, ...]
    doc: str

    @property
    def head(self) -> str:
        """`whole number, required, at least 0`."""
        return ", ".join([describe(self.type), *self.facts, *limits_of(self.type)])


def explain_kind(kind: Declaration, path: Sequence[str] = ()) -> str:
    """A page about a kind, or about the part of it at `path`. Raises UsageError where there is no such part."""
    if not path:
        return _page(_kind_lines(kind))
    part = _field_part(_found(kind.by_name, path[0], kind.name))
    place = f"{kind.name}.{path[0]}"
    for name in path[1:]:
        part = _property_part(_found(children_of(part.type), name, place))
        place = f"{place}.{name}"
    return _page(_part_lines(place, part))


def kind_facts(kind: Declaration) -> list[tuple[str, str]]:
    """What holds for a kind as a whole, each fact with the word for it."""
    return list(_facts(kind))


def _page(lines: Iterator[str]) -> str:
    return plain(line(text) for text in lines)


def _found(known: Mapping[str, Item], name: str, place: str) -> Item:
    if name in known:
        return known[name]
    if not known:
        raise UsageError(f"{place} has no fields of its own")
    raise UsageError(f'{place} has no field "{name}".{nearest(name, known)}', hint=f"it has {', '.join(known)}")


def _kind_lines(kind: Declaration) -> Iterator[str]:
    yield kind.name
    yield from _wrapped(kind.doc, "  ")
    if kind.retirement:
        yield ""
        yield from _wrapped(kind.retirement.sentence, "  ! ")
    yield ""
    facts = dict(_facts(kind))
    width = max(map(len, facts))
    for name, text in facts.items():
        first, *rest = _wrapped(text, "", _WIDTH - width - 4)
        yield f"  {padded(name, width)}  {first}"
        yield from (f"  {' ' * width}  {more}" for more in rest)
    yield from ("", "Fields")
    yield from _list([_field_part(field) for field in kind.fields])
    yield from ("", "Example", *(f"  {text}" for text in kind.example.rstrip("\n").split("\n")))


def _facts(kind: Declaration) -> Iterator[tuple[str, str]]:
    yield "lives in", _SCOPES[kind.scope]
    if isinstance(kind, Kind):
        yield from _facts_of_objects(kind)
        return
    removes = isinstance(kind, RuleKind) and kind.removes
    effect = "plans list what it matches, and apply deletes that" if removes else "no plan shows it"
    yield "is", f"no object: {effect}, and no state remembers it"
    if kind.shapes:
        yield "has either", "; or ".join(map(_shape, kind.shapes))


def _facts_of_objects(kind: Kind) -> Iterator[tuple[str, str]]:
    keys = " or ".join(" and ".join(key) for key in (kind.natural_key, *kind.other_keys))
    scopes = _SCOPES_IN_SHORT[kind.scope]
    by_key = f"its id, {'our mark, ' if kind.mark else ''}or its {keys}"
    if kind.job is not None:
        yield "found by", "its id, or our mark and the digest of its inputs"
        yield "runs", "once for its inputs, and again when one of them changes or with --replace"
        yield "results", f"{', '.join(kind.job.results)}: references may use them once it has succeeded"
    else:
        yield "found by", by_key if keys else f"where it is: there is one for each {scopes}"
    if kind.always_exists:
        yield "made by", f"the API itself, one for each {keys or scopes}: it can only be changed"
    if kind.shapes:
        yield "has either", "; or ".join(map(_shape, kind.shapes))
    yield "removed", _removal(kind)
    yield "import", " or ".join(f"reconciler import {_address(kind)} {form}" for form in kind.id_forms)
    if kind.beta:
        yield "beta", kind.beta


def _shape(shape: Shape) -> str:
    needs = " and ".join(filter(None, (", ".join(shape.needs[:-1]), shape.needs[-1])))
    return f"{shape.when[0]}: {shape.when[1]} with {needs}" if shape.when else needs


def _removal(kind: Kind) -> str:
    if kind.job is not None:
        return _removal_of_jobs(kind, kind.job)
    text = _REMOVALS[kind.removal]
    lost = f" ({kind.destroys})" if kind.destroys else ""
    if kind.on_remove is OnRemove.RETAIN:
        return f"the object is retained; with lifecycle.on_remove: delete {text}{lost}"
    return f"{text}{lost}; with lifecycle.on_remove: retain it stays"


def _removal_of_jobs(kind: Kind, job: Job) -> str:
    runs = "one that still runs is cancelled"
    if job.product is not None:
        return f"{runs}; of one that has ended nothing goes, unless lifecycle.on_remove: delete: {job.destroys}"
    ended = f"deleted ({kind.destroys})" if kind.removal is Removal.DELETE else "only forgotten"
    return f"{runs}, one that has ended is {ended}"


def _address(kind: Kind) -> str:
    return f"{kind.name}/NAME" if kind.scope is ScopeType.ORGANIZATION else f"{kind.name}/PROJECT/NAME"


def _part_lines(place: str, part: Part) -> Iterator[str]:
    yield from _wrapped(f"{place}: {part.head}", "", hanging=2)
    yield from _wrapped(part.doc, "  ")
    inner = children_of(part.type)
    if inner:
        yield from ("", "Fields")
        yield from _list([_property_part(item) for item in inner.values()])


def _list(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        yield from _wrapped(f"{part.name}: {part.head}", "  ", hanging=2)
        yield from _wrapped(part.doc, "      ")


def _field_part(field: Field) -> Part:
    facts = (*_facts_of(field.default, required=field.required), *_field_facts(field))
    return Part(field.name, field.type, facts, field.doc)


def _property_part(item: Property) -> Part:
    return Part(item.name, item.type, _facts_of(item.default, required=item.required), item.doc)


def _facts_of(default: Any, *, required: bool) -> tuple[str, ...]:
    if required:
        return ("required",)
    return () if default is SERVER_CHOSEN or default is None else (f"default {inline(default)}",)


def _field_facts(field: Field) -> Iterator[str]:
    if field.mutability is not Mutability.IN_PLACE:
        yield _MUTABILITIES[field.mutability]
    if field.client_only:
        yield "for us, and never sent"
    elif field.readable is not Readable.ALWAYS:
        yield "never shown by the API" if field.readable is Readable.NEVER else "not always shown by the API"
    if field.reset is KEEP:
        yield "stays when it is taken away"
    if field.reset is OVERWRITTEN:
        yield "what it was before comes back when it is taken away"


def _wrapped(text: str, indent: str, width: int = _WIDTH, *, hanging: int = 0) -> list[str]:
    later = " " * (len(indent) + hanging)
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
