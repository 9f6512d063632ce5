"""Validates values against schemas, and explains each violation in a sentence.

All problems are reported at once, each at the most specific location. The standard validator is
extended in two ways. Values that are known only after apply satisfy every keyword. And if a schema
names the property that discriminates its variants, only the selected variant is checked, which keeps
errors specific and long lists fast.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from reconciler.manifests.fast_validation import LATER, has_exactly_one, predicate
from reconciler.model.diagnostic import Severity, nearest
from reconciler.model.paths import Trail, dotted
from reconciler.model.secret import Redactor

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_MOST_LISTED = 20
"""How many fields a message lists."""

_redact_shapes = Redactor()
_NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
    "string": "text",
    "null": "null",
}


class SchemaViolation(Struct, frozen=True):
    """One problem of a value. `at_key` if the key is wrong instead of the value."""

    trail: Trail
    summary: str
    detail: str
    at_key: bool = False
    severity: Severity = Severity.ERROR


class Checker:
    """A compiled schema.

    If it takes long to make, `schema` is a function that returns it, and `usual` a smaller schema
    that accepts nothing else and most of the usual values.
    """

    def __init__(
        self,
        schema: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        *,
        usual: Mapping[str, Any] | None = None,
    ) -> None:
        self._given = schema
        self._is_usual = None if usual is None else predicate(usual)

    @cached_property
    def _schema(self) -> Mapping[str, Any]:
        return self._given() if callable(self._given) else self._given

    @cached_property
    def _accepts(self) -> Callable[[Any], bool]:
        return predicate(self._schema)

    @cached_property
    def _validator(self) -> Any:
        return _validator_class()(self._schema)

    def violations(self, value: Any, above: Trail = ()) -> Iterator[SchemaViolation]:
        """The violations of the schema by a value at the path `above` in its document."""
        if (self._is_usual is not None and self._is_usual(value)) or self._accepts(value):
            return
        for error in self._validator.iter_errors(value):
            yield _violation(error, (*above, *error.absolute_path))


_class: Any = None


def _validator_class() -> Any:
    global _class  # made on first use, since importing the library takes as long as a small run
    if _class is None:
        from jsonschema import Draft202012Validator, validators

        extend: Any = validators.extend
        keywords = {}
        for name, keyword in Draft202012Validator.VALIDATORS.items():
            keywords[name] = _passing_over(keyword)
        # Our own versions report one problem per name, with the name as the message.
        keywords["const"] = _const
        keywords["required"] = _required
        keywords["exactlyOne"] = _exactly_one
        keywords["properties"] = _properties
        keywords["additionalProperties"] = _additional_properties
        keywords["discriminator"] = _discriminator
        keywords["allOf"] = _unless_discriminated(keywords["allOf"])
        _class = extend(Draft202012Validator, keywords)
    return _class


def _passing_over(keyword: Callable[..., Any]) -> Callable[..., Any]:
    def check(validator: Any, limit: Any, instance: Any, schema: Any) -> Any:
        if isinstance(instance, LATER):
            return ()
        return keyword(validator, limit, instance, schema)

    return check


def _unless_discriminated(keyword: Callable[..., Any]) -> Callable[..., Any]:
    def check(validator: Any, branches: Any, instance: Any, schema: Any) -> Any:
        if "discriminator" in schema:
            return ()
        return keyword(validator, branches, instance, schema)

    return check


def _error(message: str) -> ValidationError:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)


def _const(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:  # noqa: ARG001
    if (
        isinstance(instance, LATER)
        or instance != wanted
        or isinstance(instance, bool) != isinstance(wanted, bool)
    ):
        yield _error(str(wanted))


def _required(validator: Any, names: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:  # noqa: ARG001
    if isinstance(instance, dict):
        for name in names:
            if name not in instance:
                yield _error(name)


def _exactly_one(
    validator: Any,  # noqa: ARG001
    names: Any,
    instance: Any,
    schema: Any,  # noqa: ARG001
) -> Iterator[ValidationError]:
    if isinstance(instance, dict) and not has_exactly_one(names, instance):
        yield _error(" or ".join(f'"{name}"' for name in names))


def _properties(
    validator: Any,
    properties: Any,
    instance: Any,
    schema: Any,  # noqa: ARG001
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name, element in instance.items():
            part = properties.get(name)
            if part is not None and part is not True and not isinstance(element, LATER):
                yield from validator.descend(element, part, path=name, schema_path=name)


def _additional_properties(
    validator: Any, other: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known = schema.get("properties", {})
    for name, element in instance.items():
        if name in known:
            continue
        if other is False:
            yield _error(name)
        else:
            yield from validator.descend(element, other, path=name)


def _discriminator(
    validator: Any, rule: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    tag = rule["propertyName"]
    variant = instance.get(tag) if isinstance(instance, dict) else None
    # An unknown tag selects none: the enum of the tag's property reports it.
    for branch in schema["allOf"]:
        if branch["if"]["properties"][tag]["const"] == variant:
            yield from validator.descend(instance, branch["then"])


def _violation(error: ValidationError, trail: Trail) -> SchemaViolation:
    # The instance of such an error is the key, and its path is that of the map.
    if "propertyNames" in list(error.relative_schema_path)[-2:-1]:
        violation = _worded(error, (*trail, str(error.instance)))
        return SchemaViolation(violation.trail, violation.summary, violation.detail, at_key=True)
    return _worded(error, trail)


def _worded(error: ValidationError, trail: Trail) -> SchemaViolation:
    word = _WORDS.get(str(error.validator))
    if word is None:
        return SchemaViolation(
            trail, "Not valid", f"{_name(trail)}: {shortened(error.instance)} is not accepted."
        )
    return word(error, trail)


def _type(error: ValidationError, trail: Trail) -> SchemaViolation:
    if error.instance is None:
        return SchemaViolation(
            trail, "Null is not allowed", f"Omit {_name(trail)}, or give it a value."
        )
    limit: Any = error.validator_value
    types = [limit] if isinstance(limit, str) else limit
    # Null is accepted, but the author of a wrong value never means null.
    wanted = [_NAMES[name] for name in types if name != "null"]
    separator = " or "
    if "true or false" in wanted:
        separator = ", or "
    expected = separator.join(wanted)
    quotes = ""
    # YAML reads an unquoted 1.10 or true as another type than the text that was meant.
    if wanted == ["text"] and not isinstance(error.instance, dict | list):
        quotes = " Put it in quotes."
    shown = shortened(error.instance)
    return SchemaViolation(
        trail, "Wrong type", f"{_name(trail)} must be {expected}; found {shown}.{quotes}"
    )


def _enum(error: ValidationError, trail: Trail) -> SchemaViolation:
    choices = [str(choice) for choice in error.validator_value if choice is not None]  # type: ignore[union-attr]
    value = error.instance
    guess = nearest(value, choices) if isinstance(value, str) else ""
    listed = ", ".join(f'"{choice}"' for choice in choices)
    return SchemaViolation(
        trail, "Unknown value", f"{_name(trail)} is {shortened(value)}; expected {listed}.{guess}"
    )


def _wrong_constant(error: ValidationError, trail: Trail) -> SchemaViolation:
    return SchemaViolation(
        trail,
        "Unknown value",
        f'{_name(trail)} is {shortened(error.instance)}; expected "{error.message}".',
    )


def _pattern(error: ValidationError, trail: Trail) -> SchemaViolation:
    schema: Any = error.schema
    wanted = schema.get("patternErrorMessage") or f"It must match {error.validator_value}."
    return SchemaViolation(
        trail, "Invalid format", f"{_name(trail)} is {shortened(error.instance)}. {wanted}"
    )


def _missing(error: ValidationError, trail: Trail) -> SchemaViolation:
    return SchemaViolation(
        trail, f'Missing "{error.message}"', f"{_name(trail)} requires it.", at_key=True
    )


def _not_exactly_one(error: ValidationError, trail: Trail) -> SchemaViolation:
    return SchemaViolation(
        trail,
        f"Write exactly one of {error.message}",
        f"{_name(trail)} requires exactly one of them.",
    )


def _unknown_key(error: ValidationError, trail: Trail) -> SchemaViolation:
    schema: Any = error.schema
    name, known = error.message, list(schema.get("properties", {}))
    comment = schema.get("$comment", "")
    guess = nearest(name, known).strip()
    if not comment and not guess and 0 < len(known) <= _MOST_LISTED:
        comment = f"Known fields: {', '.join(known)}."
    detail = f'{_name(trail)} has no field "{name}".'
    detail = " ".join(filter(None, (detail, guess, comment)))
    return SchemaViolation((*trail, name), f'Unknown field "{name}"', detail, at_key=True)


def _bound(phrase: str) -> Callable[[ValidationError, Trail], SchemaViolation]:
    def word(error: ValidationError, trail: Trail) -> SchemaViolation:
        limit: Any = error.validator_value
        bound = phrase.format(f"{limit:,}")
        return SchemaViolation(
            trail, "Out of range", f"{_name(trail)} is {shortened(error.instance)}; {bound}."
        )

    return word


def _length(phrase: str, unit: str) -> Callable[[ValidationError, Trail], SchemaViolation]:
    def word(error: ValidationError, trail: Trail) -> SchemaViolation:
        limit, instance = error.validator_value, error.instance
        summary = "Wrong length"
        if unit != "character" and phrase == "maximum":
            summary = "Too many"
        count = f"{len(instance):,}"  # type: ignore[arg-type]
        units = unit if count == "1" else f"{unit}s"
        comment: Any = error.schema.get("$comment", "")  # type: ignore[union-attr]
        detail = f"{_name(trail)} has {count} {units}; the {phrase} is {limit:,}."
        return SchemaViolation(trail, summary, f"{detail} {comment}".strip())

    return word


_WORDS: dict[str, Callable[[Any, Trail], SchemaViolation]] = {
    "type": _type,
    "enum": _enum,
    "const": _wrong_constant,
    "pattern": _pattern,
    "required": _missing,
    "exactlyOne": _not_exactly_one,
    "additionalProperties": _unknown_key,
    "minimum": _bound("the minimum is {}"),
    "maximum": _bound("the maximum is {}"),
    "exclusiveMinimum": _bound("it must be greater than {}"),
    "minLength": _length("minimum", "character"),
    "maxLength": _length("maximum", "character"),
    "minItems": _length("minimum", "item"),
    "maxItems": _length("maximum", "item"),
    "minProperties": _length("minimum", "pair"),
    "maxProperties": _length("maximum", "pair"),
}


def shortened(value: Any, most: int = 40) -> str:
    """A value as messages quote it, limited in length."""
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        value = _redact_shapes(value)  # before it is cut, because half a key has no shape
        if len(value) > most:
            value = value[: most - 1] + "…"
        return json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return str(value)


def _name(trail: Trail) -> str:
    return dotted(trail) or "the document"
