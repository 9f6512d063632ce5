"""Building blocks for strict validation of request bodies.

A check is a function of a value and its path. It returns the value in its stored form, or raises an
error in the wording of the real API. Checks are composed from checks, so a route declares its whole
body as one expression: `BODY = fields({"model": text()}, {"name": nullable(text(maximum=256))})`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.emulator.errors import ErrorAnswer, bad_request

Check = Callable[[Any, str], Any]

_NAMES = {
    "NoneType": "null",
    "bool": "a boolean",
    "int": "an integer",
    "float": "a decimal",
    "str": "a string",
    "list": "an array",
    "dict": "an object",
}


def wrong_type(value: Any, place: str, expected: str) -> ErrorAnswer:
    got = _NAMES[type(value).__name__]
    got = got if got == "null" else f"{got} instead"
    return bad_request(
        f"Invalid type for '{place}': expected {expected}, but got {got}.",
        param=place,
        code="invalid_type",
    )


def invalid_value(value: str, place: str, supported: tuple[str, ...]) -> ErrorAnswer:
    listed = [f"'{item}'" for item in supported]
    text = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])}, and {listed[-1]}"
    return bad_request(
        f"Invalid value: '{value}'. Supported values are: {text}.",
        param=place,
        code="invalid_value",
    )


def text(*, minimum: int = 0, maximum: int | None = None, pattern: str | None = None) -> Check:
    """A string with limits on its length and alphabet."""

    def check(value: Any, place: str) -> str:
        if not isinstance(value, str):
            raise wrong_type(value, place, "a string")
        if len(value) < minimum:
            raise _bound(
                place,
                "string",
                "short",
                "minimum length",
                minimum,
                len(value),
                "string_below_min_length",
            )
        if maximum is not None and len(value) > maximum:
            raise _bound(
                place,
                "string",
                "long",
                "maximum length",
                maximum,
                len(value),
                "string_above_max_length",
            )
        if pattern is not None and not re.fullmatch(pattern, value):
            raise bad_request(
                f"Invalid '{place}': string does not match pattern. "
                f"Expected a string that matches the pattern '^{pattern}$'.",
                param=place,
                code="invalid_value",
            )
        return value

    return check


def _bound(
    place: str, what: str, how: str, bound: str, limit: int, got: int, code: str
) -> ErrorAnswer:
    article = "an" if what == "array" else "a"
    return bad_request(
        f"Invalid '{place}': {what} too {how}. Expected {article} {what} with {bound} {limit}, "
        f"but got {article} {what} with length {got} instead.",
        param=place,
        code=code,
    )


def integer(minimum: int | None = None, maximum: int | None = None) -> Check:
    def check(value: Any, place: str) -> int:
        # JSON has one number type, so 3.0 equals 3; booleans are not numbers, unlike in Python.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(value, place, "an integer")
        _check_range(value, place, "integer", minimum, maximum)
        return value

    return check


def number(minimum: float, maximum: float | None = None) -> Check:
    def check(value: Any, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, place, "a decimal")
        _check_range(value, place, "decimal", minimum, maximum)
        return float(value)

    return check


def _check_range(
    value: float, place: str, what: str, minimum: float | None, maximum: float | None
) -> None:
    if minimum is not None and not value >= minimum:
        how, sign, limit = "below minimum", ">=", minimum
    elif maximum is not None and not value <= maximum:
        how, sign, limit = "above maximum", "<=", maximum
    else:
        return
    code = f"{what}_below_min_value" if sign == ">=" else f"{what}_above_max_value"
    raise bad_request(
        f"Invalid '{place}': {what} {how} value. Expected a value {sign} {limit}, but got {value} instead.",
        param=place,
        code=code,
    )


def boolean() -> Check:
    def check(value: Any, place: str) -> bool:
        if not isinstance(value, bool):
            raise wrong_type(value, place, "a boolean")
        return value

    return check


def choice(*supported: str) -> Check:
    def check(value: Any, place: str) -> str:
        if not isinstance(value, str):
            raise wrong_type(value, place, f"one of {', '.join(repr(item) for item in supported)}")
        if value not in supported:
            raise invalid_value(value, place, supported)
        return value

    return check


def listed(item: Check, *, minimum: int = 0, maximum: int | None = None) -> Check:
    def check(value: Any, place: str) -> list[Any]:
        if not isinstance(value, list):
            raise wrong_type(value, place, "an array")
        if len(value) < minimum:
            raise _bound(
                place,
                "array",
                "short",
                "minimum length",
                minimum,
                len(value),
                "array_below_min_length",
            )
        if maximum is not None and len(value) > maximum:
            raise _bound(
                place,
                "array",
                "long",
                "maximum length",
                maximum,
                len(value),
                "array_above_max_length",
            )
        return [item(element, f"{place}[{index}]") for index, element in enumerate(value)]

    return check


def nullable(inner: Check) -> Check:
    return lambda value, place: None if value is None else inner(value, place)


def anything(value: Any, place: str) -> Any:  # noqa: ARG001 - the signature of every check
    return value


def mapping(value: Any, place: str) -> dict[str, Any]:
    """A free-form object, such as a JSON Schema."""
    if not isinstance(value, dict):
        raise wrong_type(value, place, "an object")
    return value


def fields(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with known keys; unknown and missing keys are refused. Optional keys that were not sent stay absent."""
    known = {**required, **(optional or {})}

    def check(value: Any, place: str) -> dict[str, Any]:
        mapping(value, place)
        prefix = f"{place}." if place else ""
        for name in value:
            if name not in known:
                raise bad_request(
                    f"Unknown parameter: '{prefix}{name}'.",
                    param=prefix + name,
                    code="unknown_parameter",
                )
        for name in required:
            if name not in value:
                raise bad_request(
                    f"Missing required parameter: '{prefix}{name}'.",
                    param=prefix + name,
                    code="missing_required_parameter",
                )
        return {name: known[name](item, prefix + name) for name, item in value.items()}

    return check


def tagged(variants: Mapping[str, Check]) -> Check:
    """An object whose `type` selects one of several shapes."""
    tag = fields({"type": choice(*variants)})

    def check(value: Any, place: str) -> dict[str, Any]:
        sent = mapping(value, place)
        kind = tag({"type": sent["type"]} if "type" in sent else {}, place)["type"]
        result: dict[str, Any] = variants[kind](sent, place)
        return result

    return check


def _pairs(values: Check, *, maximum: int = 16) -> Check:
    def check(value: Any, place: str) -> dict[str, Any]:
        sent = mapping(value, place)
        if len(sent) > maximum:
            raise bad_request(
                f"Invalid '{place}': too many properties. Expected an object with at most {maximum} properties, "
                f"but got an object with {len(sent)} properties instead.",
                param=place,
                code="object_above_max_properties",
            )
        for name in sent:
            text(maximum=64)(name, f"{place}.{name}" if len(name) <= 64 else place)
        return {name: values(item, f"{place}.{name}") for name, item in sent.items()}

    return check


metadata: Check = _pairs(text(maximum=512))
"""Up to 16 pairs; keys up to 64 characters, values are strings of up to 512."""


def _attribute(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return text(maximum=512)(value, place)
    if isinstance(value, bool | int | float):
        return value
    raise wrong_type(value, place, "one of a string, a number, or a boolean")


attributes: Check = _pairs(_attribute)
"""Like metadata, with numbers and booleans allowed as values."""
