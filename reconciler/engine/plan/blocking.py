"""Changes that a plan cannot make, because the resource or a dependency has an error.

An error of one resource does not stop independent ones. It is part of the plan: apply reports it
and applies the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Reason
from reconciler.model.diagnostic import Diagnostic

_WRITES = (Action.CREATE, Action.UPDATE, Action.REPLACE, Action.ADOPT)


def blocked_by(change: Change, error: Diagnostic) -> Change:
    """The no-op change of a resource with an error. Its record stays."""
    sentence = f"{error.summary}: {error.detail}" if error.detail else error.summary
    return _left_alone(change, Reason.BLOCKED, " ".join(sentence.split()))


def waiting_for(change: Change, address: Address) -> Change:
    """The no-op change of a resource that depends on one with an error."""
    return _left_alone(change, Reason.WAITS, f"{address} has an error")


def with_blocked(
    changes: Iterable[Change], errors: Mapping[Address, Diagnostic]
) -> tuple[Change, ...]:
    """The changes, with those of addresses with an error and of their dependents blocked."""
    if not errors:
        return tuple(changes)
    decided = {change.address: change for change in changes}
    # An address can have an error without a change, such as one that is no target.
    for address, error in errors.items():
        if address in decided:
            decided[address] = blocked_by(decided[address], error)
    # Inverted once: errors are found after planning, so their effect has to spread over ready
    # changes.
    dependents: dict[Address, list[Address]] = {}
    for change in decided.values():
        for need in change.depends_on:
            dependents.setdefault(need, []).append(change.address)
    waiting = list(errors)
    while waiting:
        need = waiting.pop()
        for address in dependents.get(need, ()):
            change = decided[address]
            # Deleting and forgetting wait for nothing.
            if change.action in _WRITES:
                decided[address] = waiting_for(change, need)
                waiting.append(address)
    return tuple(decided.values())


def _left_alone(change: Change, reason: Reason, sentence: str) -> Change:
    # Everything that apply would act on is cleared. The record and the dependencies stay.
    return replace(
        change,
        action=Action.NO_OP,
        reason=reason,
        blocked=sentence,
        fields=(),
        after=change.before,
        pre_image={},
        destructive="",
        wait_for_job=False,
        verify_before_create=False,
        warnings=(),
        renamed_from=None,
    )
