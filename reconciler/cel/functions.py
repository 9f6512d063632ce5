"""The functions and operators that expressions can call. None of them reads or writes anything."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from reconciler.cel import values
from reconciler.cel.budget import Budget
from reconciler.cel.errors import EvaluationError
from reconciler.cel.values import NONE, Later, Optional, TypeName, integer, known, shown_type

Implementation = Callable[..., Any]


class Function(Struct, frozen=True):
    """A function: its implementation, which gets the budget first, and how many arguments it takes.

    `style` is `member` for `target.name()`, `global` for `name()`, or `both`.
    """

    call: Implementation
    least: int
    most: int
    style: str = "global"


def _wrong(name: str, *arguments: Any) -> EvaluationError:
    shown = ", ".join(map(shown_type, arguments))
    return EvaluationError(f"{name} cannot be used with {shown}")


# --- operators


def _is_integer(value: Any) -> bool:
    # To Python, a boolean is an integer.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_integer(value) or isinstance(value, float)


def add(budget: Budget, left: Any, right: Any) -> Any:
    """`left + right`."""
    if _is_integer(left) and _is_integer(right):
        return integer(left + right)
    if isinstance(left, str) and isinstance(right, str):
        budget.text(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        budget.items(len(left) + len(right))
        return [*left, *right]
    if isinstance(left, float) and isinstance(right, float):
        return left + right
    if isinstance(left, datetime | timedelta) and isinstance(right, datetime | timedelta):
        return _times(lambda: left + right, "+", left, right)  # type: ignore[operator]
    raise _wrong("+", left, right)


def subtract(_: Budget, left: Any, right: Any) -> Any:
    """`left - right`."""
    if _is_integer(left) and _is_integer(right):
        return integer(left - right)
    if isinstance(left, float) and isinstance(right, float):
        return left - right
    if isinstance(left, datetime | timedelta) and isinstance(right, datetime | timedelta):
        return _times(lambda: left - right, "-", left, right)  # type: ignore[operator]
    raise _wrong("-", left, right)


def _times(compute: Callable[[], Any], name: str, *arguments: Any) -> Any:
    try:
        return compute()
    except TypeError:
        raise _wrong(name, *arguments) from None
    except OverflowError:
        raise EvaluationError("the time is out of range") from None


def multiply(_: Budget, left: Any, right: Any) -> Any:
    """`left * right`."""
    if _is_integer(left) and _is_integer(right):
        return integer(left * right)
    if isinstance(left, float) and isinstance(right, float):
        return left * right
    raise _wrong("*", left, right)


def divide(_: Budget, left: Any, right: Any) -> Any:
    """`left / right`. Integers are rounded toward zero."""
    if _is_integer(left) and _is_integer(right):
        if right == 0:
            raise EvaluationError("division by zero")
        # Python rounds toward negative infinity.
        quotient = abs(left) // abs(right)
        return integer(quotient if (left < 0) == (right < 0) else -quotient)
    if isinstance(left, float) and isinstance(right, float):
        return _divide_doubles(left, right)
    raise _wrong("/", left, right)


def _divide_doubles(left: float, right: float) -> float:
    if right != 0.0:
        return left / right
    # Python raises ZeroDivisionError where IEEE 754, and so CEL, has infinities and NaN.
    if left == 0.0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def remainder(_: Budget, left: Any, right: Any) -> Any:
    """`left % right`, with the sign of `left`."""
    if not (_is_integer(left) and _is_integer(right)):
        raise _wrong("%", left, right)
    if right == 0:
        raise EvaluationError("division by zero")
    # Python gives the remainder the sign of `right`.
    rest = abs(left) % abs(right)
    return rest if left >= 0 else -rest


def negate(_: Budget, value: Any) -> Any:
    """`-value`."""
    if _is_integer(value):
        return integer(-value)
    if isinstance(value, float):
        return -value
    raise _wrong("-", value)


def order(name: str, left: Any, right: Any) -> tuple[Any, Any]:
    """Two values that can be compared. Raises EvaluationError."""
    is_same_type = type(left) is type(right) and isinstance(left, str | bool | datetime | timedelta)
    if is_same_type or (_is_number(left) and _is_number(right)):
        return left, right
    raise _wrong(name, left, right)


# --- texts


def _text(name: str, *arguments: Any) -> tuple[Any, ...]:
    if all(isinstance(argument, str) for argument in arguments):
        return arguments
    raise _wrong(name, *arguments)


def _of_text(name: str, method: Callable[..., Any]) -> Implementation:
    def call(budget: Budget, *arguments: Any) -> Any:
        texts = _text(name, *arguments)
        budget.text(sum(map(len, texts)))
        return method(*texts)

    return call


def _matches(budget: Budget, text: Any, pattern: Any) -> bool:
    _text("matches", text, pattern)
    return budget.matches(text, pattern)


def _split(budget: Budget, text: Any, separator: Any, limit: Any = -1) -> list[str]:
    text, separator = _text("split", text, separator)
    budget.text(len(text))
    if limit in (0, 1):
        return [text][:limit]
    most_cuts = limit - 1 if limit > 0 else -1
    parts = text.split(separator, most_cuts) if separator else list(text)
    budget.items(len(parts))
    return parts


def _join(budget: Budget, texts: Any, separator: Any = "") -> str:
    if not isinstance(texts, list):
        raise _wrong("join", texts)
    parts = _text("join", *(known(text) for text in texts))
    (separator,) = _text("join", separator)
    budget.text(sum(map(len, parts)) + len(separator) * len(parts))
    return str(separator.join(parts))


def _replace(budget: Budget, text: Any, old: Any, new: Any, limit: Any = -1) -> str:
    text, old, new = _text("replace", text, old, new)
    times = text.count(old)
    if _is_integer(limit) and limit >= 0:
        times = min(times, limit)
    # Before the text is made: a few replacements by a long text take all memory.
    budget.text(len(text) + times * max(len(new) - len(old), 0))
    return str(text.replace(old, new, times))


def _substring(budget: Budget, text: Any, begin: Any, end: Any = None) -> str:
    if not isinstance(text, str) or not _is_integer(begin):
        raise _wrong("substring", text, begin)
    stop = len(text) if end is None else end
    budget.text(len(text))
    if not _is_integer(stop) or not 0 <= begin <= stop <= len(text):
        raise EvaluationError(f"substring: {begin} to {stop} is outside of the text")
    return text[begin:stop]


# str.lower and str.upper would change letters beyond ASCII, which CEL leaves as they are.
_TO_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_TO_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)


def _lower(text: str) -> str:
    return text.translate(_TO_LOWER)


def _upper(text: str) -> str:
    return text.translate(_TO_UPPER)


# --- conversions


def _size(_: Budget, value: Any) -> int:
    if isinstance(value, str | list | Mapping) and not isinstance(value, TypeName):
        return len(value)
    raise _wrong("size", value)


def _to_int(_: Budget, value: Any) -> int:
    try:
        # Python reads 1_000 as a number, and takes quadratic time for a long one.
        if isinstance(value, str) and len(value) < 40 and "_" not in value:
            return integer(int(value))
        if isinstance(value, datetime):
            return int(value.timestamp())
        if _is_number(value):
            return integer(int(value))
    except (ValueError, OverflowError):
        pass
    raise _wrong("int", value)


def _to_double(_: Budget, value: Any) -> float:
    try:
        if isinstance(value, str) or _is_number(value):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise _wrong("double", value)


def text_of(value: Any) -> str:
    """The text of a value, as `string()` gives it. Raises EvaluationError for lists and maps."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value).removesuffix(".0")
        case str() | int():
            return str(value)
        case datetime():
            text = value.astimezone(UTC).isoformat().removesuffix("+00:00")
            if "." in text:
                text = text.rstrip("0")
            return f"{text}Z"
        case timedelta():
            return f"{value.total_seconds():f}".rstrip("0").rstrip(".") + "s"
    raise _wrong("string", value)


