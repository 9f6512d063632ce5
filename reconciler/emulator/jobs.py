"""Work that goes on as time goes by: batches, fine-tuning jobs, runs of evals.

Nothing runs in the background. A job knows when it began and when it will be done, so its status is a question of what
time it is; its outcome is worked out when it is made and shown when it is due. A cancelled or paused job keeps the
moment at which its clock stood still.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator.errors import bad_request
from reconciler.emulator.options import Options
from reconciler.emulator.store import Record, Store


def timing(store: Store, options: Options) -> dict[str, Any]:
    """What a new job has to remember to know how far it is."""
    now = store.clock()
    return {"began": now, "due": now + options.job_delay_ms / 1000, "stopped": None, "paused": None, "settled": False}


def share(job: Record, now: float) -> float:
    """How much of a job is done, from 0 to 1."""
    hidden = job.hidden
    until = min(moment for moment in (now, hidden["stopped"], hidden["paused"]) if moment is not None)
    length = hidden["due"] - hidden["began"]
    return 1.0 if until >= hidden["due"] else (until - hidden["began"]) / length


def is_over(job: Record, now: float) -> bool:
    """Whether a job has come to its end, on its own or because it was stopped."""
    return job.hidden["stopped"] is not None or share(job, now) >= 1.0


def stop(store: Store, job: Record, what: str, status: str) -> None:
    """Cancel a job that still runs; `status` is what it is now, for the refusal of one that does not."""
    if is_over(job, store.clock()):
        raise bad_request(f"Cannot cancel a {what} with status '{status}'.")
    job.hidden["stopped"] = store.clock()
    store.changed(job)


def pause(store: Store, job: Record, status: str) -> None:
    if is_over(job, store.clock()) or job.hidden["paused"] is not None:
        raise bad_request(f"Cannot pause a job with status '{status}'.")
    job.hidden["paused"] = store.clock()
    store.changed(job)


def resume(store: Store, job: Record, status: str) -> None:
    paused = job.hidden["paused"]
    if paused is None:
        raise bad_request(f"Cannot resume a job with status '{status}'.")
    rest = store.clock() - paused
    job.hidden.update(began=job.hidden["began"] + rest, due=job.hidden["due"] + rest, paused=None)
    store.changed(job)


def is_to_be_settled(job: Record, now: float) -> bool:
    """Whether a job is done and what it makes has not been made yet."""
    return not job.hidden["settled"] and job.hidden["stopped"] is None and share(job, now) >= 1.0
