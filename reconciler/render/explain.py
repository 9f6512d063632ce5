"""`reconciler explain`: the documentation of a kind or a field, from its declaration.

The pages below docs/kinds/ use the same facts and phrases (`kind_page`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from reconciler.render.values import enclosed, inline

_SCOPES = {
    ScopeType.ORGANIZATION: "organization; uses the admin key",
    ScopeType.PROJECT: "project (metadata.project); uses the admin key",
    ScopeType.EITHER: "project if metadata.project is set, else organization; uses the admin key",
    ScopeType.PROJECT_KEY: "project (metadata.project, or that of the default key); uses its key",
}
_SCOPES_IN_SHORT = {
    ScopeType.ORGANIZATION: "organization",
    ScopeType.PROJECT: "project",
    ScopeType.EITHER: "project or organization",
    ScopeType.PROJECT_KEY: "project",
}
_REMOVALS = {
    Removal.DELETE: "deletes the object",
    Removal.ARCHIVE: "archives the object, which is permanent",
    Removal.RESTORE: "keeps the object and restores the values it had before",
}
MUTABILITIES = {
    Mutability.IN_PLACE: "in place",
    Mutability.REPLACES: "forces replacement",
    Mutability.FIXED: "set at creation only",
}
READABILITIES = {
    Readable.SOMETIMES: "not always shown by the API",
    Readable.NEVER: "never shown by the API",
}
KEPT = "kept when removed from the manifest"
RESET = "reset to its previous value when removed from the manifest"
_WIDTH = 96

Entry = TypeVar("Entry")


class Part(Struct, frozen=True):
    """A field or property: its type, facts such as `required`, and its description."""

    name: str
    type: Type
    facts: tuple[str, ...]
    doc: str

    @property
    def head(self) -> str:
        """`whole number, required, at least 0`."""
        return ", ".join([describe(self.type), *self.facts, *limits_of(self.type)])


def explain_kind(kind: Declaration, path: Sequence[str] = ()) -> str:
    """A page about a kind, or its field at `path`; UsageError if there is no such field."""
    if not path:
        return _page(_kind_lines(kind))
    part = _field_part(_lookup(kind.by_name, path[0], kind.name))
    dotted_path = f"{kind.name}.{path[0]}"
    for name in path[1:]:
        part = _property_part(_lookup(children_of(part.type), name, dotted_path))
        dotted_path = f"{dotted_path}.{name}"
    return _page(_part_lines(dotted_path, part))


def kind_facts(kind: Declaration) -> list[tuple[str, str]]:
    """Facts about the kind as a whole, as pairs of label and text."""
    return list(_facts(kind))


def _page(lines: Iterator[str]) -> str:
    return plain(line(text) for text in lines)


def _lookup(known: Mapping[str, Entry], name: str, path: str) -> Entry:
    if name in known:
        return known[name]
    if not known:
        raise UsageError(f"{path} has no fields of its own")
    raise UsageError(
        f'{path} has no field "{name}".{nearest(name, known)}',
        hint=f"its fields are {', '.join(known)}",
    )


def _kind_lines(kind: Declaration) -> Iterator[str]:
    yield kind.name
    yield from _wrapped(kind.doc, "  ")
    if kind.retirement:
        yield ""
        yield from _wrapped(kind.retirement.sentence, "  ! ")
    yield ""
    facts = dict(_facts(kind))
    width = max(map(len, facts))
    for label, text in facts.items():
        first, *rest = _wrapped(text, "", _WIDTH - width - 4)
        yield f"  {padded(label, width)}  {first}"
        for more in rest:
            yield f"  {' ' * width}  {more}"
    yield from ("", "Fields")
    yield from _list(map(_field_part, kind.fields))
    yield from ("", "Example")
    yield from textwrap.indent(kind.example.rstrip("\n"), "  ").split("\n")


def _facts(kind: Declaration) -> Iterator[tuple[str, str]]:
    if isinstance(kind, Kind):
        yield "scope", _SCOPES[kind.scope]
        yield from _facts_of_objects(kind)
        return
    # Modules and policies belong to the stack, and need no key.
    if kind.scope is ScopeType.ORGANIZATION:
        yield "scope", "stack; uses no key"
        effect = ""
    else:
        yield "scope", _SCOPES[kind.scope]
        # Rules of other kinds are run by commands, such as `check`.
        effect = "; plans do not show it"
    if isinstance(kind, RuleKind) and kind.removes:
        effect = "; plans list the objects it matches, and apply deletes them"
    yield "creates", f"no object and no state entry{effect}"
    if kind.shapes:
        yield "requires", "; or ".join(map(_shape, kind.shapes))


def _facts_of_objects(kind: Kind) -> Iterator[tuple[str, str]]:
    # Without any key, a scope has one object, such as the settings of a project.
    keys = " or ".join(" and ".join(key) for key in (kind.natural_key, *kind.other_keys))
    scopes = _SCOPES_IN_SHORT[kind.scope]
    if kind.job is not None:
        results = ", ".join(kind.job.results)
        yield "matched by", "id, or ownership mark and digest of its inputs"
        yield "runs", "once, and again when an input changes or with --replace"
        yield "results", f"{results}; can be referenced once the job has succeeded"
    elif keys:
        evidence = "id, ownership mark," if kind.mark else "id,"
        yield "matched by", f"{evidence} or {keys}"
    elif not kind.calls.listable:
        yield "matched by", "id only; the API has no list of these objects"
    else:
        yield "matched by", f"scope (there is one per {scopes})"
    if kind.always_exists:
        yield "created by", f"the API, one per {keys or scopes}; it can only be changed"
    if kind.shapes:
        yield "requires", "; or ".join(map(_shape, kind.shapes))
    yield "removal", _removal(kind)
    commands = [f"reconciler import {_address(kind)} {form}" for form in kind.id_forms]
    yield "import", " or ".join(commands)
    if kind.beta:
        yield "beta", kind.beta


def _shape(shape: Shape) -> str:
    needs = " and ".join(filter(None, (", ".join(shape.needs[:-1]), shape.needs[-1])))
    if not shape.when:
        return needs
    field, value = shape.when
    return f"{field}: {value} with {needs}"


def _removal(kind: Kind) -> str:
    if kind.job is not None:
        return _removal_of_jobs(kind, kind.job)
    text = _REMOVALS[kind.removal]
    lost = enclosed(" (", kind.destroys, ")")
    if kind.on_remove is OnRemove.RETAIN:
        return f"keeps the object; lifecycle.on_remove: delete {text}{lost}"
    return f"{text}{lost}; lifecycle.on_remove: retain keeps it"


def _removal_of_jobs(kind: Kind, job: Job) -> str:
    running = "cancels a running job"
    if job.product is not None:
        return f"{running}; lifecycle.on_remove: delete also cleans up an ended one: {job.destroys}"
    if kind.removal is Removal.DELETE:
        return f"{running}, deletes an ended one ({kind.destroys})"
    return f"{running}, forgets an ended one"


def _address(kind: Kind) -> str:
    if kind.scope is ScopeType.ORGANIZATION:
        return f"{kind.name}/NAME"
    return f"{kind.name}/PROJECT/NAME"


def _part_lines(dotted_path: str, part: Part) -> Iterator[str]:
    yield from _wrapped(f"{dotted_path}: {part.head}", "", hanging=2)
    yield from _wrapped(part.doc, "  ")
    inner = children_of(part.type)
    if inner:
        yield from ("", "Fields")
        yield from _list(map(_property_part, inner.values()))


def _list(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        yield from _wrapped(f"{part.name}: {part.head}", "  ", hanging=2)
        yield from _wrapped(part.doc, "      ")


def _field_part(field: Field) -> Part:
    facts = (*_facts_of(field.default, required=field.required), *_field_facts(field))
    return Part(field.name, field.type, facts, field.doc)


def _property_part(prop: Property) -> Part:
    return Part(prop.name, prop.type, _facts_of(prop.default, required=prop.required), prop.doc)


def _facts_of(default: Any, *, required: bool) -> tuple[str, ...]:
    if required:
        return ("required",)
    # Neither is a value that a manifest could spell out.
    if default is SERVER_CHOSEN or default is None:
        return ()
    return (f"default {inline(default)}",)


def _field_facts(field: Field) -> Iterator[str]:
    if field.mutability is not Mutability.IN_PLACE:
        yield MUTABILITIES[field.mutability]
    # Whether the API shows a field that it never receives is irrelevant.
    if field.client_only:
        yield "not sent to the API"
    elif field.readable in READABILITIES:
        yield READABILITIES[field.readable]
    if field.reset is KEEP:
        yield KEPT
    if field.reset is OVERWRITTEN:
        yield RESET


def _wrapped(text: str, indent: str, width: int = _WIDTH, *, hanging: int = 0) -> list[str]:
    later = " " * (len(indent) + hanging)
    # Names, paths and commands stay whole, so that they can be copied.
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