def _to_string(budget: Budget, value: Any) -> str:
    text = text_of(value)
    budget.text(len(text))
    return text


def _to_bool(_: Budget, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "True", "TRUE", "t", "1"):
        return True
    if value in ("false", "False", "FALSE", "f", "0"):
        return False
    raise _wrong("bool", value)


def _timestamp(_: Budget, value: Any) -> datetime:
    return value if isinstance(value, datetime) else values.timestamp(value)


def _duration(_: Budget, value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    _text("duration", value)
    return values.duration(value)


# --- times


def _part(name: str, read: Callable[[datetime], int]) -> Implementation:
    def call(_: Budget, value: Any) -> int:
        if not isinstance(value, datetime):
            raise _wrong(name, value)
        return read(value.astimezone(UTC))

    return call


def _clock(name: str, read: Callable[[datetime], int], unit: timedelta) -> Implementation:
    """For a timestamp, a part of its time; for a duration, its whole length in a unit."""

    def call(_: Budget, value: Any) -> int:
        if isinstance(value, timedelta):
            return int(value / unit)
        if isinstance(value, datetime):
            return read(value.astimezone(UTC))
        raise _wrong(name, value)

    return call


# --- optionals


def _has_value(_: Budget, value: Any) -> bool:
    if not isinstance(value, Optional):
        raise _wrong("hasValue", value)
    # Whether the value exists may be unknown too.
    if type(value.value) is Later and value.value.may_be_absent:
        known(value.value)
    return value.has_value


def _value(_: Budget, value: Any) -> Any:
    if not isinstance(value, Optional):
        raise _wrong("value", value)
    if not value.has_value:
        raise EvaluationError("the optional has no value: use orValue(…)")
    return known(value.value)


def _or_value(_: Budget, value: Any, default: Any) -> Any:
    if not isinstance(value, Optional):
        raise _wrong("orValue", value)
    return known(value.value) if value.has_value else default


def _extreme(name: str, choose: Callable[[list[Any]], Any]) -> Implementation:
    def call(budget: Budget, *arguments: Any) -> Any:
        numbers = list(arguments)
        if len(arguments) == 1 and isinstance(arguments[0], list):
            numbers = arguments[0]
        numbers = list(map(known, numbers))
        budget.spend(len(numbers))
        if not numbers or not all(map(_is_number, numbers)):
            raise _wrong(name, *arguments)
        return choose(numbers)

    return call


_HOUR, _MINUTE, _SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)

