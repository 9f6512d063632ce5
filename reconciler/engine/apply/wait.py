"""Waiting for the end of a job, and telling meanwhile how far it is.

The job is recorded before it is waited for. So a wait can end at any time, by its own limit or by an interrupt: the job
goes on, and the next apply waits for the same one.
"""

from __future__ import annotations

from collections.abc import Callable

from reconciler.engine.apply.search import ConsistencyWindow
from reconciler.errors import JobError
from reconciler.model.address import Address
from reconciler.model.job import Phase
from reconciler.model.kind import Kind
from reconciler.model.provider import Provider
from reconciler.model.resource import LiveObject

_LONGEST_PAUSE = 15.0


class JobWait:
    """Looks at jobs again and again. `tell` hears of everything that is new, and of nothing twice."""

    def __init__(self, provider: Provider, settling: ConsistencyWindow, tell: Callable[[str], None]) -> None:
        self._provider = provider
        self._settling = settling
        self._tell = tell
        self._told: set[str] = set()

    def until_over(self, kind: Kind, address: Address, id: str, *, minutes: float) -> LiveObject:
        """The job once it has succeeded; raises JobError where it has not, or not within so many minutes."""
        clock, pause = self._settling.clock, self._settling.first_pause
        began, slept = clock(), 0.0
        while True:
            live = self._provider.get(kind, address.project, id)
            over = self._over(live) if live is not None else None
            if over is not None:
                return over
            waited = max(clock() - began, slept)  # a clock that is set back must not prolong the wait
            if live is None and waited >= self._settling.seconds:
                raise JobError(f"{id} is not there any more", hint="Plan again.")
            if live is not None and waited + pause > minutes * 60:
                standing = kind.job.progress_of(live.attributes) if kind.job else ""
                raise JobError(
                    f"it still runs ({standing}) after {minutes:g} minutes, and goes on",
                    hint="Apply again to wait for the same job; timeout_minutes says how long.",
                )
            self._settling.pause(pause, f"{address} still runs")
            slept += pause
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _over(self, live: LiveObject) -> LiveObject | None:
        """The job if it has succeeded; None while it runs."""
        job = live.kind.job
        if job is None:
            return live
        for key, text in [*self._provider.job_events(live), ("", job.progress_of(live.attributes))]:
            if (key or text) not in self._told:
                self._told.add(key or text)
                self._tell(text)
        if job.phase(live.attributes) is Phase.FAILED:
            raise JobError(
                f"it did not succeed: {job.progress_of(live.attributes)}",
                hint="It does not run again by itself: change an input, or pass --replace with its address.",
            )
        return live if job.phase(live.attributes) is Phase.SUCCEEDED else None
