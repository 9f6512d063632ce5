"""Compiles schemas to predicates that only answer yes or no.

Nearly every value is valid, and the standard validator would take most of a run's time to confirm
it. Only values that a predicate rejects go to the validator, which knows the reasons. A schema with
an unsupported keyword rejects everything, which is slow but never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from reconciler.model.values import Reference, Template, Unknown

LATER = (Reference, Template, Unknown)
"""Values that are known only after apply. They satisfy every schema."""

Predicate = Callable[[Any], bool]

_SILENT = {
    "$comment", "$schema", "default", "description", "examples", "markdownDescription", "patternErrorMessage", "title",
    "then", "else", "discriminator",
}  # fmt: skip


def predicate(schema: Any) -> Predicate:
    """Whether a value satisfies a schema."""
    if schema is True:
        return lambda value: True  # noqa: ARG005
    limits = {keyword: limit for keyword, limit in schema.items() if keyword not in _SILENT}
    parts = [_part(keyword, limit, schema) for keyword, limit in limits.items()]

    def accepts(value: Any) -> bool:
        for part in parts:
            if not part(value):
                return isinstance(value, LATER)
        return True

    return accepts


def _part(keyword: str, limit: Any, schema: Mapping[str, Any]) -> Predicate:
    if keyword == "allOf" and "discriminator" in schema:
        return _variants(schema["discriminator"]["propertyName"], limit)
    if keyword == "additionalProperties":
        return _additional(limit, schema.get("properties", {}))
    if keyword == "if":
        return _conditional(schema)
    return _KEYWORDS.get(keyword, _unsupported)(limit)


def _unsupported(_: Any) -> Predicate:
    return lambda value: False  # noqa: ARG005


def _type(limit: Any) -> Predicate:
    names = [limit] if isinstance(limit, str) else limit
    types = tuple(chain.from_iterable(_TYPES[name] for name in names))
    exactly = frozenset(types)
    takes_booleans, whole = bool in types, "integer" in names and "number" not in names

    def accepts(value: Any) -> bool:
        # The exact type first, because it decides for nearly every value. A boolean is an integer
        # to Python only, and JSON Schema counts 1.0 as an integer.
        if type(value) in exactly:
            return True
        if isinstance(value, bool):
            return takes_booleans
        return isinstance(value, types) or (
            whole and isinstance(value, float) and value.is_integer()
        )

    return accepts


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _properties(limit: Mapping[str, Any]) -> Predicate:
    parts = {name: predicate(part) for name, part in limit.items() if part is not True}

    def accepts(value: Any) -> bool:
        if isinstance(value, dict):
            for name, element in value.items():
                part = parts.get(name)
                if part is not None and not part(element):
                    return False
        return True

    return accepts


def _additional(limit: Any, properties: Mapping[str, Any]) -> Predicate:
    known = frozenset(properties)
    if limit is False:
        return lambda value: not isinstance(value, dict) or known.issuperset(value)
    part = predicate(limit)
    return lambda value: (
        not isinstance(value, dict) or all(part(value[name]) for name in value if name not in known)
    )


def _variants(tag: str, branches: Any) -> Predicate:
    parts: dict[str, Predicate] = {}
    for branch in branches:
        variant = branch["if"]["properties"][tag]["const"]
        parts[variant] = predicate(branch["then"])

    # An unknown tag passes here: the enum of the tag's property rejects it.
    def accepts(value: Any) -> bool:
        name = value.get(tag) if isinstance(value, dict) else None
        part = parts.get(name) if isinstance(name, str) else None
        return part is None or part(value)

    return accepts


def _conditional(schema: Mapping[str, Any]) -> Predicate:
    test, then, other = (predicate(schema.get(name, True)) for name in ("if", "then", "else"))
    return lambda value: then(value) if test(value) else other(value)


def _required(limit: Any) -> Predicate:
    names = frozenset(limit)
    return lambda value: not isinstance(value, dict) or names <= value.keys()


def has_exactly_one(names: Any, value: Mapping[str, Any]) -> bool:
    """Whether a map has a value for exactly one of these names; null counts as none."""
    return sum(value.get(name) is not None for name in names) == 1


def _exactly_one(limit: Any) -> Predicate:
    return lambda value: not isinstance(value, dict) or has_exactly_one(limit, value)


def _items(limit: Any) -> Predicate:
    part = predicate(limit)
    return lambda value: not isinstance(value, list) or all(map(part, value))


def _property_names(limit: Any) -> Predicate:
    part = predicate(limit)
    return lambda value: not isinstance(value, dict) or all(map(part, value))


def _any_of(limit: Any) -> Predicate:
    parts = [predicate(option) for option in limit]
    return lambda value: any(part(value) for part in parts)


def _enum(limit: Any) -> Predicate:
    # Only texts and null are choices. The type is checked too, because True equals 1 in Python.
    choices = frozenset(limit)
    return lambda value: (value is None or isinstance(value, str)) and value in choices


def _pattern(limit: str) -> Predicate:
    search = re.compile(limit).search
    return lambda value: not isinstance(value, str) or search(value) is not None


_KEYWORDS: dict[str, Callable[[Any], Predicate]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda limit: lambda value: isinstance(value, str) and value == limit,
    "properties": _properties,
    "required": _required,
    "exactlyOne": _exactly_one,
    "items": _items,
    "propertyNames": _property_names,
    "anyOf": _any_of,
    "pattern": _pattern,
    "minimum": lambda limit: lambda value: not _is_number(value) or value >= limit,
    "maximum": lambda limit: lambda value: not _is_number(value) or value <= limit,
    "exclusiveMinimum": lambda limit: lambda value: not _is_number(value) or value > limit,
    "minLength": lambda limit: lambda value: not isinstance(value, str) or len(value) >= limit,
    "maxLength": lambda limit: lambda value: not isinstance(value, str) or len(value) <= limit,
    "minItems": lambda limit: lambda value: not isinstance(value, list) or len(value) >= limit,
    "maxItems": lambda limit: lambda value: not isinstance(value, list) or len(value) <= limit,
    "minProperties": lambda limit: lambda value: not isinstance(value, dict) or len(value) >= limit,
    "maxProperties": lambda limit: lambda value: not isinstance(value, dict) or len(value) <= limit,
}
