"""Normalization of two values of one type, so that equal forms mean equal values.

The types declare which variations are no difference: server defaults, aliases, unordered lists, hidden parts.
The diff therefore needs no exceptions afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.model.types import (
    SERVER_CHOSEN,
    BundleType,
    Either,
    FileSetType,
    Integer,
    Json,
    ListOf,
    LocalFileType,
    MapOf,
    Number,
    Object,
    Property,
    Scalar,
    Tagged,
    Text,
    Type,
)
from reconciler.model.values import MAP, FileSet, LocalFile, Member, Unknown

_SCALARS = (str, int, float, type(None))
_NEVER_TRUE = frozenset((str, type(None)))
"""The types of values that equal no boolean."""


def comparable(kind: Type, desired: Any, live: Any, prior: Any = None) -> tuple[Any, Any]:
    """Both values in normal form for `same`: defaults filled, aliases resolved, sets sorted, nulls
    dropped.

    Keys that the manifest does not set and that have no known default are dropped from both sides,
    because they are up to the API. Keys in `prior`, the value applied last, stay: the manifest
    dropped them. An `Unknown` is kept and equals only itself.
    """
    if isinstance(desired, Unknown):
        is_plain = live is None or isinstance(live, Unknown)
        return desired, live if is_plain else canonical(kind, live)
    match kind:
        case Text():
            return _alias(kind, desired), _alias(kind, live)
        case Integer() | Number() | Scalar():
            return _number(desired), _number(live)
        case ListOf():
            return _comparable_list(kind, desired, live, prior)
        case MapOf():
            return _comparable_map(kind, desired, live)
        case Object():
            return _comparable_object(kind, desired, live, prior)
        case Tagged():
            return _comparable_tagged(kind, desired, live, prior)
        case Either():
            return _comparable_either(kind, desired, live, prior)
        case Json():
            return _json(kind, desired), _json(kind, live)
        case FileSetType():
            return _comparable_members(kind, desired, live)
        case LocalFileType():
            return _digest(desired), _digest(live)
        case BundleType():
            return _digests(desired), _digests(live)
    return desired, live


def with_hidden(kind: Type, shown: Any, applied: Any) -> Any:
    """The live value, with hidden parts as last applied; hidden parts that were never applied are
    dropped."""
    match kind:
        case Object() if isinstance(shown, MAP):
            return _object_with_hidden(kind, shown, applied)
        case Tagged() if isinstance(shown, MAP):
            before = applied if isinstance(applied, MAP) else {}
            tag = shown.get(kind.tag, before.get(kind.tag))
            # Without a tag the variant is unknown, and a hidden part of any variant must not be
            # taken for a live value.
            variant = kind.variants.get(str(tag)) or _all_variants(kind)
            return _object_with_hidden(
                variant, shown, before if before.get(kind.tag) == tag else None
            )
        case ListOf() if isinstance(shown, list):
            items = list(applied) if isinstance(applied, list | tuple) else []
            # Lists are matched by position: only whole lists can be replaced, so an element has no
            # identity.
            items += [None] * len(shown)
            return [
                with_hidden(kind.item, element, other)
                for element, other in zip(shown, items, strict=False)
            ]
        case MapOf() if isinstance(shown, MAP):
            before = applied if isinstance(applied, MAP) else {}
            return {
                key: with_hidden(kind.value, part, before.get(key)) for key, part in shown.items()
            }
        case Either():
            return with_hidden(kind.other, shown, applied)
    return shown


def _all_variants(kind: Tagged) -> Object:
    """The properties of all variants, for an object without its tag, so that its hidden parts can
    be dropped."""
    return Object(tuple(part for variant in kind.variants.values() for part in variant.properties))


def _object_with_hidden(kind: Object, shown: Mapping[str, Any], applied: Any) -> dict[str, Any]:
    before = applied if isinstance(applied, MAP) else {}
    result = dict(shown)
    for part in kind.properties:
        if part.is_hidden:
            result.pop(part.name, None)
            if before.get(part.name) is not None:
                result[part.name] = before[part.name]
        elif part.name in result:
            result[part.name] = with_hidden(part.type, result[part.name], before.get(part.name))
    return result


def same(left: Any, right: Any) -> bool:
    """Whether two normal forms are equal as JSON. Unlike in Python, `true` is not 1."""
    if type(left) in _NEVER_TRUE:  # first, since it is the quickest to tell and nearly always so
        return bool(left == right)
    if type(left) is dict and type(right) is dict:
        return left.keys() == right.keys() and _same_items(left, right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, _SCALARS):
        return bool(left == right)
    if isinstance(left, MAP) and isinstance(right, MAP):
        return left.keys() == right.keys() and all(
            same(element, right[key]) for key, element in left.items()
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names of entries that only one side has, or whose values are not the `same`.

    A null is a value: it differs from an entry that is absent.
    """
    return [
        name
        for name in {**before, **after}
        if name not in before or name not in after or not same(before[name], after[name])
    ]


