"""Planning of jobs: run once per input, run again for other inputs, never repeat without a request.

A finished job stays as it is. An undeclared job is cancelled while it runs and forgotten once it
has ended; its product is deleted only if `lifecycle.on_remove` says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from reconciler.model.change import Action, Change, FieldChange, Origin, Reason
from reconciler.model.job import INPUTS_KEY, Job, Phase
from reconciler.model.kind import OnRemove, Removal
from reconciler.model.resource import LiveObject

WAIT, MINUTES = "wait", "timeout_minutes"
"""Our own fields: whether apply waits for the end of a job, and how long."""

USUAL_MINUTES = 60

_LOST = "its work so far is lost"


def is_history(live: LiveObject) -> bool:
    """Whether it is a finished job that cannot be removed, which the API lists forever."""
    return live.kind.removal is Removal.CANCEL and not live.runs


def other_inputs(live: LiveObject, inputs: str | None) -> Iterator[FieldChange]:
    """The change for inputs that differ only in the digest, because the API does not show all
    inputs."""
    # A job without the digest was started elsewhere, so nothing is known about its inputs.
    if inputs is not None and live.inputs is not None:
        note = "not all inputs are shown by the API; what it ran with is known by a digest"
        yield FieldChange(
            (INPUTS_KEY,), live.inputs, inputs, Origin.UNKNOWN, forces_replacement=True, note=note
        )


def as_found(change: Change, job: Job, live: LiveObject, *, waits: bool) -> Change:
    """A change with the progress of the job, and whether apply has to wait for its end."""
    phase, progress = job.phase(live.attributes), job.progress_of(live.attributes)
    change = replace(change, results=job.final_results(live.attributes))
    if phase is Phase.RUNNING:
        return replace(change, job_progress=progress, wait_for_job=waits)
    change = replace(change, job_progress="", wait_for_job=False)
    # A failed job is never repeated automatically: it would fail again and cost money again.
    if phase is Phase.FAILED:
        warning = (
            f"it did not succeed ({progress}), and does not run again by itself: "
            f"change an input, or pass --replace {change.address}"
        )
        change = replace(change, warnings=(*change.warnings, warning))
    return change


def run_again(change: Change, reason: Reason, live: LiveObject, *, waits: bool) -> Change:
    """The change that starts a job again. A running predecessor is stopped, a finished one stays."""
    if reason is Reason.FIELD_FORCES_REPLACEMENT:
        reason = Reason.OTHER_INPUTS
    return replace(
        change,
        action=Action.REPLACE,
        reason=reason,
        # A finished predecessor is history, and its product may be in use: a new run never deletes
        # it.
        removal=Removal.CANCEL,
        # The old run stops first. Two at the same time would cost twice.
        create_before_destroy=False,
        wait_for_job=waits,
        destructive=_LOST if live.runs else "",
        results={},
        warnings=(),
    )


def removed(shown: Change, live: LiveObject, reason: Reason) -> Change:
    """The removal of a job; `shown` has what all removals have in common."""
    job, kind = live.kind.job, live.kind
    if job is None:
        raise TypeError(f"{kind.name} is no job")
    shown = replace(shown, is_job=True, fields=(), after={})
    # A running job is always stopped, whatever `on_remove` says: it would go on to cost money
    # unattended.
    if live.runs:
        return replace(
            shown,
            action=Action.DELETE,
            reason=reason,
            removal=Removal.CANCEL,
            job_progress=job.progress_of(live.attributes),
            destructive=_LOST,
        )
    # The job itself often cannot be deleted. What counts is the model that it produced.
    has_product = job.product is not None and job.product in job.final_results(live.attributes)
    is_removable = has_product or kind.removal is Removal.DELETE
    if shown.on_remove == OnRemove.DELETE and is_removable:
        lost = job.destroys if has_product else kind.destroys
        return replace(
            shown, action=Action.DELETE, reason=reason, removal=Removal.DELETE, destructive=lost
        )
    retained = shown.on_remove == OnRemove.RETAIN and is_removable
    return replace(
        shown, action=Action.FORGET, reason=Reason.RETAINED if retained else Reason.ENDED_JOB
    )
