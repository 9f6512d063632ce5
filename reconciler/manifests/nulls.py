"""Removes two forms that only answers of the API contain: nulls that mean "not set", and wrapped
texts.

A GET answers null for values that were never sent, and wraps some texts into an object. An answer
can be pasted into a manifest, where such a null equals an omitted field. A null in a nullable field
stays, because it clears the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.model.kind import Declaration, Field
from reconciler.model.types import Either, ListOf, MapOf, Object, Property, Tagged, Text, Type

_CONTAINERS = (dict, list)


def may_be_null(declared: Field | Property) -> bool:
    """Whether null is accepted for a field or property that it does not clear. It is then dropped."""
    # The API reads null as an omitted property, but a required one has no such meaning.
    if isinstance(declared, Property):
        return not declared.required
    return not (
        declared.required or declared.nullable or declared.has_own_calls or declared.client_only
    )


def without_nulls(kind: Declaration, spec: Any) -> Any:
    """A spec without meaningless nulls and wrapped texts; the same object if it has none."""
    # Nearly every spec is free of nulls, which a search without the types finds out faster.
    if not kind.wraps_texts and not _has_null(spec):
        return spec
    return _pruned(spec, kind.by_name)


def _has_null(value: Any) -> bool:
    elements: Iterable[Any] = ()
    if isinstance(value, dict):
        elements = value.values()
    elif isinstance(value, list):
        elements = value
    for element in elements:  # noqa: SIM110 - a generator would take twice as long
        if element is None or (type(element) in _CONTAINERS and _has_null(element)):
            return True
    return False


def _pruned(value: Any, parts: Mapping[str, Field | Property]) -> Any:
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for name, element in value.items():
        part = parts.get(name)
        if part is None:
            kept[name] = element
        elif element is not None:
            kept[name] = _inside(element, part.type)
        elif not may_be_null(part):
            kept[name] = element
    return value if _has_same_elements(kept, value) else kept


def _inside(value: Any, kind: Type) -> Any:
    match kind:
        case Text(inside=str(key)) if isinstance(value, dict) and isinstance(value.get(key), str):
            return value[key]
        case Object(properties):
            return _pruned(value, _by_name(properties))
        case Tagged(variants, tag):
            chosen = value.get(tag) if isinstance(value, dict) else None
            variant = variants.get(chosen) if isinstance(chosen, str) else None
            return _pruned(value, _by_name(variant.properties)) if variant else value
        case ListOf(item=inner) if isinstance(value, list):
            return _each(value, inner)
        case MapOf(value=inner) if isinstance(value, dict):
            elements = {key: _inside(element, inner) for key, element in value.items()}
            return value if _has_same_elements(elements, value) else elements
        case Either(other=inner):
            return _inside(value, inner)
    return value


def _each(items: list[Any], kind: Type) -> list[Any]:
    pruned = [_inside(element, kind) for element in items]
    is_same = all(left is right for left, right in zip(pruned, items, strict=True))
    return items if is_same else pruned


def _has_same_elements(pruned: dict[str, Any], value: dict[str, Any]) -> bool:
    return len(pruned) == len(value) and all(pruned[key] is value[key] for key in pruned)


def _by_name(properties: Iterable[Property]) -> dict[str, Property]:
    return {prop.name: prop for prop in properties}
