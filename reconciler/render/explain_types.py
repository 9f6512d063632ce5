"""Types in words: what a value may be, within which limits, and what its parts are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    Text: "text",
    Integer: "whole number",
    Number: "number",
    Boolean: "true or false",
    Scalar: "text, number or boolean",
    Object: "object",
    Json: "free JSON",
    LocalFileType: "path of a file",
    FileSetType: "list of folders and files",
    BundleType: "list of folders",
    KeySinkType: "where a key goes",
    SecretValueType: "where a secret comes from",
}


def describe(kind: Type) -> str:
    """The name of a type: `list of text`, `one of "low", "high"`."""
    match kind:
        case Text(choices=choices) if choices:
            listed = ", ".join(f'"{choice}"' for choice in choices)
            other = ", or another" if kind.open_choices else ""
            return f"one of {listed}{other}" if len(choices) > 1 or other else listed
        case ListOf(item):
            return f"{'set' if kind.unordered else 'list'} of {_many(item)}"
        case MapOf(value):
            return f"map of {_many(value)}"
        case Tagged(variants):
            return f"object whose {kind.tag} is {_listed(list(variants), 'or')}"
        case Object(properties) if properties:
            return f"object with {_listed([item.name for item in properties], 'and')}"
        case Either(text, other_type):
            return f"{describe(text)} or {describe(other_type)}"
    return _SIMPLE[type(kind)]


def limits_of(kind: Type) -> list[str]:
    """The limits of a value, each a phrase."""
    return list(_limits(kind))


def children_of(kind: Type) -> dict[str, Property]:
    """The named parts below a type, through lists and maps; of an object with variants those of all."""
    match kind:
        case Object(properties):
            return {item.name: item for item in properties}
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
            return {item.name: item for item in _GLOBS}
        case KeySinkType():
            return {item.name: item for item in (_WRITE_TO,)}
        case SecretValueType():
            return {item.name: item for item in _SOURCES}
    return {}


_WRITE_TO = Property(
    "write_to",
    Object(
        (
            Property("file", Text(), "A file below the stack's folder, readable by its owner only."),
            Property("command", ListOf(Text()), "A program and its arguments; it reads the key on standard input."),
        )
    ),
    "Either a file or a command.",
    required=True,
)


_SOURCES = (
    Property("from_env", Text(), "The environment variable that has it; its name begins with RECONCILER_SECRET_."),
    Property("from_file", Text(), "The file that has it, below the folder secrets of the stack."),
)

_GLOBS = (
    Property("path", Text(), "A glob below the stack's folder, such as `handbook/**/*.md`."),
    Property("ignore", ListOf(Text()), "Globs of files to leave out."),
    Property("allow_empty", Boolean(), "Whether `path` may match no file; otherwise that is an error.", default=False),
)


def _of_files(attributes: Type, chunking: Type) -> dict[str, Property]:
    parts = (
        *_GLOBS,
        Property("file_id", Text(), "The id of an uploaded file, in place of a path."),
        Property("attributes", attributes, "Attributes of each file, for filters in searches."),
        Property("chunking_strategy", chunking, "How each file is cut for the index."),
    )
    return {part.name: part for part in parts}


def _of_variants(kind: Tagged, variants: Any) -> dict[str, Property]:
    tag = Property(kind.tag, Text(choices=tuple(variants)), "Which of them it is.", required=True)
    parts = {kind.tag: tag}
    for name, variant in variants.items():
        for item in variant.properties:
            doc = f"({kind.tag}: {name}) {item.doc}" if item.doc else f"(only with {kind.tag}: {name})"
            parts.setdefault(
                item.name, Property(item.name, item.type, doc, item.required, item.default, item.keeps_empty)
            )
    return parts


def _limits(kind: Type) -> Iterator[str]:
    match kind:
        case Text() | Scalar() as text if text.max_length:
            yield f"at most {count(text.max_length, 'character')}"
        case Integer(low, high) | Number(low, high):
            yield from _range(low, high)
        case ListOf():
            yield from [f"at most {count(kind.max_items, 'item')}"] if kind.max_items else []
            yield from (f"each {limit}" for limit in _limits(kind.item))
        case MapOf():
            yield from [f"at most {count(kind.max_items, 'pair')}"] if kind.max_items else []
            yield from [f"keys of at most {count(kind.max_key, 'character')}"] if kind.max_key else []
            yield from (f"each {limit}" for limit in _limits(kind.value))
    if isinstance(kind, Text) and kind.pattern:
        yield f"matches {kind.pattern}"


def _range(low: float | None, high: float | None) -> Iterator[str]:
    if low is not None and high is not None:
        yield f"from {low:,} to {high:,}"
    elif low is not None:
        yield f"at least {low:,}"
    elif high is not None:
        yield f"at most {high:,}"


def _many(kind: Type) -> str:
    text = describe(kind)
    first, space, rest = text.partition(" ")
    if first in ("object", "number"):
        return f"{first}s{space}{rest}"
    return "whole numbers" if text == "whole number" else text


def _listed(names: list[str], word: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
