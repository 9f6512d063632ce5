"""Waiting for the API to become consistent: how long, by which clock, and how to poll meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from msgspec import Struct

from reconciler.model.consistency import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    SETTLE_SECONDS,
    pauses,
)


class ConsistencyWindow(Struct, frozen=True):
    """How long a new object may be missing from answers, and how to wait for it."""

    seconds: float = SETTLE_SECONDS
    first_pause: float = FIRST_PAUSE_SECONDS
    clock: Callable[[], float] = time.time
    """The server's time in unix seconds; the machine's time until `is_time_known`."""
    is_time_known: Callable[[], bool] = lambda: True
    # Injected, so that tests wait without sleeping and Ctrl-C ends a wait.
    pause: Callable[[float, str], None] = lambda seconds, _: time.sleep(seconds)
    """Sleeps for some seconds and shows the reason if that takes long; raises to end the poll."""

    def poll(
        self,
        reason: str,
        seconds: float | None = None,
        *,
        longest_pause: float = LONGEST_PAUSE_SECONDS,
        growth: float = 2.0,
        counts_requests: bool = False,
    ) -> Iterator[float]:
        """Yield once per attempt the seconds since the first one: at once, then after each pause.

        The pauses grow and take `seconds` in all. With `counts_requests` the time of the requests
        between them counts as well, so the poll has a deadline. Each attempt has to send a
        request: an answer from a cache never changes.
        """
        # The first attempt comes without a pause, so a caller that needs no wait pays nothing.
        limit = self.seconds if seconds is None else seconds
        began, slept = self.clock(), 0.0
        yield 0.0
        for pause in pauses(limit, first=self.first_pause, longest=longest_pause, growth=growth):
            # Slow requests must not extend a deadline that the user has set.
            if counts_requests and self._since(began, slept) + pause > limit:
                return
            self.pause(pause, reason)
            slept += pause
            yield self._since(began, slept)

    def _since(self, began: float, slept: float) -> float:
        # A clock that is set back must not prolong the wait.
        return max(self.clock() - began, slept)
