"""Claims about the tests in policies: they fail if the outcome is not the expected one."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.policies import run_tests
from tests.policies.samples import NOW, policy

LIMIT = {"match": {"kinds": ["SpendLimit"]}}
GIVEN = {"resource": {"spec": {"threshold_amount": 5}}}


def complaints(rule: str, given: Any, expect: str, **spec: Any) -> list[str]:
    test = {"given": given, "expect": expect, **spec.pop("test", {})}
    return [problem.detail for problem in run_tests([policy(rule, tests=[test], **spec)], now=NOW)]


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("resource.spec.threshold_amount == 5", "pass"),
        ("resource.spec.threshold_amount == 6", "fail"),
        ("resource.spec.nothing == 6", "error"),
        ("resource.name", "error"),
    ],
)
@pytest.mark.parametrize("expect", ["pass", "fail", "error", "undecided"])
def test_a_test_fails_unless_the_outcome_is_the_expected_one(
    rule: str, outcome: str, expect: str
) -> None:
    found = complaints(rule, GIVEN, expect, **LIMIT)
    assert (found == []) is (outcome == expect)


def test_a_value_known_after_apply_can_be_given() -> None:
    given = {"resource": {"spec": {"threshold_amount": "(known after apply)"}}}
    assert complaints("resource.spec.threshold_amount == 5", given, "undecided", **LIMIT) == []


def test_a_failing_test_says_what_came_out() -> None:
    (found,) = complaints("false", GIVEN, "pass", message='"because"', **LIMIT)
    assert found == "Expected pass, and the outcome is fail (because)."


def test_a_test_can_expect_a_part_of_the_message() -> None:
    expecting = {"test": {"message": "other"}, "message": '"because"', **LIMIT}
    (found,) = complaints("false", GIVEN, "fail", **expecting)
    assert found == 'Expected a message with "other", and it is "because".'


def test_a_resource_that_match_leaves_out_passes_and_a_failing_test_says_so() -> None:
    given = {"resource": {"kind": "Project"}}
    assert complaints("false", given, "pass", **LIMIT) == []
    assert "match leaves the resource out" in complaints("false", given, "fail", **LIMIT)[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "given.resource is a map with at least kind"),
        ({"resource": {"name": "a"}}, "given.resource needs kind"),
        ({"resource": {"kind": "A", "nme": "a"}}, 'given.resource has no "nme". Did you mean'),
        ({"resorce": {}}, 'given has no "resorce". Did you mean "resource"?'),
        ({"resource": {"kind": "A"}, "resources": {}}, "given.resources is a list"),
        ({"resource": {"kind": "A"}, "change": 3}, "given.change is a map"),
        ({"resource": {"kind": "A"}, "now": "today"}, "given.now: 'today' is not a timestamp"),
        ({"resource": {"kind": "A"}, "shutdowns": {"m": "x"}}, "given.shutdowns: 'x' is not"),
        ("text", "given is a map"),
    ],
)
def test_values_that_describe_no_resource_are_explained(given: Any, message: str) -> None:
    (found,) = complaints("true", given, "pass")
    assert found.startswith(message)
