"""Expectations on an answer: their syntax, their problems, and their evaluation.

Answers are untrusted. They are only compared; what a finding quotes is short, and the printer
escapes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from reconciler.model.checking import CheckFinding
from reconciler.model.rule import RuleProblem
from reconciler.model.types import (
    Boolean,
    Either,
    Integer,
    Json,
    ListOf,
    MapOf,
    Number,
    Object,
    Property,
    Scalar,
    Text,
)
from reconciler.model.values import Reference, Spec, Template, Unknown
from reconciler.rules.bounded import (
    TooMuchWorkError,
    Work,
    evaluate,
    flaw_of_expression,
    flaw_of_pattern,
)

_QUOTED = 160
_LATER = (Reference, Template, Unknown)

_TESTS = (
    Property("equals", Json(), "The exact JSON value."),
    Property("not_equals", Json(), "Any value except this one."),
    Property("one_of", ListOf(Json(), min_items=1), "One of these values."),
    Property("contains", Scalar(), "A substring of a string, or an item of a list."),
    Property("not_contains", Scalar(), "Not a substring of a string, and not an item of a list."),
    Property("matches", Text(), "A regular expression that matches somewhere in a string."),
    Property("not_matches", Text(), "A regular expression that matches nowhere in a string."),
    Property("less_than", Number(), "The number is less than this."),
    Property("at_most", Number(), "The number is less than or equal to this."),
    Property("more_than", Number(), "The number is greater than this."),
    Property("at_least", Number(), "The number is greater than or equal to this."),
    Property("exists", Boolean(), "Whether a value exists; null counts as none."),
)

EXPECT = Object(
    (
        Property("status", Integer(100, 599), "The HTTP status of the response.", default=200),
        Property(
            "values",
            MapOf(Either(Scalar(), Object(_TESTS))),
            "JMESPath expressions on the response, each with its expected value or with tests that must all hold.",
        ),
        Property(
            "schema",
            Json(empty={}),
            "A JSON Schema (draft 2020-12) that the response must satisfy.",
        ),
        Property(
            "latency_seconds", Number(minimum=0), "The maximum time until the response, in seconds."
        ),
    )
)
"""The type of a check's `expect`."""


class CheckedResponse(Struct, frozen=True):
    """An answer to evaluate: JSON with secrets masked, or the known facts about an answer that is
    not JSON.
    """

    status: int
    body: Any
    seconds: float


# --- problems of expectations


def problems_of(expect: Spec) -> Iterator[RuleProblem]:
    """Problems of expectations, independent of any answer."""
    values = expect.get("values")
    if isinstance(values, Mapping):
        for expression, test in values.items():
            yield from _flaws_of_value(expression, test)
    schema = expect.get("schema")
    if isinstance(schema, Mapping):
        # Imported late, here and below, because few stacks check an answer against a schema.
        from reconciler.rules.answer_schema import flaws_of_schema

        for flaw in flaws_of_schema(schema):
            yield RuleProblem(("schema", *flaw.trail), flaw.summary, flaw.detail)


def _flaws_of_value(expression: str, test: Any) -> Iterator[RuleProblem]:
    trail = ("values", expression)
    if flaw := flaw_of_expression(expression):
        yield RuleProblem(trail, "Invalid JMESPath expression", f"{_cut(flaw)}.", at_key=True)
    if not isinstance(test, Mapping):
        return
    if not test:
        yield RuleProblem(
            trail,
            "Missing expectation",
            f"Add at least one test: {', '.join(part.name for part in _TESTS)}.",
        )
    for name in ("matches", "not_matches"):
        pattern = test.get(name)
        if isinstance(pattern, str) and (flaw := flaw_of_pattern(pattern)):
            yield RuleProblem((*trail, name), "Invalid regular expression", f"{flaw}.")


# --- evaluation of an answer


def judge(expect: Spec, reply: CheckedResponse) -> list[CheckFinding]:
    """All mismatches between an answer and the expectations; empty if it passes."""
    wanted = expect.get("status", 200)
    if reply.status != wanted:
        # The other expectations concern an answer that did not arrive.
        return [CheckFinding("status", f"is {reply.status}{_why(reply.body)}; expected {wanted}")]
    findings = list(_judge_latency(expect.get("latency_seconds"), reply.seconds))
    work = Work()
    for expression, test in (expect.get("values") or {}).items():
        tests = test if isinstance(test, Mapping) else {"equals": test}
        findings += _judge_value(expression, tests, reply.body, work)
    if expect.get("schema"):
        findings += _judge_schema(expect["schema"], reply.body, work)
    return findings


