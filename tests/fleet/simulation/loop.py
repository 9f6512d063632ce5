"""A clock that is a number, and what happens when: callbacks in the order of their times."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Loop:
    """Runs callbacks at their times. Two at the same time run in the order in which they were added."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def clock(self) -> float:
        """The time in seconds."""
        return self.now

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run something later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), action))

    def run_until(self, end: float) -> None:
        """Let time pass until a moment."""
        while self._events and self._events[0][0] <= end:
            self._step()
        self.now = end

    def run_while(self, is_open: Callable[[], bool]) -> None:
        """Let time pass while something holds."""
        while self._events and is_open():
            self._step()

    def _step(self) -> None:
        self.now, _, action = heapq.heappop(self._events)
        action()
