"""Waits for the end of a job, and reports its progress.

The job is recorded before the wait begins. So a timeout or an interrupt loses nothing: the job goes
on, and the next apply waits for the same one.
"""

from __future__ import annotations

from collections.abc import Callable

from reconciler.engine.apply.context import ActionContext, StepResult
from reconciler.engine.jobs import MINUTES, USUAL_MINUTES
from reconciler.errors import JobError
from reconciler.model.change import Change
from reconciler.model.job import Phase
from reconciler.model.resource import LiveObject

_LONGEST_PAUSE = 15.0
"""The longest pause between two reads, in seconds. Jobs last for minutes to hours."""
_GROWTH = 1.5
"""Pauses grow slowly, so that a short job is noticed soon."""


def wait_for_job(
    change: Change, context: ActionContext, report: Callable[[str], None]
) -> StepResult:
    """Wait until the job of a change has succeeded; `report` receives each event once.

    Raises JobError where the job fails, disappears, or exceeds its `timeout_minutes`.
    """
    kind, known = context.kind_of(change), context.references.written(change.address)
    # A job of this apply has another id than the plan knew, if it knew any.
    id = known.id if known is not None else change.id or ""
    minutes = change.desired.get(MINUTES) or USUAL_MINUTES
    attempts = context.consistency.poll(
        f"{change.address} still runs",
        minutes * 60.0,
        longest_pause=_LONGEST_PAUSE,
        growth=_GROWTH,
        counts_requests=True,
    )
    reported: set[str] = set()
    progress = ""
    for waited in attempts:
        # A failed read raises and ends the wait, not the job.
        live = context.reader.get(kind, change.address.project, id)
        if live is None:
            # Single reads lag behind creates too, so a new job can answer 404 for some seconds.
            if waited >= context.consistency.seconds:
                raise JobError(f"{id} is not there any more", hint="Plan again.")
            continue
        if kind.job is None:
            return StepResult(live.id)
        # Events have ids, and two can have the same text. Progress is known by its text alone.
        for key, text in context.writer.job_events(live):
            _report_once(key or text, text, reported, report)
        progress = kind.job.progress_of(live.attributes)
        _report_once(progress, progress, reported, report)
        if _has_succeeded(live, progress):
            # Its results are final now, so references to them have a value.
            context.references.remember(change, live)
            return StepResult(live.id, (progress,))
    raise JobError(
        f"it still runs ({progress}) after {minutes:g} minutes, and continues",
        hint="Apply again to wait for the same job; timeout_minutes says how long.",
    )


def _report_once(key: str, text: str, reported: set[str], report: Callable[[str], None]) -> None:
    if key not in reported:
        reported.add(key)
        report(text)


def _has_succeeded(live: LiveObject, progress: str) -> bool:
    """False while the job runs; raises JobError where it has failed."""
    if live.kind.job is None:
        return False
    phase = live.kind.job.phase(live.attributes)
    if phase is Phase.FAILED:
        raise JobError(
            f"it did not succeed: {progress}",
            hint="It does not run again by itself: change an input, or pass --replace with its "
            "address.",
        )
    return phase is Phase.SUCCEEDED
