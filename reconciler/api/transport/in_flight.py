"""Calls that are announced or under way, the slots for sending them, and the idle time.

A call is open from the moment it is announced or begun until its answer. It is in flight while one
of its requests is being sent; between retries, and while it waits for a rate limit, it is not.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from reconciler.api.transport.throttle import RateLimitKey


class InFlight:
    """Counts for one client. Safe to use from threads; `clock` is in seconds.

    At most `slots` requests hold a `slot` at the same time; None for no limit.
    """

    def __init__(self, clock: Callable[[], float], *, slots: int | None = None) -> None:
        self.slot: AbstractContextManager[object] = nullcontext()
        if slots is not None:
            self.slot = threading.BoundedSemaphore(slots)
        self._clock = clock
        self._lock = threading.Lock()
        self._open: Counter[RateLimitKey] = Counter()  # announced or under way
        self._under_way: Counter[RateLimitKey] = Counter()
        self._in_flight: Counter[RateLimitKey] = Counter()
        self._sending = 0
        self._waiting = 0
        self._answered = 0
        self._idle_seconds = 0.0
        self._measured_at = clock()

    def expect(self, route: RateLimitKey) -> None:
        """Announce a call, so that it counts as open."""
        with self._lock:
            self._open[route] += 1

    def expect_nothing(self) -> None:
        """Forget the announced calls that were not made."""
        with self._lock:
            self._open = Counter(self._under_way)

    @property
    def answered(self) -> int:
        """Calls that have ended, each counted once regardless of its retries."""
        return self._answered

    @property
    def idle_seconds(self) -> float:
        """How long nothing was in flight while at least one call waited.

        A call waits for a rate limit, or for the read of another client.
        """
        with self._lock:
            self._measure()
            return self._idle_seconds

    def open(self) -> tuple[int, dict[RateLimitKey, int]]:
        """The number of open calls, and those of each route that are not in flight."""
        with self._lock:
            # The difference of counters has no entry for routes with nothing left to send.
            return self._open.total(), dict(self._open - self._in_flight)

    @contextmanager
    def call(self, route: RateLimitKey, *, is_expected: bool) -> Iterator[None]:
        """Surround a call, from its beginning to its answer; it may be one that was announced."""
        with self._lock:
            # More calls than were announced: this one was not.
            if not is_expected or self._under_way[route] >= self._open[route]:
                self._open[route] += 1
            self._under_way[route] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[route] -= 1
                self._open[route] -= 1
                self._answered += 1

    def count_answered(self, route: RateLimitKey, *, is_expected: bool) -> None:
        """Count a call that another client has made."""
        with self.call(route, is_expected=is_expected):
            pass

    @contextmanager
    def sending(self, route: RateLimitKey) -> Iterator[None]:
        """Surround a request that is in flight."""
        with self._lock:
            self._measure()
            self._sending += 1
            self._in_flight[route] += 1
        try:
            yield
        finally:
            with self._lock:
                self._measure()
                self._sending -= 1
                self._in_flight[route] -= 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Surround a wait for a rate limit, or for the read of another client."""
        with self._lock:
            self._measure()
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._measure()
                self._waiting -= 1

    def _measure(self) -> None:
        """Add the time since the last change, if nothing was in flight and something waited."""
        now = self._clock()
        # A clock that is set back must not take seconds away.
        if self._waiting and not self._sending:
            self._idle_seconds += max(0.0, now - self._measured_at)
        self._measured_at = now