def _same_items(left: dict[str, Any], right: dict[str, Any]) -> bool:
    for key, element in left.items():
        other = right[key]
        if element is not other and not same(element, other):
            return False
    return True


def canonical(kind: Type, value: Any) -> Any:
    """The normal form of a single value."""
    return comparable(kind, value, value)[0]


def _alias(kind: Text, value: Any) -> Any:
    # Answers put some texts into an object, as in `{"value": "…", "annotations": []}`.
    if kind.inside is not None and isinstance(value, MAP):
        value = value.get(kind.inside)
    if not isinstance(value, str):
        return value
    known = kind.aliases.get(value, value)
    return kind.fold(known) if kind.fold else known


def _number(value: Any) -> Any:
    # A number that was sent as 3 can be answered as 3.0.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _comparable_list(kind: ListOf, desired: Any, live: Any, prior: Any = None) -> tuple[Any, Any]:
    left = None if desired is None else list(desired)
    right = None if live is None else list(live)
    if left is None or right is None:
        return _own_list(kind, left), _own_list(kind, right)
    if kind.unordered:
        # Sort by normal form. Elements that differ only in spelling would otherwise land in
        # different places.
        left.sort(key=lambda element: _sort_key(canonical(kind.item, element)))
        right.sort(key=lambda element: _sort_key(canonical(kind.item, element)))
    before = list(prior) if isinstance(prior, list | tuple) and not kind.unordered else []
    before += [None] * len(left)
    pairs = [comparable(kind.item, a, b, c) for a, b, c in zip(left, right, before, strict=False)]
    # Surplus elements of the longer list have no counterpart.
    shared = len(pairs)
    return (
        [a for a, _ in pairs] + [canonical(kind.item, element) for element in left[shared:]],
        [b for _, b in pairs] + [canonical(kind.item, element) for element in right[shared:]],
    )


def _own_list(kind: ListOf, items: list[Any] | None) -> list[Any] | None:
    return None if items is None else _comparable_list(kind, items, items)[0]


def _sort_key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _comparable_map(kind: MapOf, desired: Any, live: Any) -> tuple[Any, Any]:
    wanted, shown = desired or {}, live or {}
    left: dict[str, Any] = {}
    right: dict[str, Any] = {}
    for key in sorted(wanted.keys() | shown.keys()):
        element, other = wanted.get(key), shown.get(key)
        normal, other_normal = comparable(kind.value, element, other)
        # In a map, a null value means that the key is absent.
        if element is not None:
            left[key] = normal
        if other is not None:
            right[key] = other_normal
    return left, right


def _comparable_object(kind: Object, desired: Any, live: Any, prior: Any = None) -> tuple[Any, Any]:
    if not isinstance(desired, MAP) or not isinstance(live, MAP):
        return _own(kind, desired), _own(kind, live)
    left: dict[str, Any] = {}
    right: dict[str, Any] = {}
    for part in kind.properties:
        # A part that neither the manifest nor the last apply sets is up to the API.
        asked, shown = _part(part, desired), _part(part, live)
        before = prior.get(part.name) if isinstance(prior, MAP) else None
        if asked is None and before is None and part.default is SERVER_CHOSEN:
            continue
        a, b = comparable(part.type, asked, shown, before)
        _put(left, part.name, a, keeps_empty=part.keeps_empty)
        _put(right, part.name, b, keeps_empty=part.keeps_empty)
    return left, right


def _own(kind: Object, value: Any) -> Any:
    return comparable(kind, value, value)[0] if isinstance(value, MAP) else value


def _part(part: Property, value: Mapping[str, Any]) -> Any:
    element = value.get(part.name)
    return part.default if element is None and part.default is not SERVER_CHOSEN else element


def _put(target: dict[str, Any], name: str, value: Any, *, keeps_empty: bool = False) -> None:
    # Null, {} and [] mostly mean "empty": the API answers any of them for an unset part.
    if value is None or (not keeps_empty and value in ({}, [])):
        return
    target[name] = value


def _comparable_tagged(kind: Tagged, desired: Any, live: Any, prior: Any = None) -> tuple[Any, Any]:
    # Compare what answers would contain: the API may store another variant than the one that was
    # sent.
    desired, live = _shown_as(kind, desired), _shown_as(kind, live)
    tag = desired.get(kind.tag) if isinstance(desired, MAP) else None
    if isinstance(live, MAP) and isinstance(desired, MAP) and tag == live.get(kind.tag):
        variant = kind.variants.get(str(tag), Object(()))
        # The earlier value of another variant says nothing about this one.
        before = prior if isinstance(prior, MAP) and prior.get(kind.tag) == tag else None
        left, right = _comparable_object(variant, desired, live, before)
        return {kind.tag: tag, **left}, {kind.tag: tag, **right}
    return _own_variant(kind, desired), _own_variant(kind, live)


