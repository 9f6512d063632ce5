"""Writes live values in the form of a manifest, so that the manifest matches the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def accepted(kind: Type, desired: Any, live: Any, seen: Any = None) -> Any:
    """`live` in the form of a manifest, as close to `desired` as possible; None without a value.

    Values that equal the live value keep their spelling. Parts that only the server sets are left
    out, and
    so are those that nobody set and that are at their default. With `seen`, the value after the
    last apply, parts that the server chose and that moved since are written down.
    """
    if live is None:
        return None
    has_moved = seen is not None and not same(canonical(kind, seen), canonical(kind, live))
    if not has_moved and desired is not None and same(*comparable(kind, desired, live)):
        return desired
    match kind:
        case Object(properties) if isinstance(live, Mapping):
            return _object(properties, desired, live, seen)
        case Tagged(variants, tag) if isinstance(live, Mapping):
            variant = variants.get(str(live.get(tag)))
            if variant is None:
                return dict(live)
            parts = _object(
                variant.properties,
                _with_tag(desired, tag, live.get(tag)),
                live,
                _with_tag(seen, tag, live.get(tag)),
            )
            return {tag: live[tag], **parts}
        case ListOf() if isinstance(live, list | tuple):
            return _list(kind, desired, list(live), seen)
        case MapOf(value=inner) if isinstance(live, Mapping):
            known = desired if isinstance(desired, Mapping) else {}
            return {
                key: accepted(inner, known.get(key), element)
                for key, element in live.items()
                if element is not None
            }
        case Either(other=inner):
            return accepted(inner, desired, live, seen)
    return live


def _with_tag(value: Any, tag: str, live_tag: Any) -> Any:
    """The value if it is of the live variant. Parts of another variant say nothing about this one."""
    if isinstance(value, Mapping) and value.get(tag) == live_tag:
        return value
    return None


def _object(
    properties: tuple[Property, ...], desired: Any, live: Mapping[str, Any], seen: Any
) -> Any:
    known = desired if isinstance(desired, Mapping) else {}
    before = seen if isinstance(seen, Mapping) else None
    result: dict[str, Any] = {}
    by_name = {part.name: part for part in properties}
    # Declared parts keep their order in the manifest, so that the change to the file is small.
    for name in dict.fromkeys((*known, *by_name)):
        part = by_name.get(name)
        if part is None:
            continue
        if part.is_hidden:
            # Answers never contain it, so only the declared value is known.
            if name in known:
                result[name] = known[name]
            continue
        value = accepted(part.type, known.get(name), live.get(name), (before or {}).get(name))
        if value is not None and (name in known or _is_notable(part, value, before)):
            result[name] = value
    return result


def _is_notable(part: Property, value: Any, seen: Mapping[str, Any] | None) -> bool:
    """Whether a part that no manifest sets must be written."""
    # A manifest without it would be invalid.
    if part.required:
        return True
    if part.default is SERVER_CHOSEN:
        shown = canonical(part.type, value)
        return seen is not None and not same(canonical(part.type, seen.get(part.name)), shown)
    return not same(canonical(part.type, part.default), canonical(part.type, value))


def _list(kind: ListOf, desired: Any, live: list[Any], seen: Any) -> list[Any]:
    """The live items; those that were declared keep their spelling, in sets also their order."""
    declared = list(desired) if isinstance(desired, list | tuple) else []
    if isinstance(seen, list | tuple) and len(seen) == len(live) == len(declared):
        # No items were added or removed, so the differences are inside of the items.
        triples = zip(declared, live, seen, strict=True)
        return [accepted(kind.item, own, now, before) for own, now, before in triples]
    unused = list(range(len(declared)))
    matches: dict[int, int] = {}
    for at, element in enumerate(live):
        match = _equal_to(element, declared, unused, kind.item)
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
            # An item without an equal is most likely the declared item at its place, changed.
            near = declared[at] if at in unused else None
            result.append(accepted(kind.item, near, element))
    return result


def _equal_to(
    element: Any, declared: Sequence[Any], unused: Sequence[int], kind: Type
) -> int | None:
    """The first unused index whose declared item equals a live one."""
    for index in unused:
        if same(*comparable(kind, declared[index], element)):
            return index
    return None
