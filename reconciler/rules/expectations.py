"""What an answer must be: how a check says it, what is wrong with how it says it, and whether an answer is so.

Answers are of unknown origin. They are compared here and nothing else: what a finding quotes of one is short, and is
made harmless by whoever prints it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from reconciler.model.checking import Finding
from reconciler.model.rule import Flaw
from reconciler.model.types import Boolean, Either, Integer, Json, ListOf, MapOf, Number, Object, Property, Scalar, Text
from reconciler.model.values import Reference, Spec, Template, Unknown

_QUOTED = 160
_SEARCHED = 100_000
"""How much of a text an expression is held against: a manifest must not keep a run busy for hours."""

_LATER = (Reference, Template, Unknown)

_TESTS = (
    Property("equals", Json(), "The value, as JSON has it."),
    Property("not_equals", Json(), "Anything but this value."),
    Property("one_of", ListOf(Json(), min_items=1), "One of these values."),
    Property("contains", Scalar(), "A part of a text, or an item of a list."),
    Property("not_contains", Scalar(), "What is no part of a text, and no item of a list."),
    Property("matches", Text(), "A regular expression that is found somewhere in a text."),
    Property("not_matches", Text(), "A regular expression that is found nowhere in a text."),
    Property("less_than", Number(), "The number is smaller."),
    Property("at_most", Number(), "The number is smaller, or the same."),
    Property("more_than", Number(), "The number is larger."),
    Property("at_least", Number(), "The number is larger, or the same."),
    Property("exists", Boolean(), "Whether there is a value at all; null is none."),
)

EXPECT = Object(
    (
        Property("status", Integer(100, 599), "The HTTP status of the answer.", default=200),
        Property(
            "values",
            MapOf(Either(Scalar(), Object(_TESTS))),
            "JMESPath expressions of the answer, each with what it comes to: a value, or tests that all hold.",
        ),
        Property("schema", Json(empty={}), "A JSON Schema (draft 2020-12) that the answer satisfies."),
        Property("latency_seconds", Number(minimum=0), "How long the answer may take at most."),
    )
)
"""The type of a check's `expect`."""


class Reply(Struct, frozen=True):
    """An answer as it is judged: JSON with its secrets masked, or what is known of an answer that is no JSON."""

    status: int
    body: Any
    seconds: float


# --- how it is said ---------------------------------------------------------------------------------------------------


def flaws_of(expect: Spec) -> Iterator[Flaw]:
    """What is wrong with expectations, whatever the answer will be."""
    values = expect.get("values")
    for expression, test in values.items() if isinstance(values, Mapping) else ():
        yield from _flaws_of_value(expression, test)
    schema = expect.get("schema")
    if isinstance(schema, Mapping):
        yield from _flaws_of_schema(schema)


def _flaws_of_value(expression: str, test: Any) -> Iterator[Flaw]:
    import jmespath
    from jmespath.exceptions import JMESPathError

    trail = ("values", expression)
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        yield Flaw(trail, "Not a JMESPath expression", f"{_first_line(error)}.", at_key=True)
    if not isinstance(test, Mapping):
        return
    if not test:
        yield Flaw(trail, "Nothing is expected", f"Say what it comes to: {', '.join(part.name for part in _TESTS)}.")
    for name in ("matches", "not_matches"):
        pattern = test.get(name)
        try:
            re.compile(pattern if isinstance(pattern, str) else "")
        except re.error as error:
            yield Flaw((*trail, name), "Not a regular expression", f"{error}.")


def _flaws_of_schema(schema: Spec) -> Iterator[Flaw]:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        yield Flaw(("schema", *error.absolute_path), "Not a JSON Schema", f"{_cut(error.message)}.")


def _first_line(error: Exception) -> str:
    return _cut(str(error).partition("\n")[0].rstrip(". :"))


# --- whether it is so -------------------------------------------------------------------------------------------------


def judge(expect: Spec, reply: Reply) -> list[Finding]:
    """Everything in which an answer is not what was expected; empty where it passes."""
    wanted = expect.get("status", 200)
    if reply.status != wanted:
        # The rest is said of an answer that did not come.
        return [Finding("status", f"is {reply.status}{_why(reply.body)}; expected {wanted}")]
    found = list(_judge_latency(expect.get("latency_seconds"), reply.seconds))
    for expression, test in (expect.get("values") or {}).items():
        found += _judge_value(expression, test if isinstance(test, Mapping) else {"equals": test}, reply.body)
    if expect.get("schema"):
        found += _judge_schema(expect["schema"], reply.body)
    return found


def _why(body: Any) -> str:
    error = body.get("error") if isinstance(body, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else None
    return f" ({_cut(message)})" if isinstance(message, str) else ""


def _judge_latency(most: float | None, seconds: float) -> Iterator[Finding]:
    if most is not None and seconds > most:
        yield Finding("latency_seconds", f"is {seconds:.2f}; expected at most {most:g}")


def _judge_value(expression: str, tests: Spec, body: Any) -> Iterator[Finding]:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        value = jmespath.search(expression, body)
    except (JMESPathError, TypeError, ValueError, RecursionError) as error:
        yield Finding(expression, f"cannot be evaluated: {_first_line(error)}")
        return
    for name, wanted in tests.items():
        holds, words = _HOLDS[name]
        if not holds(value, wanted):
            yield Finding(expression, f"is {quoted(value)}; expected {words} {quoted(wanted)}")


def _judge_schema(schema: Spec, body: Any) -> Iterator[Finding]:
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: a schema must not make us fetch anything.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        for error in sorted(validator.iter_errors(body), key=lambda error: error.json_path)[:20]:
            yield Finding(f"schema {error.json_path}", _cut(error.message))
    except Unresolvable as error:
        yield Finding("schema", f"cannot be used: {_first_line(error)}")


def quoted(value: Any) -> str:
    """A value as a message has it, never more than a line."""
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def _same(value: Any, wanted: Any) -> bool:
    """Equality as JSON has it: true is no 1."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        return value.keys() == wanted.keys() and all(_same(item, wanted[key]) for key, item in value.items())
    return bool(value == wanted)


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return str(wanted) in value
    return isinstance(value, list) and any(_same(item, wanted) for item in value)


def _matches(value: Any, pattern: Any) -> bool:
    return isinstance(value, str) and re.search(pattern, value[:_SEARCHED]) is not None


def _compared(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def holds(value: Any, wanted: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and compare(value, wanted)

    return holds


_HOLDS: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "equals": (_same, "it to be"),
    "not_equals": (lambda value, wanted: not _same(value, wanted), "anything but"),
    "one_of": (lambda value, wanted: any(_same(value, item) for item in wanted), "one of"),
    "contains": (_contains, "it to contain"),
    "not_contains": (lambda value, wanted: not _contains(value, wanted), "it not to contain"),
    "matches": (_matches, "it to match"),
    "not_matches": (lambda value, pattern: isinstance(value, str) and not _matches(value, pattern), "it not to match"),
    "less_than": (_compared(lambda value, wanted: value < wanted), "less than"),
    "at_most": (_compared(lambda value, wanted: value <= wanted), "at most"),
    "more_than": (_compared(lambda value, wanted: value > wanted), "more than"),
    "at_least": (_compared(lambda value, wanted: value >= wanted), "at least"),
    "exists": (lambda value, wanted: (value is not None) is wanted, "that it exists:"),
}


def known(value: Any) -> bool:
    """Whether a value of a spec is there to be looked into, and not only known after apply."""
    return not isinstance(value, _LATER)


def names(items: Iterable[str]) -> str:
    """Names as a sentence lists them."""
    return ", ".join(f'"{item}"' for item in items)