def _why(body: Any) -> str:
    error = body.get("error") if isinstance(body, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else None
    return f" ({_cut(message)})" if isinstance(message, str) else ""


def _judge_latency(most: float | None, seconds: float) -> Iterator[CheckFinding]:
    if most is not None and seconds > most:
        yield CheckFinding("latency_seconds", f"is {seconds:.2f}; expected at most {most:g}")


def _judge_value(expression: str, tests: Spec, body: Any, work: Work) -> Iterator[CheckFinding]:
    try:
        value = evaluate(expression, body, work)
        for name, wanted in tests.items():
            holds, words = _HOLDS[name]
            if not holds(value, wanted, work):
                yield CheckFinding(
                    expression, f"is {quoted(value)}; expected {words} {quoted(wanted)}"
                )
    except ValueError as error:
        yield CheckFinding(expression, f"cannot be evaluated: {_cut(str(error))}")
    except TooMuchWorkError as error:
        yield CheckFinding(expression, f"could not be fully evaluated: {error}")
    except RecursionError:
        yield CheckFinding(
            expression, "could not be fully evaluated: its result is nested too deeply"
        )


def _judge_schema(schema: Spec, body: Any, work: Work) -> Iterator[CheckFinding]:
    from reconciler.rules.answer_schema import errors_of

    try:
        for path, message in errors_of(schema, body, work):
            yield CheckFinding(f"schema {path}", _cut(message))
    except ValueError as error:
        yield CheckFinding("schema", _cut(str(error)))
    except TooMuchWorkError as error:
        yield CheckFinding("schema", f"could not be fully evaluated: {error}")


def quoted(value: Any) -> str:
    """A value for messages, at most one line."""
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def _same(value: Any, wanted: Any) -> bool:
    """JSON equality: true is not 1."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        if value.keys() != wanted.keys():
            return False
        return all(_same(element, wanted[key]) for key, element in value.items())
    return bool(value == wanted)


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return str(wanted) in value
    return isinstance(value, list) and any(_same(element, wanted) for element in value)


_Test = Callable[[Any, Any, Work], bool]


def _matches(value: Any, pattern: Any, work: Work) -> bool:
    return isinstance(value, str) and work.search(pattern, value)


def _plainly(holds: Callable[[Any, Any], bool]) -> _Test:
    return lambda value, wanted, _: holds(value, wanted)


def _compared(compare: Callable[[float, float], bool]) -> _Test:
    def holds(value: Any, wanted: Any, _: Work) -> bool:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and compare(value, wanted)
        )

    return holds


_HOLDS: Mapping[str, tuple[_Test, str]] = {
    "equals": (_plainly(_same), "it to be"),
    "not_equals": (_plainly(lambda value, wanted: not _same(value, wanted)), "anything but"),
    "one_of": (
        _plainly(lambda value, wanted: any(_same(value, item) for item in wanted)),
        "one of",
    ),
    "contains": (_plainly(_contains), "it to contain"),
    "not_contains": (
        _plainly(lambda value, wanted: not _contains(value, wanted)),
        "it not to contain",
    ),
    "matches": (_matches, "it to match"),
    "not_matches": (
        lambda value, pattern, work: isinstance(value, str) and not _matches(value, pattern, work),
        "it not to match",
    ),
    "less_than": (_compared(lambda value, wanted: value < wanted), "less than"),
    "at_most": (_compared(lambda value, wanted: value <= wanted), "at most"),
    "more_than": (_compared(lambda value, wanted: value > wanted), "more than"),
    "at_least": (_compared(lambda value, wanted: value >= wanted), "at least"),
    "exists": (_plainly(lambda value, wanted: (value is not None) is wanted), "that it exists:"),
}


def known(value: Any) -> bool:
    """Whether a value of a spec can be inspected now, instead of only after apply."""
    return not isinstance(value, _LATER)


def names(items: Iterable[str]) -> str:
    """Names as a list in a sentence."""
    return ", ".join(f'"{name}"' for name in items)