def _shown_as(kind: Tagged, value: Any) -> Any:
    if value is None:
        return kind.default
    if not isinstance(value, MAP):
        return value
    return kind.same_as.get(str(value.get(kind.tag)), value)


def _own_variant(kind: Tagged, value: Any) -> Any:
    if not isinstance(value, MAP):
        return value
    variant = kind.variants.get(str(value.get(kind.tag)), None)
    if variant is None:
        return dict(value)
    return {kind.tag: value.get(kind.tag), **_own(variant, value)}


def _comparable_either(kind: Either, desired: Any, live: Any, prior: Any = None) -> tuple[Any, Any]:
    # Answers use the long form, so a short one is expanded before the comparison.
    if kind.as_other is not None:
        desired, live, prior = (_spelt_out(kind, value) for value in (desired, live, prior))
    if isinstance(desired, (*MAP, list)) and isinstance(live, (*MAP, list)):
        return comparable(kind.other, desired, live, prior)
    return _own_either(kind, desired), _own_either(kind, live)


def _spelt_out(kind: Either, value: Any) -> Any:
    return kind.as_other(value) if kind.as_other is not None and isinstance(value, str) else value


def _own_either(kind: Either, value: Any) -> Any:
    if isinstance(value, Mapping | list):
        return canonical(kind.other, value)
    return canonical(kind.text, value)


def _json(kind: Json, value: Any) -> Any:
    # Absent, empty and default JSON mean the same to the API.
    if value is None or value == {} or value == kind.empty:
        return kind.empty
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, MAP):
        return {key: _plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    return _number(value)


def _digest(value: Any) -> Any:
    return value.sha256 if isinstance(value, LocalFile) else value


def _digests(value: Any) -> Any:
    members = value.members if isinstance(value, FileSet) else ()
    return {member.key: {"sha256": member.content.sha256} for member in members if member.content}


def _comparable_members(kind: FileSetType, desired: Any, live: Any) -> tuple[Any, Any]:
    right = {member.key: member for member in _accepted(live)}
    # A member that the API refused is no difference, unless somebody got it in after all.
    members = desired.members if isinstance(desired, FileSet) else ()
    left = {member.key: member for member in members if not member.refused or member.key in right}
    settled: _Settled = {}
    pairs = {
        key: _comparable_member(kind, left_member, right.get(key, left_member), settled)
        for key, left_member in left.items()
    }
    pairs |= {
        key: _comparable_member(kind, left_member, left_member, settled)
        for key, left_member in right.items()
        if key not in left
    }
    return {key: pairs[key][0] for key in left}, {key: pairs[key][1] for key in right}


def _accepted(value: Any) -> Iterator[Member]:
    members = value.members if isinstance(value, FileSet) else ()
    return (member for member in members if not member.refused)


_Settled = dict[tuple[int, ...], tuple[dict[str, Any], dict[str, Any]]]
"""Comparable forms of a member's settings, by the identities of the objects that hold them."""


def _comparable_member(
    kind: FileSetType, desired: Member, live: Member, settled: _Settled
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both sides of a member. If they are the same, both results are the same object, which makes
    the comparison cheap.

    Most members of a set have the same settings, so their normal forms are shared.
    """
    shared = (
        desired.attributes,
        live.attributes,
        desired.chunking_strategy,
        live.chunking_strategy,
    )
    # Identities suffice here: all objects stay alive during the comparison of one set.
    question = tuple(map(id, shared))
    if question not in settled:
        settled[question] = _attached(kind, desired, live)
    left, right = settled[question]
    asked, shown = desired.content, live.content
    wanted = left if asked is None else {"sha256": asked.sha256, **left}
    if left is right and (asked and asked.sha256) == (shown and shown.sha256):
        return wanted, wanted
    return wanted, right if shown is None else {"sha256": shown.sha256, **right}


def _attached(
    kind: FileSetType, desired: Member, live: Member
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a member on both sides; one shared value if they are the same."""
    left: dict[str, Any] = {}
    right: dict[str, Any] = {}
    for name, part in (
        ("attributes", kind.attributes),
        ("chunking_strategy", kind.chunking_strategy),
    ):
        asked, shown = comparable(part, getattr(desired, name), getattr(live, name))
        _put(left, name, asked)
        _put(right, name, shown)
    return (left, left) if same(left, right) else (left, right)
