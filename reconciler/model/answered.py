"""Incomplete and malformed answers: missing parts, and values of the wrong type.

A missing part is unknown, which is not null: no conclusion may be drawn from it. A value of the
wrong type means that the API, or something in between, is broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.model.comparing import comparable, same
from reconciler.model.types import (
    Boolean,
    Either,
    Integer,
    ListOf,
    MapOf,
    Number,
    Object,
    Scalar,
    Tagged,
    Text,
    Type,
)
from reconciler.model.values import MAP

_EXPECTED: dict[type, str] = {
    Text: "text",
    Integer: "a whole number",
    Number: "a number",
    Boolean: "true or false",
    Scalar: "text, a number, true or false",
    ListOf: "a list",
    MapOf: "an object",
    Object: "an object",
    Tagged: "an object",
}


class Comparison(NamedTuple):
    """A desired value beside an answer."""

    misfit: str
    """The phrase from `misfit` about the answer. If it is not empty, the other values are
    meaningless.
    """
    shown: Any
    """The answer, completed with known parts."""
    after: Any
    """The desired value in normal form."""
    before: Any
    """The completed answer in normal form."""


class Comparisons:
    """A cache of comparisons with answers, for many objects with the same settings.

    Results are shared and must not be modified.
    """

    _MOST = 200

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], tuple[Type, Comparison]] = {}

    def __call__(
        self, kind: Type, desired: Any, shown: Any, known: Any, path: str = ""
    ) -> Comparison:
        """The comparison of two values, where `known` completes the answer. `path` starts the phrase
        about a misfit."""
        if not isinstance(desired, dict | list):  # quick enough, or large and hardly ever the same
            return _compared(kind, desired, shown, known, path)
        # By text instead of identity: live values are new objects for every resource. The entry
        # holds the kind, so that its id cannot be reused.
        question = (id(kind), path, f"{desired!r} {shown!r} {known!r}")
        earlier = self._known.get(question)
        if earlier is not None:
            return earlier[1]
        # Values of one configuration either repeat or never do. A bounded table limits memory in
        # the second case.
        if len(self._known) >= self._MOST:
            self._known.clear()
        comparison = _compared(kind, desired, shown, known, path)
        self._known[question] = (kind, comparison)
        return comparison


def _compared(kind: Type, desired: Any, shown: Any, known: Any, path: str) -> Comparison:
    wrong = misfit(kind, shown, path)
    if wrong:
        return Comparison(wrong, shown, desired, shown)
    completed = with_missing(kind, shown, known)
    return Comparison("", completed, *comparable(kind, desired, completed, known))


def with_missing(kind: Type, shown: Any, known: Any) -> Any:
    """An answer completed with known values for the parts that it lacks.

    Null is not missing. Parts that answers never contain (`with_hidden`) are not missing either.
    """
    match kind:
        case Object() if isinstance(shown, MAP):
            return _object_with_missing(kind, shown, known if isinstance(known, MAP) else {})
        case Tagged() if isinstance(shown, MAP) and isinstance(known, MAP):
            tag = known.get(kind.tag)
            if shown.get(kind.tag, tag) != tag:
                return shown
            variant = kind.variants.get(str(tag), Object(()))
            return _object_with_missing(variant, {kind.tag: tag, **shown}, known)
        case MapOf() if isinstance(shown, MAP) and isinstance(known, MAP):
            return {
                key: with_missing(kind.value, element, known.get(key))
                for key, element in shown.items()
            }
        case ListOf() if (
            isinstance(shown, list) and isinstance(known, list | tuple) and len(shown) == len(known)
        ):
            partners = known
            if kind.unordered:
                partners = [_partner(element, known, at) for at, element in enumerate(shown)]
            return [
                with_missing(kind.item, element, other)
                for element, other in zip(shown, partners, strict=True)
            ]
        case Text() if (
            isinstance(shown, MAP) and kind.inside is not None and kind.inside not in shown
        ):
            return shown if known is None else known
        case Either():
            spelt = known
            if kind.as_other is not None and isinstance(known, str):
                spelt = kind.as_other(known)
            return with_missing(kind.other, shown, spelt)
    return shown


def _object_with_missing(
    kind: Object, shown: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    result = dict(shown)
    for part in kind.properties:
        before = known.get(part.name)
        if before is None and _is_untagged(part.type, result.get(part.name)):
            # Without its tag, the part cannot be identified, so it counts as missing.
            del result[part.name]
        elif part.name in result:
            result[part.name] = with_missing(part.type, result[part.name], before)
        elif before is not None and not part.is_hidden:
            result[part.name] = before
    return result


def _is_untagged(kind: Type, shown: Any) -> bool:
    return isinstance(kind, Tagged) and isinstance(shown, MAP) and kind.tag not in shown


def _partner(shown: Any, known: Sequence[Any], index: int) -> Any:
    """The known item that shares the most values with an item of an unordered list.

    Ties go to the item at the same index, because most answers keep the order.
    """
    if not isinstance(shown, MAP):
        return None
    if not shown:
        return known[index]
    best, most = None, 0
    for position in (index, *range(len(known))):
        candidate = known[position]
        shared = 0
        if isinstance(candidate, MAP):
            shared = sum(same(value, candidate.get(key)) for key, value in shown.items())
        if shared > most:
            best, most = candidate, shared
    return best


def misfit(kind: Type, value: Any, path: str = "") -> str:
    """A phrase about a value of the wrong type, such as `.days is text, not a whole number`; empty
    if the type is right.

    Null always fits. So does anything where the type is free JSON.
    """
    # The API answers null for most parts that were not sent, whatever its description says.
    if value is None:
        return ""
    match kind:
        case Object() | MapOf() if isinstance(value, MAP):
            return _first_misfit(kind, value, path)
        case ListOf() if isinstance(value, list | tuple):
            return _first_misfit(kind, value, path)
        case Tagged() if isinstance(value, MAP):
            tag = value.get(kind.tag)
            if tag is not None and not isinstance(tag, str):
                return f"{path}.{kind.tag} is {_named(tag)}, not text"
            # A variant that this version does not know fits: new tools and methods appear at the
            # API without notice.
            return misfit(kind.variants.get(str(tag), Object(())), value, path)
        case Either():
            plain = misfit(kind.text, value, path)
            return plain and misfit(kind.other, value, path)
        case Text() if isinstance(value, MAP) and kind.inside is not None:
            return ""
    expected = _EXPECTED.get(type(kind), "")
    if expected and not _is_plainly(kind, value):
        return f"{path} is {_named(value)}, not {expected}"
    return ""


def _first_misfit(kind: Object | MapOf | ListOf, value: Any, path: str) -> str:
    for inner, part, trail in _parts(kind, value, path):
        problem = misfit(inner, part, trail)
        if problem:
            return problem
    return ""


def _parts(kind: Object | MapOf | ListOf, value: Any, path: str) -> Iterator[tuple[Type, Any, str]]:
    """The parts of an answered value, each with its type and its path."""
    match kind:
        case Object(properties):
            # Parts that no property declares are new at the API, and no problem.
            for declared in properties:
                if declared.name in value:
                    yield declared.type, value[declared.name], f"{path}.{declared.name}"
        case MapOf(value=inner):
            for key, element in value.items():
                yield inner, element, f"{path}.{key}"
        case ListOf(item=inner):
            for index, element in enumerate(value):
                yield inner, element, f"{path}[{index}]"


def _is_plainly(kind: Type, value: Any) -> bool:
    match kind:
        case Text():
            return isinstance(value, str)
        case Boolean():
            return isinstance(value, bool)
        case Integer():
            # The API answers 3.0 for some integers that were sent as 3.
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case Number():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case Scalar():
            return isinstance(value, str | int | float)
    return False  # maps and lists were dealt with


def is_sendable(kind: Type, value: Any) -> bool:
    """Whether an answered value can be sent back. Some values only the server assigns, such as the
    role `none`."""
    match kind:
        case Text(choices=choices) if choices and not kind.open_choices and isinstance(value, str):
            return value in choices
        case Object() if isinstance(value, MAP):
            return all(is_sendable(part.type, value.get(part.name)) for part in kind.properties)
        case Tagged() if isinstance(value, MAP):
            variant = kind.variants.get(str(value.get(kind.tag)))
            return variant is not None and is_sendable(variant, value)
        case ListOf() if isinstance(value, list | tuple):
            return all(is_sendable(kind.item, element) for element in value)
        case MapOf() if isinstance(value, MAP):
            return all(is_sendable(kind.value, element) for element in value.values())
        case Either():
            plain = isinstance(value, str) and is_sendable(kind.text, value)
            return plain or (not isinstance(value, str) and is_sendable(kind.other, value))
    return True


def _named(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"
