"""Types in words: names, limits and named parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from msgspec.structs import replace

from reconciler.model.key_fields import PREVIOUS_TO, ROTATE
from reconciler.model.sinks import Sink, sink_classes
from reconciler.model.sources import source_classes
from reconciler.model.types import (
    Boolean,
    BundleType,
    Either,
    FileSetType,
    Integer,
    Json,
    KeySinkType,
    ListOf,
    LocalFileType,
    MapOf,
    Number,
    Object,
    Property,
    Scalar,
    SecretValueType,
    Tagged,
    Text,
    Type,
)
from reconciler.render.values import count

_SIMPLE: dict[type[Any], str] = {
    Text: "string",
    Integer: "integer",
    Number: "number",
    Boolean: "boolean",
    Scalar: "string, number or boolean",
    Object: "object",
    Json: "any JSON",
    LocalFileType: "file path",
    FileSetType: "list of files and folders",
    BundleType: "list of folders",
    KeySinkType: "key destination",
    SecretValueType: "secret source",
}


def describe(kind: Type) -> str:
    """The name of a type: `list of strings`, `one of "low", "high"`."""
    match kind:
        case Text(choices=choices) if choices:
            listed = ", ".join(f'"{choice}"' for choice in choices)
            if kind.open_choices:
                return f"one of {listed}, or another string"
            if len(choices) > 1:
                return f"one of {listed}"
            return listed
        case ListOf(item):
            collection = "set" if kind.unordered else "list"
            return f"{collection} of {_plural(item)}"
        case MapOf(value):
            return f"map of {_plural(value)}"
        case Tagged(variants):
            return f"object whose {kind.tag} is {_listed(list(variants), 'or')}"
        case Object(properties) if properties:
            return f"object with {_listed(list(_by_name(properties)), 'and')}"
        case Either(text, other_type):
            return f"{describe(text)} or {describe(other_type)}"
    return _SIMPLE[type(kind)]


def limits_of(kind: Type) -> list[str]:
    """The limits of a value, one phrase each."""
    return list(_limits(kind))


def children_of(kind: Type) -> dict[str, Property]:
    """The named parts below a type, through lists and maps; for variants, the parts of all."""
    match kind:
        case Object(properties):
            return _by_name(properties)
        case ListOf(item):
            return children_of(item)
        case MapOf(value):
            return children_of(value)
        case Either(_, other):
            return children_of(other)
        case Tagged(variants):
            return _of_variants(kind, variants)
        case FileSetType(attributes, chunking):
            return _of_files(attributes, chunking)
        case BundleType():
            return _by_name(_GLOBS)
        case KeySinkType(rotates=rotates):
            rotation = (PREVIOUS_TO, ROTATE) if rotates else ()
            return _by_name((_write_to(), *rotation))
        case SecretValueType():
            return _by_name((*_SOURCES, _from()))
    return {}


def _property_of(service: type[Sink]) -> Property:
    return Property(service.name, service.type, service.description)


# Cached, and not a constant: other packages add classes by entry points, which take time to load.
@cache
def _write_to() -> Property:
    return Property(
        "write_to",
        Object(tuple(map(_property_of, sink_classes()))),
        "One destination, or a list of several.",
        required=True,
    )


@cache
def _from() -> Property:
    return Property(
        "from",
        Object(tuple(map(_property_of, source_classes()))),
        "A secret in a secret manager that RECONCILER_ALLOW_SOURCES allows.",
    )


_SOURCES = (
    Property(
        "from_env",
        Text(),
        "An environment variable whose name begins with RECONCILER_SECRET_.",
    ),
    Property("from_file", Text(), "A file below the stack's `secrets` folder."),
)

_GLOBS = (
    Property("path", Text(), "A glob below the stack's folder, such as `handbook/**/*.md`."),
    Property("ignore", ListOf(Text()), "Globs of files to leave out."),
    Property("allow_empty", Boolean(), "Whether `path` may match no files.", default=False),
)


def _by_name(parts: Iterable[Property]) -> dict[str, Property]:
    return {part.name: part for part in parts}


def _of_files(attributes: Type, chunking: Type) -> dict[str, Property]:
    parts = (
        *_GLOBS,
        Property("file_id", Text(), "The id of an uploaded file, instead of a path."),
        Property("attributes", attributes, "Attributes of each file, for search filters."),
        Property("chunking_strategy", chunking, "How each file is split into chunks."),
    )
    return _by_name(parts)


def _of_variants(kind: Tagged, variants: Any) -> dict[str, Property]:
    tag = Property(kind.tag, Text(choices=tuple(variants)), "Selects the variant.", required=True)
    parts = {kind.tag: tag}
    for name, variant in variants.items():
        for part in variant.properties:
            doc = f"(only with {kind.tag}: {name})"
            if part.doc:
                doc = f"({kind.tag}: {name}) {part.doc}"
            parts.setdefault(part.name, replace(part, doc=doc))
    return parts


def _limits(kind: Type) -> Iterator[str]:
    match kind:
        case Text() | Scalar() as text if text.max_length:
            yield f"at most {count(text.max_length, 'character')}"
        case Integer(low, high) | Number(low, high):
            yield from _range(low, high)
        case ListOf():
            if kind.max_items:
                yield f"at most {count(kind.max_items, 'item')}"
            for limit in _limits(kind.item):
                yield f"each {limit}"
        case MapOf():
            if kind.max_items:
                yield f"at most {count(kind.max_items, 'pair')}"
            if kind.max_key:
                yield f"keys of at most {count(kind.max_key, 'character')}"
            for limit in _limits(kind.value):
                yield f"each {limit}"
    if isinstance(kind, Text) and kind.pattern:
        yield kind.pattern_hint or f"matches {kind.pattern}"


def _range(low: float | None, high: float | None) -> Iterator[str]:
    if low is not None and high is not None:
        yield f"from {low:,} to {high:,}"
    elif low is not None:
        yield f"at least {low:,}"
    elif high is not None:
        yield f"at most {high:,}"


def _plural(kind: Type) -> str:
    """The type in the plural, for `list of …`."""
    text = describe(kind)
    first, space, rest = text.partition(" ")
    if first in ("object", "number", "string", "integer", "boolean"):
        return f"{first}s{space}{rest}"
    if isinstance(kind, Scalar):
        return "strings, numbers or booleans"
    if isinstance(kind, LocalFileType):
        return "file paths"
    return text


def _listed(names: list[str], word: str) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} {word} {names[-1]}"
