"""Checks: an API call, and expectations on its answer.

A check declares no object, so plans and the state do not contain it. `reconciler check` makes the
call with the key of the check's project, evaluates the expectations, and removes what the call
created. A `budget` needs no call of its own: the project's cost of this month is read with the
admin key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.model.diagnostic import nearest
from reconciler.model.kind import Field, ScopeType, Shape
from reconciler.model.rule import RuleKind, RuleProblem
from reconciler.model.types import (
    Json,
    LocalFileType,
    MapOf,
    Number,
    Object,
    Property,
    Scalar,
    Text,
)
from reconciler.model.values import Spec
from reconciler.rules.expectations import EXPECT, known, names, problems_of
from reconciler.rules.operations import OPERATIONS, Operation

WAIT_SECONDS = 60.0
"""The default time to wait for runs and background responses."""

_KEEPS = "A check must not leave anything behind, and"


def flaws(spec: Spec) -> Iterator[RuleProblem]:
    """Problems of a check, before any call."""
    operation = OPERATIONS.get(str(spec.get("operation")))
    if operation is not None:
        yield from _parameters(operation, spec)
        yield from _body(operation, spec)
        yield from _files(operation, spec)
        yield from _waiting(operation, spec)
    expect = spec.get("expect")
    if isinstance(expect, Mapping):
        for flaw in problems_of(expect):
            yield RuleProblem(("expect", *flaw.trail), flaw.summary, flaw.detail, flaw.at_key)


def _parameters(operation: Operation, spec: Spec) -> Iterator[RuleProblem]:
    given = spec.get("parameters")
    if given is not None and not isinstance(given, Mapping):
        return
    takes = (*operation.path_parameters, *operation.query)
    for name in given or ():
        if name not in takes:
            hint = nearest(name, takes)
            if not hint:
                hint = f" Its parameters: {names(takes)}." if takes else " It has none."
            detail = f"{operation.name} has no such parameter.{hint}"
            yield RuleProblem(
                ("parameters", name), f'Unknown parameter "{name}"', detail, at_key=True
            )
    for name in operation.path_parameters:
        if name not in (given or ()):
            detail = f"{operation.call} requires spec.parameters.{name}."
            yield RuleProblem(
                ("parameters",) if given else ("operation",), f'Missing parameter "{name}"', detail
            )


def _body(operation: Operation, spec: Spec) -> Iterator[RuleProblem]:
    body = spec.get("body")
    if body is None or not isinstance(body, Mapping):
        return
    if not operation.takes_body:
        yield RuleProblem(
            ("body",), "Body not allowed", f"{operation.call} has no body.", at_key=True
        )
    if body.get("stream") is True:
        detail = "A check evaluates the complete response: remove stream."
        yield RuleProblem(("body", "stream"), "Streaming not supported", detail, at_key=True)
    if body.get("conversation") is not None and operation.leaves:
        detail = f"{_KEEPS} this would add to the conversation: put earlier messages into input."
        yield RuleProblem(
            ("body", "conversation"), "Check would change a conversation", detail, at_key=True
        )
    # An operation with files sends its body as multipart/form-data, which has no nested values.
    if not operation.files:
        return
    for name, value in body.items():
        items = value if isinstance(value, list) else [value]
        if any(isinstance(element, dict | list) for element in items):
            detail = "The body is sent as a form: only strings, numbers, booleans and lists of them are allowed."
            yield RuleProblem(("body", name), "Invalid form field", detail)


def _files(operation: Operation, spec: Spec) -> Iterator[RuleProblem]:
    given = spec.get("files")
    if given is not None and not isinstance(given, Mapping):
        return
    for name in given or ():
        if name not in operation.files:
            some = "It accepts no files."
            if operation.files:
                some = f"It accepts {names(operation.files)}."
            yield RuleProblem(
                ("files", name), f'Unknown file "{name}"', f"{operation.name}: {some}", at_key=True
            )
    if operation.files and operation.files[0] not in (given or ()):
        detail = f"{operation.call} requires spec.files.{operation.files[0]}, a path in the stack's folder."
        yield RuleProblem(
            ("files",) if given else ("operation",), f'Missing file "{operation.files[0]}"', detail
        )


def _waiting(operation: Operation, spec: Spec) -> Iterator[RuleProblem]:
    if operation.waiting is None and "wait_seconds" in spec:
        detail = f"{operation.name} is synchronous; limit its duration with expect.latency_seconds."
        yield RuleProblem(("wait_seconds",), "Nothing to wait for", detail, at_key=True)
    asks = operation.waiting is not None and operation.waiting.asks is not None
    if not asks and "tool_outputs" in spec and known(spec["tool_outputs"]):
        detail = f"{operation.name} does not request function outputs."
        yield RuleProblem(("tool_outputs",), "Unused function outputs", detail, at_key=True)


def _field(name: str, type: Any, doc: str, **more: Any) -> Field:
    return Field(name, type, doc, **more)


_CALL = ("parameters", "body", "files", "tool_outputs", "wait_seconds", "expect")

KIND = RuleKind(
    name="Check",
    doc="Checks the response of an API call, or spending. Declares no object.",
    scope=ScopeType.PROJECT_KEY,
    fields=(
        _field(
            "operation",
            Text(choices=tuple(OPERATIONS)),
            "The operation to call, by its name in the API.",
        ),
        _field(
            "parameters",
            MapOf(Scalar()),
            "Path and query parameters, for example `vector_store_id`.",
        ),
        _field(
            "body", Json(empty={}), "The request body, with the API's names; references give ids."
        ),
        _field(
            "files",
            MapOf(LocalFileType()),
            "Files in the stack's folder to send, by form field name.",
        ),
        _field(
            "tool_outputs",
            MapOf(Json()),
            "Outputs of the functions that a run calls, by function name: a string, or JSON that is sent as a string.",
        ),
        _field(
            "wait_seconds",
            Number(minimum=0, maximum=3600),
            "How long a run or a background response may take. After that it is cancelled, and the check fails.",
            default=WAIT_SECONDS,
        ),
        _field("expect", EXPECT, "The expected response. Defaults to status 200."),
        _field(
            "budget",
            Object(
                (
                    Property(
                        "below",
                        Number(minimum=0),
                        "The amount that spending must stay below.",
                        required=True,
                    ),
                    Property(
                        "currency", Text(min_length=3, max_length=3), "The currency.", default="USD"
                    ),
                )
            ),
            "The maximum spending of the project, or without one of the organization, in the current month (UTC).",
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
    model: gpt-5.4
    input: How long may I take to return a coat?
  expect:
    values:
      status: completed
      output[].content[].text | [0]: {matches: (?i)coat}
      usage.total_tokens: {less_than: 2000}
    latency_seconds: 30
""",
)
