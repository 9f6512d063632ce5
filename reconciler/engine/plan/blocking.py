"""Changes that a plan cannot make, because the resource or a dependency has an error.

An error of one resource does not stop independent ones. It is part of the plan: apply reports it
and applies the rest.
"""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Reason
from reconciler.model.diagnostic import Diagnostic


def blocked_by(change: Change, error: Diagnostic) -> Change:
    """The no-op change of a resource with an error. Its record stays."""
    sentence = f"{error.summary}: {error.detail}" if error.detail else error.summary
    return _left_alone(change, Reason.BLOCKED, " ".join(sentence.split()))


def waiting_for(change: Change, address: Address) -> Change:
    """The no-op change of a resource that depends on one with an error."""
    return _left_alone(change, Reason.WAITS, f"{address} has an error")


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
