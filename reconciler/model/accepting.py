"""The value that a manifest would have to give a field for a live object to be as declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.model.comparing import canonical, comparable, same
from reconciler.model.types import (
    SERVER_CHOSEN,
    Either,
    ListOf,
    MapOf,
    Object,
    Property,
    Tagged,
    Type,
)


def accepted(kind: Type, desired: Any, live: Any) -> Any:
    """`live` in the form of a manifest, as close to `desired` as possible; None without a value.

    What equals the live value keeps its spelling. Parts that only the server sets are left out, and
    so are those that nobody set and that are at their default.
    """
    if live is None:
        return None
    if desired is not None and same(*comparable(kind, desired, live)):
        return desired
    match kind:
        case Object(properties) if isinstance(live, Mapping):
            return _object(properties, desired, live)
        case Tagged(variants, tag) if isinstance(live, Mapping):
            variant = variants.get(str(live.get(tag)))
            if variant is None:
                return dict(live)
            is_same = isinstance(desired, Mapping) and desired.get(tag) == live.get(tag)
            parts = _object(variant.properties, desired if is_same else None, live)
            return {tag: live[tag], **parts}
        case ListOf() if isinstance(live, list | tuple):
            return _list(kind, desired, list(live))
        case MapOf(value=inner) if isinstance(live, Mapping):
            known = desired if isinstance(desired, Mapping) else {}
            return {
                key: accepted(inner, known.get(key), element)
                for key, element in live.items()
                if element is not None
            }
        case Either(other=inner):
            return accepted(inner, desired, live)
    return live


def _object(properties: tuple[Property, ...], desired: Any, live: Mapping[str, Any]) -> Any:
    known = desired if isinstance(desired, Mapping) else {}
    result: dict[str, Any] = {}
    order = [*known, *(part.name for part in properties if part.name not in known)]
    by_name = {part.name: part for part in properties}
    for name in order:
        part = by_name.get(name)
        if part is None:
            continue
        if part.is_hidden:
            if name in known:
                result[name] = known[name]
            continue
        value = accepted(part.type, known.get(name), live.get(name))
        if value is not None and (name in known or _is_notable(part, value)):
            result[name] = value
    return result


def _is_notable(part: Property, value: Any) -> bool:
    """Whether a part that no manifest sets has to be written down."""
    if part.required:
        return True
    if part.default is SERVER_CHOSEN:
        return False
    return not same(canonical(part.type, part.default), canonical(part.type, value))


def _list(kind: ListOf, desired: Any, live: list[Any]) -> list[Any]:
    """The live items; those that were declared keep their spelling, in sets also their order."""
    declared = list(desired) if isinstance(desired, list | tuple) else []
    unused = list(range(len(declared)))
    matches: dict[int, int] = {}
    for at, element in enumerate(live):
        match = next(
            (i for i in unused if same(*comparable(kind.item, declared[i], element))), None
        )
        if match is not None:
            unused.remove(match)
            matches[at] = match
    if kind.unordered:
        kept = [declared[i] for i in sorted(matches.values())]
        new = [accepted(kind.item, None, live[at]) for at in range(len(live)) if at not in matches]
        return [*kept, *new]
    result = []
    for at, element in enumerate(live):
        if at in matches:
            result.append(declared[matches[at]])
        else:
            near = declared[at] if at in unused else None
            result.append(accepted(kind.item, near, element))
    return result
