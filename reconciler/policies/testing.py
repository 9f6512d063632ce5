"""Runs the tests that policies contain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from reconciler.cel import EvaluationError, IndexedList, Later
from reconciler.cel.values import timestamp
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, nearest
from reconciler.model.policy import PolicyOutcome
from reconciler.policies.declared import Policy, Test
from reconciler.policies.evaluation import judge
from reconciler.policies.subjects import CHANGE_FIELDS, RESOURCE_FIELDS, Subject, Subjects
from reconciler.rules.policy import NOT_KNOWN, VARIABLES


class InvalidTestError(Exception):
    """The values of a test do not describe a resource."""


def run_tests(policies: Sequence[Policy], *, now: datetime) -> Iterator[Diagnostic]:
    """An error for each test whose outcome is not the expected one."""
    for policy in policies:
        for test in policy.tests:
            detail = _complaint(policy, test, now)
            if detail:
                yield Diagnostic(
                    f"Policy test failed: {test.name}",
                    detail,
                    address=policy.address,
                    location=test.location or policy.location,
                )


def _complaint(policy: Policy, test: Test, now: datetime) -> str:
    try:
        subjects = given_subjects(policy, test.given, now)
    except InvalidTestError as error:
        return str(error)
    (judged,) = judge([policy], subjects)
    # There is one resource, and a pass has no result.
    outcome, message = PolicyOutcome.PASS, ""
    for result in judged.results:
        outcome, message = result.outcome, result.message
    if outcome != test.expect:
        reason = message
        if not judged.summary.counts:
            reason = "match leaves the resource out"
        reason = f" ({reason})" if reason else ""
        return f"Expected {test.expect}, and the outcome is {outcome}{reason}."
    if test.message and test.message not in message:
        return f'Expected a message with "{test.message}", and it is "{message}".'
    return ""


def given_subjects(policy: Policy, given: Mapping[str, Any], now: datetime) -> Subjects:
    """The one resource of a test, with its surroundings. Raises InvalidTestError."""
    if not isinstance(given, Mapping):
        raise InvalidTestError("given is a map of the variables of the rule, such as resource.")
    _known_keys(given, tuple(VARIABLES), "given")
    values = {name: _later(value) for name, value in given.items()}
    resource = _resource(values.get("resource"), policy, "given.resource")
    others = values.get("resources", [])
    if not isinstance(others, list):
        raise InvalidTestError("given.resources is a list of resources.")
    # In a plan, `resources` contains the resource that is judged.
    resources = [resource]
    for index, other in enumerate(others):
        resources.append(_resource(other, policy, f"given.resources[{index}]"))
    change = _change(values.get("change"), resource)
    address = Address(resource["kind"], resource["name"], resource["project"])
    action = change["action"]
    subject = Subject(address, resource, change, _live(values, resource, policy), None, action)
    environment = str(values.get("environment", "default"))
    return Subjects(
        (subject,),
        IndexedList(resources),
        _now(values.get("now"), now),
        str(values.get("stack", "test")),
        environment,
        _shutdowns(values.get("shutdowns")),
    )


def _later(value: Any) -> Any:
    if value == NOT_KNOWN:
        return Later("a value that is known after apply")
    if isinstance(value, Mapping):
        return {key: _later(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_later(part) for part in value]
    return value


def _known_keys(given: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in given:
        if name not in names:
            some = nearest(str(name), names) or f" It has {', '.join(names)}."
            raise InvalidTestError(f'{where} has no "{name}".{some}')


def _resource(given: Any, policy: Policy, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidTestError(f"{where} is a map with at least kind, and usually name and spec.")
    _known_keys(given, RESOURCE_FIELDS, where)
    default = None
    if len(policy.match.kinds) == 1:
        (default,) = policy.match.kinds
    kind = given.get("kind", default)
    if not isinstance(kind, str):
        raise InvalidTestError(f"{where} needs kind, such as Project.")
    name, project = given.get("name", "test"), given.get("project")
    spec = given.get("spec") or {}
    address = "/".join(str(part) for part in (kind, project, name) if part is not None)
    return {
        "kind": kind,
        "name": name,
        "project": project,
        "address": address,
        "id": "test_id",
        "managed": True,
        "spec": spec,
        "labels": spec.get("metadata") or {} if isinstance(spec, Mapping) else {},
        "lifecycle": {
            "prevent_destroy": False,
            "on_remove": None,
            "create_before_destroy": False,
            **(given.get("lifecycle") or {}),
        },
        **{key: given[key] for key in ("address", "id", "managed", "labels") if key in given},
    }


def _change(given: Any, resource: Mapping[str, Any]) -> dict[str, Any]:
    given = given or {}
    if not isinstance(given, Mapping):
        raise InvalidTestError("given.change is a map, such as {action: delete}.")
    _known_keys(given, CHANGE_FIELDS, "given.change")
    action = given.get("action", "create")
    before = after = resource["spec"]
    if action == "create":
        before = None
    elif action in ("delete", "forget"):
        after = None
    defaults = {
        "action": action,
        "reason": "",
        "before": before,
        "after": after,
        "fields": [],
        "destroys": action in ("delete", "replace"),
        "loses": "",
    }
    return {**defaults, **given}


def _live(values: Mapping[str, Any], resource: Mapping[str, Any], policy: Policy) -> Any:
    """The live object: as given, else the resource itself for policies over live objects."""
    if "live" in values:
        return values["live"]
    if not policy.judges_live:
        return None
    return {**resource["spec"], "id": resource["id"]}


def _shutdowns(given: Any) -> dict[str, datetime]:
    if not isinstance(given, Mapping | None):
        raise InvalidTestError("given.shutdowns is a map from models to timestamps.")
    try:
        return {str(model): timestamp(end) for model, end in (given or {}).items()}
    except EvaluationError as error:
        raise InvalidTestError(f"given.shutdowns: {error}") from None


def _now(given: Any, now: datetime) -> datetime:
    if given is None:
        return now
    try:
        return timestamp(given)
    except EvaluationError as error:
        raise InvalidTestError(f"given.now: {error}") from None
