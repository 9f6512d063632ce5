"""Changes that a plan cannot make, because their resource or one that they need has an error.

One broken resource never stops what does not depend on it, so its error is a part of the plan: apply reports it and
carries out the rest.
"""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Reason
from reconciler.model.diagnostic import Diagnostic


def blocked_by(change: Change, error: Diagnostic) -> Change:
    """The change of a resource that has an error: nothing is done, and the record stays as it is."""
    sentence = f"{error.summary}: {error.detail}" if error.detail else error.summary
    return _left_alone(change, Reason.BLOCKED, " ".join(sentence.split()))


def waiting_for(change: Change, address: Address) -> Change:
    """The change of a resource that is to be written after one that has an error."""
    return _left_alone(change, Reason.WAITS, f"{address} has an error")


def _left_alone(change: Change, reason: Reason, sentence: str) -> Change:
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