FUNCTIONS: Mapping[str, Function] = {
    "size": Function(_size, 1, 1, "both"),
    "contains": Function(_of_text("contains", lambda text, part: part in text), 2, 2, "member"),
    "startsWith": Function(_of_text("startsWith", str.startswith), 2, 2, "member"),
    "endsWith": Function(_of_text("endsWith", str.endswith), 2, 2, "member"),
    "matches": Function(_matches, 2, 2, "both"),
    "lowerAscii": Function(_of_text("lowerAscii", _lower), 1, 1, "member"),
    "upperAscii": Function(_of_text("upperAscii", _upper), 1, 1, "member"),
    "trim": Function(_of_text("trim", str.strip), 1, 1, "member"),
    "indexOf": Function(_of_text("indexOf", str.find), 2, 2, "member"),
    "split": Function(_split, 2, 3, "member"),
    "join": Function(_join, 1, 2, "member"),
    "replace": Function(_replace, 3, 4, "member"),
    "substring": Function(_substring, 2, 3, "member"),
    "int": Function(_to_int, 1, 1),
    "double": Function(_to_double, 1, 1),
    "string": Function(_to_string, 1, 1),
    "bool": Function(_to_bool, 1, 1),
    "timestamp": Function(_timestamp, 1, 1),
    "duration": Function(_duration, 1, 1),
    "dyn": Function(lambda _, value: value, 1, 1),
    "type": Function(lambda _, value: TypeName(values.type_of(value)), 1, 1),
    "getFullYear": Function(_part("getFullYear", lambda at: at.year), 1, 1, "member"),
    "getMonth": Function(_part("getMonth", lambda at: at.month - 1), 1, 1, "member"),
    "getDate": Function(_part("getDate", lambda at: at.day), 1, 1, "member"),
    "getDayOfMonth": Function(_part("getDayOfMonth", lambda at: at.day - 1), 1, 1, "member"),
    "getDayOfWeek": Function(
        _part("getDayOfWeek", lambda at: (at.weekday() + 1) % 7), 1, 1, "member"
    ),
    "getDayOfYear": Function(
        _part("getDayOfYear", lambda at: at.timetuple().tm_yday - 1), 1, 1, "member"
    ),
    "getHours": Function(_clock("getHours", lambda at: at.hour, _HOUR), 1, 1, "member"),
    "getMinutes": Function(_clock("getMinutes", lambda at: at.minute, _MINUTE), 1, 1, "member"),
    "getSeconds": Function(_clock("getSeconds", lambda at: at.second, _SECOND), 1, 1, "member"),
    "hasValue": Function(_has_value, 1, 1, "member"),
    "value": Function(_value, 1, 1, "member"),
    "orValue": Function(_or_value, 2, 2, "member"),
    "optional.of": Function(lambda _, value: Optional(value), 1, 1),
    "optional.none": Function(lambda _: NONE, 0, 0),
    "math.greatest": Function(_extreme("math.greatest", max), 1, 50),
    "math.least": Function(_extreme("math.least", min), 1, 50),
}
"""All functions by name. Operators are in `compiler`."""
