"""Permission to write: every combination of settings and results of a plan."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from reconciler.model.fleet import StackStatus
from reconciler.operator.approval import ApprovalVerdict, decide, differences, still_holds
from reconciler.operator.resources import Mode
from tests.operator.makers import DIGEST, OTHER, a_change, a_plan, a_result, a_stack

OPERATOR = Path(__file__).parents[2] / "reconciler" / "operator"
COMBINATIONS = list(
    itertools.product(
        ("observe", "plan", "approve", "apply"),
        ("", DIGEST, OTHER),
        ("Retain", "Delete"),
        (False, True),  # suspend
        (False, True),  # is being deleted
        (False, True),  # the plan destroys
        (False, True),  # the plan is empty
        (StackStatus.PENDING, StackStatus.DRIFTED, StackStatus.REFUSED, StackStatus.FAILED),
    )
)


def test_a_grant_needs_the_mode_apply_or_the_approval_of_exactly_this_plan() -> None:
    granted = 0
    for mode, approve, policy, suspend, deleting, destroy, empty, status in COMBINATIONS:
        stack = a_stack(
            approve, is_deleting=deleting, mode=mode, suspend=suspend, deletionPolicy=policy
        )
        plan = a_plan() if empty else a_plan(a_change())
        decision = decide(stack, a_result(status, plan), destroy=destroy)
        is_wanted = not suspend and not empty and deleting == destroy
        is_wanted = is_wanted and (policy == "Delete" or not destroy)
        is_permitted = mode == "apply" or (mode == "approve" and approve == DIGEST)
        expected = is_wanted and is_permitted and status is not StackStatus.REFUSED
        assert (decision.grant is not None) == expected, (mode, approve, policy, suspend, status)
        assert (decision.verdict is ApprovalVerdict.APPLY) == expected
        granted += expected
    assert granted == 36


def test_a_run_without_a_plan_gets_no_grant() -> None:
    stack = a_stack(DIGEST, mode="apply")
    assert decide(stack, a_result(StackStatus.PENDING, None)).grant is None


def test_a_grant_of_mode_approve_covers_one_digest() -> None:
    decision = decide(
        a_stack(DIGEST, mode="approve"), a_result(StackStatus.PENDING, a_plan(a_change()))
    )
    assert decision.grant is not None
    assert decision.grant.digest == decision.grant.approval == DIGEST


@pytest.mark.parametrize(
    ("approve", "verdict"), [("", ApprovalVerdict.AWAITS), (OTHER, ApprovalVerdict.OUTDATED)]
)
def test_without_the_right_approval_the_verdict_says_why(
    approve: str, verdict: ApprovalVerdict
) -> None:
    result = a_result(StackStatus.PENDING, a_plan(a_change()))
    assert decide(a_stack(approve, mode="approve"), result).verdict is verdict


def test_a_text_that_is_no_digest_is_no_approval() -> None:
    assert a_stack(f"{DIGEST}\n{DIGEST}").approve == ""
    assert a_stack("yes").approve == ""
    assert a_stack(DIGEST.upper()).approve == ""


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "observe"},
        {"mode": "apply"},
        {"suspend": True},
        {"approve": OTHER},
        {"approve": ""},
        {"is_deleting": True},
    ],
)
def test_a_grant_ends_with_what_it_rests_on(change: dict[str, object]) -> None:
    now = {"approve": DIGEST, "mode": "approve", "deletionPolicy": "Delete"}
    granted = decide(a_stack(**now), a_result(StackStatus.PENDING, a_plan(a_change()))).grant  # type: ignore[arg-type]
    assert granted is not None
    assert still_holds(granted, a_stack(**now))  # type: ignore[arg-type]
    assert not still_holds(granted, a_stack(**{**now, **change}))  # type: ignore[arg-type]


def test_a_grant_is_not_for_a_stack_that_was_created_again() -> None:
    stack = a_stack(mode="apply")
    granted = decide(stack, a_result(StackStatus.PENDING, a_plan(a_change()))).grant
    assert granted is not None
    assert not still_holds(granted, replace(stack, uid="uid-2"))
    assert not still_holds(granted, None)


def test_only_one_function_makes_grants_and_only_one_applies() -> None:
    assert _users("Grant") == {("approval.py", "_decide_writing")}
    assert _users("Command.APPLY") == {("runs.py", "apply")}
    assert _users("run.apply") == {("reconcile.py", "_plan_and_apply")}


def test_every_mode_is_decided_about() -> None:
    result = a_result(StackStatus.PENDING, a_plan(a_change()))
    assert {decide(a_stack(DIGEST, mode=str(mode)), result).verdict for mode in Mode} == {
        ApprovalVerdict.NOT_PERMITTED,
        ApprovalVerdict.APPLY,
    }


def test_differences_name_what_came_what_went_and_what_changed() -> None:
    before = [
        {"address": "Project/a", "action": "create", "digest": "1"},
        {"address": "Project/b", "action": "update", "digest": "2"},
        {"address": "Project/c", "action": "update", "digest": "3"},
    ]
    now = [
        {"address": "Project/b", "action": "delete", "digest": "2"},
        {"address": "Project/c", "action": "update", "digest": "4"},
        {"address": "Project/d", "action": "create", "digest": "5"},
    ]
    assert differences(before, now) == (
        "create Project/a is no longer planned, Project/b: delete instead of update, "
        "update Project/c has other values, create Project/d is new"
    )
    assert differences(before, before) == ""


def _functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function of the operator, with the name of its module."""
    for path in OPERATOR.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield path.name, node


def _users(expression: str) -> set[tuple[str, str]]:
    """The functions that evaluate an expression such as a name that is called."""
    return {
        (module, function.name)
        for module, function in _functions()
        for node in ast.walk(function)
        if (ast.unparse(node) == expression and isinstance(node, ast.Attribute))
        or (isinstance(node, ast.Call) and ast.unparse(node.func) == expression)
    }
