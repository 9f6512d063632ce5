"""Custom resources and results for tests of pure functions."""

from __future__ import annotations

from typing import Any

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Drift, Plan, Reason
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from reconciler.operator.resources import StackObject, stack_of

DIGEST, OTHER = "a" * 64, "b" * 64


def stack_body(**spec: Any) -> dict[str, Any]:
    """A Stack as the API server shows it."""
    required = {"source": {"path": "team/search"}, "organizationRef": {"name": "acme"}}
    metadata = {"namespace": "team", "name": "search", "uid": "uid-1", "generation": 1}
    return {"metadata": metadata, "spec": {**required, **spec}}


def a_stack(approve: str = "", *, is_deleting: bool = False, **spec: Any) -> StackObject:
    """A Stack with a spec."""
    body = stack_body(**spec)
    body["metadata"]["annotations"] = {"reconciler.dev/approve": approve}
    if is_deleting:
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    stack = stack_of(body)
    assert stack is not None
    assert not stack.problem
    return stack


def a_change(name: str = "search", action: Action = Action.CREATE, **more: Any) -> Change:
    """A change of a project."""
    return Change(Address("Project", name), action, Reason.NEW, **more)


def a_plan(*changes: Change, drifted: int = 0, **more: Any) -> Plan:
    """A plan with changes, and with objects that were deleted by hand."""
    drift = tuple(
        Drift(Address("Project", f"d{number}"), "id", deleted=True) for number in range(drifted)
    )
    return Plan("search", "default", changes, drift=drift, **more)


def a_result(
    status: StackStatus, plan: Plan | None = None, *, digest: str = DIGEST, **more: Any
) -> StackResult:
    """A result of a run."""
    id = StackId("team/search", "default", "search")
    return StackResult(id, Command.PLAN, status, 0, plan=plan, digest=digest, **more)
