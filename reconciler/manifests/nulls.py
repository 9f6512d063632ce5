"""Nulls that mean "not set", as a GET answers them for what was never sent.

An answer can be pasted into a manifest, so such a null is the same as leaving the field out. A null
in a field that takes null stays, because there it clears the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.model.kind import Field
from reconciler.model.types import Either, ListOf, MapOf, Object, Property, Tagged, Type


def may_be_null(item: Field | Property) -> bool:
    """Whether null is taken for a field or property that does not clear it: it is left out then."""
    if isinstance(item, Property):
        return not item.required
    return not (item.required or item.nullable or item.has_own_calls or item.client_only)


def without_nulls(fields: Iterable[Field], spec: Any) -> Any:
    """A spec without the nulls that mean nothing; the very same where it has none."""
    return _pruned(spec, {item.name: item for item in fields})


def _pruned(value: Any, parts: Mapping[str, Field | Property]) -> Any:
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for name, item in value.items():
        part = parts.get(name)
        if part is None:
            kept[name] = item
        elif item is not None:
            kept[name] = _inside(item, part.type)
        elif not may_be_null(part):
            kept[name] = item
    is_same = len(kept) == len(value) and all(kept[name] is value[name] for name in kept)
    return value if is_same else kept


def _inside(value: Any, kind: Type) -> Any:
    match kind:
        case Object(properties):
            return _pruned(value, _by_name(properties))
        case Tagged(variants, tag):
            chosen = value.get(tag) if isinstance(value, dict) else None
            variant = variants.get(chosen) if isinstance(chosen, str) else None
            return _pruned(value, _by_name(variant.properties)) if variant else value
        case ListOf(item=inner) if isinstance(value, list):
            return _each(value, inner)
        case MapOf(value=inner) if isinstance(value, dict):
            found = {key: _inside(item, inner) for key, item in value.items()}
            return found if any(found[key] is not value[key] for key in found) else value
        case Either(other=inner):
            return _inside(value, inner)
    return value


def _each(items: list[Any], kind: Type) -> list[Any]:
    found = [_inside(item, kind) for item in items]
    is_same = all(one is other for one, other in zip(found, items, strict=True))
    return items if is_same else found


def _by_name(properties: Iterable[Property]) -> dict[str, Property]:
    return {item.name: item for item in properties}
