"""Values of expressions: JSON, timestamps, durations, optionals, and values that are not known yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.cel.errors import EvaluationError, UndecidedError

MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)


class Later:
    """A value that is not known yet, at any depth of a value.

    `source` describes its origin for messages. If it `may_be_absent`, it is not even known whether
    the map that contains it has the key.
    """

    __slots__ = ("may_be_absent", "source")

    def __init__(self, source: str, *, may_be_absent: bool = False) -> None:
        self.source = source
        self.may_be_absent = may_be_absent

    def __repr__(self) -> str:
        return f"Later({self.source!r})"


class Optional:
    """The result of `.?` and `[?]`: a value or none."""

    __slots__ = ("has_value", "value")

    def __init__(self, value: Any, *, has_value: bool = True) -> None:
        self.value = value
        self.has_value = has_value


class TypeName(str):
    """The result of `type()`."""

    __slots__ = ()


NONE = Optional(None, has_value=False)
TYPES = ("bool", "int", "double", "string", "list", "map", "null_type", "type")


def known(value: Any) -> Any:
    """The value itself. Raises UndecidedError if it is not known yet."""
    if type(value) is Later:
        raise UndecidedError(value.source)
    return value


def has_key(container: Mapping[Any, Any], key: Any) -> bool:
    """Whether a map has a key. Raises UndecidedError if that is not known yet."""
    if key not in container:
        return False
    value = container[key]
    if type(value) is Later and value.may_be_absent:
        raise UndecidedError(value.source)
    return True


def type_of(value: Any) -> str:
    """The name of a value's type."""
    match value:
        case None:
            return "null_type"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "double"
        case TypeName():
            return "type"
        case str():
            return "string"
        case Mapping():
            return "map"
        case datetime():
            return "google.protobuf.Timestamp"
        case timedelta():
            return "google.protobuf.Duration"
        case Optional():
            return "optional_type"
    return "list"


def shown_type(value: Any) -> str:
    """The name of a value's type in messages."""
    return type_of(value).removeprefix("google.protobuf.").lower().removesuffix("_type")


def integer(value: int) -> int:
    """The value, if it fits into 64 bits."""
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise EvaluationError("integer overflow")
    return value


_SAME = frozenset((str, int, bool, float, type(None)))


def equal(left: Any, right: Any, spend: Callable[[int], None]) -> bool:
    """Whether two values are equal. Values of different types differ, except for numbers.

    Raises UndecidedError if that depends on a value that is not known yet.
    """
    kind = type(left)
    if kind is type(right) and kind in _SAME:
        return bool(left == right)
    known(left)
    known(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return False  # to Python, True is 1
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    if isinstance(left, list) and isinstance(right, list):
        pairs = zip(left, right, strict=False)
        return len(left) == len(right) and _all_equal(pairs, len(left), spend)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if left.keys() != right.keys():
            return False
        return _all_equal(((left[key], right[key]) for key in left), len(left), spend)
    if isinstance(left, Optional) and isinstance(right, Optional):
        if left.has_value and right.has_value:
            return equal(left.value, right.value, spend)
        return left.has_value == right.has_value
    if isinstance(left, TypeName) is not isinstance(right, TypeName):
        return False
    # By class, not by type: a TypeName is a text. Two different classes are never equal.
    for comparable in (str, datetime, timedelta):
        if isinstance(left, comparable) and isinstance(right, comparable):
            return bool(left == right)
    return False


def _all_equal(pairs: Any, length: int, spend: Callable[[int], None]) -> bool:
    """Whether all pairs are equal. A pair that differs decides, whatever the others are."""
    # Before the pairs are compared, because a shared part counts each time that it is reached.
    spend(1 + length)
    undecided = None
    for left, right in pairs:
        try:
            if not equal(left, right, spend):
                return False
        except UndecidedError as error:
            undecided = undecided or error
    if undecided is not None:
        raise undecided
    return True


def contains(item: Any, container: Any, spend: Callable[[int], None]) -> bool:
    """`item in container`: the items of a list or the keys of a map."""
    known(item)
    if isinstance(container, Mapping):
        return _is_key(item) and has_key(container, item)
    if not isinstance(container, list):
        known(container)
        raise EvaluationError(f"in needs a list or a map, not {shown_type(container)}")
    spend(1 + len(container) // 8)
    undecided = None
    for element in container:
        try:
            if equal(item, element, spend):
                return True
        except UndecidedError as error:
            undecided = undecided or error
    if undecided is not None:
        raise undecided
    return False


def _is_key(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(h|ms|m|s|us|µs|ns)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


def duration(text: str) -> timedelta:
    """A duration such as `72h` or `1h30m`. Raises EvaluationError."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text)
    parts = _DURATION.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise EvaluationError(f"{text[:40]!r} is not a duration: write 72h, 30m or 10s")
    total = timedelta()
    try:
        for number, unit in parts:
            total += timedelta(seconds=float(number) * _SECONDS[unit])
        return sign * total
    except OverflowError:
        raise EvaluationError("the duration is too long") from None


def timestamp(value: Any) -> datetime:
    """A time from RFC 3339 text, or from Unix seconds. Raises EvaluationError."""
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        match = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
        if match is not None:
            day, clock, fraction, zone = match.groups(default="")
            # Python has microseconds, and RFC 3339 permits any number of digits.
            return datetime.fromisoformat(f"{day}T{clock}{fraction[:7]}{zone.upper()}")
    except (ValueError, OverflowError, OSError):
        pass
    shown = repr(value)[:40] if isinstance(value, str | int) else shown_type(value)
    raise EvaluationError(
        f"{shown} is not a timestamp: write 2027-01-31T00:00:00Z, or seconds since 1970",
    )
