"""Jobs that progress over time: batches, fine-tuning jobs, eval runs.

Nothing runs in the background. A job stores when it began and when it ends, so its status depends
on the clock alone. Its outcome is computed at creation and shown when due. A cancelled or paused
job stores when its clock stopped.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator.errors import bad_request
from reconciler.emulator.options import EmulatorOptions
from reconciler.emulator.store import ObjectRow, Store

_NEVER = 1e15
"""A time that never comes, in unix seconds."""


def loaded_timing(status: str) -> dict[str, Any]:
    """The hidden fields of a job that was loaded with a status. One that runs goes on for ever."""
    return {
        "began": 0.0,
        "due": _NEVER if status in _RUNNING else 0.0,
        "stopped": None,
        "paused": None,
        "settled": True,
        "as_loaded": True,
        "error": None,
        "outcome": {"mistakes": [], "answers": [], "errors": []},
        "items": [],
        "method": None,
        "tokens": 0,
        "seconds": None,
    }


_RUNNING = frozenset(
    [
        "validating",
        "in_progress",
        "finalizing",
        "cancelling",
        "validating_files",
        "queued",
        "running",
        "paused",
    ]
)


def shown_as_loaded(job: ObjectRow, cancelled: str) -> dict[str, Any] | None:
    """A loaded job as clients see it; None for a job that was created here."""
    if not job.hidden.get("as_loaded"):
        return None
    return {**job.body, "status": cancelled} if job.hidden["stopped"] is not None else job.body


def timing(store: Store, options: EmulatorOptions) -> dict[str, Any]:
    """The hidden fields that a new job needs to compute its progress."""
    now = store.clock()
    return {
        "began": now,
        "due": now + options.job_delay_ms / 1000,
        "stopped": None,
        "paused": None,
        "settled": False,
    }


def share(job: ObjectRow, now: float) -> float:
    """The progress of a job, from 0 to 1."""
    hidden = job.hidden
    until = min(
        moment for moment in (now, hidden["stopped"], hidden["paused"]) if moment is not None
    )
    length = hidden["due"] - hidden["began"]
    return 1.0 if until >= hidden["due"] else (until - hidden["began"]) / length


def is_over(job: ObjectRow, now: float) -> bool:
    """Whether a job has ended, by itself or by cancellation."""
    return job.hidden["stopped"] is not None or share(job, now) >= 1.0


def stop(store: Store, job: ObjectRow, what: str, status: str) -> None:
    """Cancel a running job; `status` is its current status, for the refusal if it has ended."""
    if is_over(job, store.clock()):
        raise bad_request(f"Cannot cancel a {what} with status '{status}'.")
    job.hidden["stopped"] = store.clock()
    store.changed(job)


def pause(store: Store, job: ObjectRow, status: str) -> None:
    if is_over(job, store.clock()) or job.hidden["paused"] is not None:
        raise bad_request(f"Cannot pause a job with status '{status}'.")
    job.hidden["paused"] = store.clock()
    store.changed(job)


def resume(store: Store, job: ObjectRow, status: str) -> None:
    paused = job.hidden["paused"]
    if paused is None:
        raise bad_request(f"Cannot resume a job with status '{status}'.")
    rest = store.clock() - paused
    job.hidden.update(began=job.hidden["began"] + rest, due=job.hidden["due"] + rest, paused=None)
    store.changed(job)


def is_to_be_settled(job: ObjectRow, now: float) -> bool:
    """Whether a job is done but its results are not created yet."""
    return not job.hidden["settled"] and job.hidden["stopped"] is None and share(job, now) >= 1.0
