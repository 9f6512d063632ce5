"""What goes on: calls that are to come and under way, how many are sent at a time, and how long nothing moved."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from reconciler.api.transport.throttle import RateLimitKey


class InFlight:
    """Counts for one client. Safe to use from threads; `clock` is in seconds.

    At most `at_a_time` calls hold a `place` at the same time, whoever sends them; None for any number.
    """

    def __init__(self, clock: Callable[[], float], *, at_a_time: int | None = None) -> None:
        self.place = threading.BoundedSemaphore(at_a_time) if at_a_time is not None else nullcontext()
        self._clock = clock
        self._lock = threading.Lock()
        self._open: Counter[RateLimitKey] = Counter()  # expected or under way
        self._under_way: Counter[RateLimitKey] = Counter()
        self._in_flight: Counter[RateLimitKey] = Counter()
        self._sending = 0
        self._waiting = 0
        self._answered = 0
        self._still_seconds = 0.0
        self._looked_at = clock()

    def expect(self, lane: RateLimitKey) -> None:
        """A call will be made soon."""
        with self._lock:
            self._open[lane] += 1

    def expect_nothing(self) -> None:
        """Forget what was expected and did not come."""
        with self._lock:
            self._open = Counter(self._under_way)

    @property
    def answered(self) -> int:
        """How many calls have ended, one way or another, however often each was sent."""
        return self._answered

    @property
    def still_seconds(self) -> float:
        """How long nothing was in flight and somebody waited for a turn: never more than the time that passed."""
        with self._lock:
            self._look()
            return self._still_seconds

    def open(self) -> tuple[int, dict[RateLimitKey, int]]:
        """How many calls have no answer yet, and how many of each lane are still to be sent."""
        with self._lock:
            unsent = {lane: calls - self._in_flight[lane] for lane, calls in self._open.items()}
            return sum(self._open.values()), {lane: calls for lane, calls in unsent.items() if calls > 0}

    @contextmanager
    def call(self, lane: RateLimitKey, *, is_expected: bool) -> Iterator[None]:
        """A call, from the moment on that it is wanted until its answer. It may be one of those that are expected."""
        with self._lock:
            if not is_expected or self._under_way[lane] >= self._open[lane]:
                self._open[lane] += 1
            self._under_way[lane] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[lane] -= 1
                self._open[lane] -= 1
                self._answered += 1

    @contextmanager
    def sending(self, lane: RateLimitKey) -> Iterator[None]:
        """A request is in flight."""
        with self._lock:
            self._look()
            self._sending += 1
            self._in_flight[lane] += 1
        try:
            yield
        finally:
            with self._lock:
                self._look()
                self._sending -= 1
                self._in_flight[lane] -= 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A call waits for its turn."""
        with self._lock:
            self._look()
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._look()
                self._waiting -= 1

    def _look(self) -> None:
        now = self._clock()
        if self._waiting and not self._sending:
            self._still_seconds += max(0.0, now - self._looked_at)
        self._looked_at = now
