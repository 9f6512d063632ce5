"""Decides whether a plan may be applied. No other module of the operator decides that.

Only `decide` makes a `Grant`, and an apply needs one. A grant names the Stack, its mode and the plan
that it covers. `still_holds` checks it against the Stack just before the first write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from reconciler.model.fleet import StackResult, StackStatus
from reconciler.operator.resources import DeletionPolicy, Mode, StackObject

MAX_DIFFERENCES = 5
"""The most differences between two plans that a message names."""


class Grant(Struct, frozen=True):
    """The permission to apply one plan of one Stack. Made by `decide` only."""

    uid: str
    mode: Mode
    destroy: bool
    digest: str
    """The only plan that may be applied; empty for any plan that no guard refuses."""
    approval: str = ""
    """The digest in the annotation, which the apply removes; empty in the mode apply."""


class ApprovalVerdict(StrEnum):
    """Whether a plan may be applied, and why not."""

    APPLY = "apply"
    NOTHING = "nothing"
    """The plan is empty, or could not be made."""
    NOT_PERMITTED = "not permitted"
    """The mode never writes."""
    REFUSED = "refused"
    """A guard or a policy refuses the plan."""
    AWAITS = "awaits"
    """The plan waits for its approval."""
    OUTDATED = "outdated"
    """Another plan was approved."""


class Decision(Struct, frozen=True):
    """A verdict, and the grant if the verdict is to apply."""

    verdict: ApprovalVerdict
    grant: Grant | None = None


def decide(stack: StackObject, planned: StackResult, *, destroy: bool = False) -> Decision:
    """Whether the plan of a Stack may be applied now.

    `destroy` says that the plan destroys the objects of a Stack that is being deleted.
    """
    plan, spec = planned.plan, stack.spec
    if plan is None or spec is None or spec.suspend:
        return Decision(ApprovalVerdict.NOTHING)
    # The Stack was deleted, or created again, while the plan was made.
    if stack.is_deleting != destroy:
        return Decision(ApprovalVerdict.NOTHING)
    # The policy may have become Retain after the deletion began.
    if destroy and stack.deletion_policy is not DeletionPolicy.DELETE:
        return Decision(ApprovalVerdict.NOT_PERMITTED)
    if plan.is_empty:
        return Decision(ApprovalVerdict.NOTHING)
    # Listed one by one, so that a mode added later writes nothing by accident.
    if spec.mode is Mode.APPLY or spec.mode is Mode.APPROVE:
        return _decide_writing(stack, spec.mode, planned, destroy=destroy)
    return Decision(ApprovalVerdict.NOT_PERMITTED)


def _decide_writing(
    stack: StackObject, mode: Mode, planned: StackResult, *, destroy: bool
) -> Decision:
    if planned.status is StackStatus.REFUSED:
        return Decision(ApprovalVerdict.REFUSED)
    if mode is Mode.APPLY:
        return Decision(ApprovalVerdict.APPLY, Grant(stack.uid, mode, destroy, digest=""))
    if not stack.approve:
        return Decision(ApprovalVerdict.AWAITS)
    if stack.approve != planned.digest:
        return Decision(ApprovalVerdict.OUTDATED)
    grant = Grant(stack.uid, mode, destroy, digest=planned.digest, approval=stack.approve)
    return Decision(ApprovalVerdict.APPLY, grant)


def still_holds(grant: Grant, stack: StackObject | None) -> bool:
    """Whether the present Stack still permits what a grant covers."""
    if stack is None or stack.spec is None or stack.uid != grant.uid:
        return False
    if stack.spec.suspend or stack.is_deleting != grant.destroy:
        return False
    if grant.destroy and stack.deletion_policy is not DeletionPolicy.DELETE:
        return False
    # A grant of the mode apply has no approval, and any annotation is fine.
    return stack.spec.mode is grant.mode and stack.approve == (grant.approval or stack.approve)


def differences(approved: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> str:
    """How a plan differs from an approved one, as a clause.

    Both are lists of changes in the form of a status.
    """
    before = {str(change.get("address")): change for change in approved}
    after = {str(change.get("address")): change for change in now}
    parts = []
    for address in sorted({*before, *after}):
        old, new = before.get(address), after.get(address)
        if old is None and new is not None:
            parts.append(f"{new.get('action')} {address} is new")
        elif new is None and old is not None:
            parts.append(f"{old.get('action')} {address} is no longer planned")
        elif old is not None and new is not None and old.get("action") != new.get("action"):
            parts.append(f"{address}: {new.get('action')} instead of {old.get('action')}")
        elif old is not None and new is not None and old.get("digest") != new.get("digest"):
            parts.append(f"{new.get('action')} {address} has other values")
    shown = parts[:MAX_DIFFERENCES]
    if len(parts) > len(shown):
        shown.append(f"{len(parts) - len(shown):,} more")
    return ", ".join(shown)
