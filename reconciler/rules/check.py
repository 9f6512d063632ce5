"""Checks: a call of the API, and what its answer must be.

A check declares no object, so no plan shows it and no state remembers it. `reconciler check` makes the call with the
key of the check's project, compares, and removes what the call left behind. A `budget` needs no call of its own: what
a project has cost this month is read with the admin key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.model.diagnostic import nearest
from reconciler.model.kind import Field, ScopeType, Shape
from reconciler.model.rule import RuleKind, RuleProblem
from reconciler.model.types import Json, LocalFileType, MapOf, Number, Object, Property, Scalar, Text
from reconciler.model.values import Spec
from reconciler.rules.expectations import EXPECT, known, names, problems_of
from reconciler.rules.operations import OPERATIONS, Operation

WAIT_SECONDS = 60.0
"""How long runs and background responses are waited for, where a check does not say."""

_KEEPS = "A check leaves nothing behind, and"


def flaws(spec: Spec) -> Iterator[RuleProblem]:
    """What is wrong with a check, before anything is called."""
    operation = OPERATIONS.get(str(spec.get("operation")))
    if operation is not None:
        yield from _parameters(operation, spec)
        yield from _body(operation, spec)
        yield from _files(operation, spec)
        yield from _waiting(operation, spec)
    expect = spec.get("expect")
    if isinstance(expect, Mapping):
        yield from (
            RuleProblem(("expect", *flaw.trail), flaw.summary, flaw.detail, flaw.at_key) for flaw in problems_of(expect)
        )


def _parameters(operation: Operation, spec: Spec) -> Iterator[RuleProblem]:
    given = spec.get("parameters")
    if given is not None and not isinstance(given, Mapping):
        return
    takes = (*operation.holes, *operation.query)
    for name in given or ():
        if name not in takes:
            some = f"It takes {names(takes)}." if takes else "It takes none."
            detail = f"{operation.name} has no such parameter.{nearest(name, takes) or ' ' + some}"
            yield RuleProblem(("parameters", name), f'Unknown parameter "{name}"', detail, at_key=True)
    for name in operation.holes:
        if name not in (given or ()):
            detail = f"{operation.call} needs spec.parameters.{name}."
            yield RuleProblem(("parameters",) if given else ("operation",), f'Missing parameter "{name}"', detail)


def _body(operation: Operation, spec: Spec) -> Iterator[RuleProblem]:
    body = spec.get("body")
    if body is None or not isinstance(body, Mapping):
        return
    if not operation.takes_body:
        yield RuleProblem(("body",), "No body here", f"{operation.call} takes none.", at_key=True)
    if body.get("stream") is True:
        detail = "An answer is judged as a whole: leave stream out."
        yield RuleProblem(("body", "stream"), "Streaming is not checked", detail, at_key=True)
    if body.get("conversation") is not None and operation.leaves:
        detail = f"{_KEEPS} this would add to the conversation: put what was said before into input."
        yield RuleProblem(("body", "conversation"), "A conversation would change", detail, at_key=True)
    for name, value in body.items() if operation.files else ():
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict | list) for item in items):
            detail = "The body travels as a form: text, numbers, booleans and lists of them."
            yield RuleProblem(("body", name), "Not a field of a form", detail)


def _files(operation: Operation, spec: Spec) -> Iterator[RuleProblem]:
    given = spec.get("files")
    if given is not None and not isinstance(given, Mapping):
        return
    for name in given or ():
        if name not in operation.files:
            some = f"It takes {names(operation.files)}." if operation.files else "It takes no files."
            yield RuleProblem(("files", name), f'Unknown file "{name}"', f"{operation.name}: {some}", at_key=True)
    if operation.files and operation.files[0] not in (given or ()):
        detail = f"{operation.call} needs spec.files.{operation.files[0]}, a path below the stack's folder."
        yield RuleProblem(("files",) if given else ("operation",), f'Missing file "{operation.files[0]}"', detail)


def _waiting(operation: Operation, spec: Spec) -> Iterator[RuleProblem]:
    if operation.waiting is None and "wait_seconds" in spec:
        detail = f"{operation.name} answers at once; expect.latency_seconds says how long that may take."
        yield RuleProblem(("wait_seconds",), "Nothing to wait for", detail, at_key=True)
    asks = operation.waiting is not None and operation.waiting.asks is not None
    if not asks and "tool_outputs" in spec and known(spec["tool_outputs"]):
        detail = f"{operation.name} asks for no outputs of functions while it runs."
        yield RuleProblem(("tool_outputs",), "Nobody asks for outputs", detail, at_key=True)


def _field(name: str, type: Any, doc: str, **more: Any) -> Field:
    return Field(name, type, doc, **more)


_CALL = ("parameters", "body", "files", "tool_outputs", "wait_seconds", "expect")

KIND = RuleKind(
    name="Check",
    doc="A call of the API and what its answer must be, or the most that may be spent; no object.",
    scope=ScopeType.PROJECT_KEY,
    fields=(
        _field("operation", Text(choices=tuple(OPERATIONS)), "What is called, by the API's name of it."),
        _field(
            "parameters", MapOf(Scalar()), "The parameters of the path and of the query, such as `vector_store_id`."
        ),
        _field("body", Json(empty={}), "The request's body, under the API's own names; references are ids."),
        _field(
            "files", MapOf(LocalFileType()), "Files of the stack's folder that are sent, by their names in the form."
        ),
        _field(
            "tool_outputs",
            MapOf(Json()),
            "What functions answer that a run calls, by the name of the function: text, or JSON that is sent as text.",
        ),
        _field(
            "wait_seconds",
            Number(minimum=0, maximum=3600),
            "How long a run or a background response may take; then it is cancelled, and the check has failed.",
            default=WAIT_SECONDS,
        ),
        _field("expect", EXPECT, "What the answer must be; without it, its status is 200."),
        _field(
            "budget",
            Object(
                (
                    Property("below", Number(minimum=0), "The sum that must not be reached.", required=True),
                    Property("currency", Text(min_length=3, max_length=3), "The currency that counts.", default="USD"),
                )
            ),
            "What may be spent in the current month (UTC) by the project, or without one by the organization.",
        ),
    ),
    shapes=(Shape(("operation",), _CALL), Shape(("budget",))),
    problems=flaws,
    example="""\
kind: Check
metadata: {name: knows-refunds}
spec:
  operation: createResponse
  body:
    model: gpt-5.1
    input: How long may I take to return a coat?
  expect:
    values:
      status: completed
      output[].content[].text | [0]: {matches: (?i)coat}
      usage.total_tokens: {less_than: 2000}
    latency_seconds: 30
""",
)
