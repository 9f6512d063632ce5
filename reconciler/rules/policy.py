"""Policies: rules over the resources of a plan and over live objects, in CEL.

A policy declares no object. `validate` runs its tests, and `plan`, `apply` and `drift` evaluate
its rule for each resource that it matches. The rule may come from an untrusted pull request, so it
is evaluated within bounds (`reconciler/cel`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from reconciler.model.kind import Field, ScopeType
from reconciler.model.policy import PolicyOutcome, PolicySeverity
from reconciler.model.rule import RuleKind, RuleProblem
from reconciler.model.types import Json, ListOf, Object, Property, Text
from reconciler.model.values import Spec, references_in

if TYPE_CHECKING:
    from reconciler.cel import ExpressionError

VARIABLES: Mapping[str, str] = {
    "resource": "the resource",
    "change": "what the plan does to it",
    "resources": "all resources of the plan",
    "live": "the object as it is now, or null",
    "now": "the time of the run",
    "stack": "the name of the stack",
    "environment": "the name of the environment",
    "shutdowns": "when OpenAI shuts models down",
}
"""The variables of rules and messages."""

ACTIONS = ("create", "update", "replace", "delete", "adopt", "forget", "no-op")
SIDES = ("plan", "live", "both")
NOT_KNOWN = "(known after apply)"
"""In `tests`, the text that stands for a value known only after apply."""


def flaws(spec: Spec) -> Iterator[RuleProblem]:
    """Problems of a policy that no schema can express."""
    if next(iter(references_in(spec)), None) is not None:
        detail = (
            "A policy must not depend on references: write a literal value or a variable. "
            f'In tests, write "{NOT_KNOWN}" for a value that is known only after apply.'
        )
        yield RuleProblem((), "Reference not possible here", detail)
        return
    for name in ("rule", "message"):
        source = spec.get(name)
        if isinstance(source, str) and (detail := flaw_of_expression(source)):
            yield RuleProblem((name,), f"Invalid {name}", detail)
    for index, exception in enumerate(spec.get("exceptions") or ()):
        yield from _exception_flaws(index, exception)
    names = Counter(test.get("name") for test in spec.get("tests") or ())
    for name in sorted(filter(None, names)):
        if names[name] > 1:
            yield RuleProblem(("tests",), "Duplicate test", f'Two tests have the name "{name}".')


def flaw_of_expression(source: str) -> str:
    """The problem of a rule or a message; empty if it can be compiled."""
    # Imported late: every command knows the kinds of rules, and few stacks have policies.
    from reconciler.cel import ExpressionError, compile_expression

    try:
        compile_expression(source, VARIABLES)
    except ExpressionError as error:
        return located(source, error)
    return ""


def located(source: str, error: ExpressionError) -> str:
    """A sentence about an expression with the position in it and the text there."""
    lines = source.split("\n")
    near = ""
    if error.line <= len(lines):
        near = lines[error.line - 1][max(0, error.column - 1) :][:40].strip()
    sentence = f"at {error.line}:{error.column} of the expression: {error.message}"
    return f'{sentence}, near "{near}".' if near else f"{sentence}."


def _exception_flaws(index: int, exception: Mapping[str, Any]) -> Iterator[RuleProblem]:
    until = exception.get("until")
    if isinstance(until, str):
        try:
            date.fromisoformat(until)
        except ValueError:
            detail = f'"{until}" is not a date: write it as 2027-03-31.'
            yield RuleProblem(("exceptions", index, "until"), "Not a date", detail)
    for name in ("owner", "reason"):
        value = exception.get(name)
        if isinstance(value, str) and not value.strip():
            detail = f"An exception needs {name}: say {_ASKS[name]}."
            yield RuleProblem(("exceptions", index, name), f"Exception without {name}", detail)
    address = exception.get("address")
    # It would disable the policy. To do that, change the policy itself.
    if isinstance(address, str) and not address.strip("*/?"):
        detail = "This would except every resource: name the resource, or use severity advisory."
        yield RuleProblem(("exceptions", index, "address"), "Exception matches everything", detail)


_ASKS = {"owner": "who answers for it", "reason": "why it is needed"}


def _exception() -> Object:
    return Object(
        (
            Property(
                "address",
                Text(min_length=1),
                "The resource, as `Kind/project/name`; `*` stands for any text.",
                required=True,
            ),
            Property("reason", Text(min_length=1), "Why the exception is needed.", required=True),
            Property(
                "owner",
                Text(min_length=1),
                "The person or team responsible for the exception.",
                required=True,
            ),
            Property(
                "until",
                Text(pattern=r"^\d{4}-\d\d-\d\d$", pattern_hint="a date such as 2027-03-31"),
                "The last day of the exception (UTC), as `2027-03-31`. It has no effect afterwards.",
                required=True,
            ),
        )
    )


def _test() -> Object:
    return Object(
        (
            Property("name", Text(min_length=1), "The name of the test."),
            Property(
                "given",
                Json(empty={}),
                "Values of the variables: `resource` with at least `kind`, and all other variables "
                "that the rule reads.",
                required=True,
            ),
            Property(
                "expect",
                Text(choices=tuple(PolicyOutcome)),
                "The outcome. `pass` includes resources that `match` does not select.",
                required=True,
            ),
            Property("message", Text(), "A text that the message must contain."),
        )
    )


KIND = RuleKind(
    name="Policy",
    doc="A rule that resources must or should meet. Declares no object.",
    scope=ScopeType.ORGANIZATION,
    fields=(
        Field("description", Text(multiline=True), "The purpose of the policy, shown in reports."),
        Field(
            "match",
            Object(
                (
                    Property("kinds", ListOf(Text(min_length=1), min_items=1), "Kinds."),
                    Property(
                        "actions",
                        ListOf(Text(choices=ACTIONS), min_items=1),
                        "Planned actions; by default all except `delete` and `forget`.",
                    ),
                    Property(
                        "projects",
                        ListOf(Text(min_length=1), min_items=1),
                        "Names of projects, with the wildcards `*` and `?`.",
                    ),
                    Property(
                        "environments",
                        ListOf(Text(min_length=1), min_items=1),
                        "Names of environments, with the wildcards `*` and `?`.",
                    ),
                )
            ),
            "The resources that the rule applies to; all by default.",
        ),
        Field(
            "on",
            Text(choices=SIDES),
            "Whether the rule applies to planned resources (`plan`), live objects (`live`), or `both`.",
            default="plan",
        ),
        Field(
            "severity",
            Text(choices=tuple(PolicySeverity)),
            "`advisory` only reports. `overridable` refuses the plan unless the command has "
            "`--override-policy`. `mandatory` refuses it.",
            default=PolicySeverity.MANDATORY.value,
        ),
        Field(
            "rule",
            Text(min_length=1, multiline=True),
            "A CEL expression that is true for a resource that meets the policy.",
            required=True,
        ),
        Field(
            "message",
            Text(min_length=1, multiline=True),
            "A CEL expression that produces the text to show if the rule is false.",
        ),
        Field(
            "exceptions", ListOf(_exception()), "Resources that may break the rule until a date."
        ),
        Field("tests", ListOf(_test()), "Tests of the rule, which `validate` runs."),
    ),
    problems=flaws,
    example="""\
kind: Policy
metadata: {name: projects-have-a-spend-limit}
spec:
  match: {kinds: [Project]}
  rule: resources.exists(r, r.kind == "SpendLimit" && r.project == resource.name)
  message: '"Project " + resource.name + " has no SpendLimit."'
  tests:
    - given: {resource: {kind: Project, name: search}}
      expect: fail
""",
)
