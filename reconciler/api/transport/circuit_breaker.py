"""A circuit breaker per route: after a few exhausted retries, the route is dropped.

A single request is retried for minutes, and a plan sends thousands of them. Once several requests
to the same route have failed in a row, the next ones fail without being sent, so the run ends soon.
One request a minute goes through as a probe, with a single attempt. Any answer closes the circuit,
even a refusal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from msgspec import Struct

from reconciler.api.transport.throttle import RateLimitKey
from reconciler.errors import ApiError

# Each of them was retried for minutes.
_EXHAUSTED_REQUESTS = 3
# A create is sent once. Ten workers that search and send again lose 40 in a minute.
_LOST_CREATES = 40
_PROBE_SECONDS = 60.0


class _RouteState(Struct):
    """The failures of a route since its last answer."""

    last_error: ApiError
    failed_at: float
    exhausted: int = 0
    lost: int = 0

    @property
    def is_open(self) -> bool:
        return self.exhausted >= _EXHAUSTED_REQUESTS or self.lost >= _LOST_CREATES


class CircuitBreaker:
    """Counts failures per route. Safe to use from threads; `clock` is in seconds and monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._routes: dict[RateLimitKey, _RouteState] = {}
        self._lock = threading.Lock()

    def check(self, route: RateLimitKey, call: str) -> None:
        """Raise ApiError while the circuit is open, except for one probe a minute."""
        with self._lock:
            state = self._routes.get(route)
            if state is None or not state.is_open:
                return
            # The time is moved on, so that other threads do not send a probe as well.
            if self._clock() - state.failed_at >= _PROBE_SECONDS:
                state.failed_at = self._clock()
                return
            last_error = state.last_error
            calls = state.exhausted or state.lost
        raise ApiError(
            f"{call} was not tried, as {calls} calls like it had no answer. "
            f"The last one: {last_error}",
            hint=last_error.hint,
            status=last_error.status,
            request_id=last_error.request_id,
        )

    def is_open(self, route: RateLimitKey) -> bool:
        """Whether requests to the route are dropped."""
        with self._lock:
            state = self._routes.get(route)
            return state is not None and state.is_open

    def record_answer(self, route: RateLimitKey) -> None:
        """Close the circuit: the server answered."""
        with self._lock:
            self._routes.pop(route, None)

    def record_exhausted(self, route: RateLimitKey, error: ApiError) -> None:
        """Count a request that failed after all its retries."""
        with self._lock:
            self._failed(route, error).exhausted += 1

    def record_lost(self, route: RateLimitKey, error: ApiError) -> None:
        """Count a create without a clear answer. The client does not retry those."""
        with self._lock:
            self._failed(route, error).lost += 1

    def _failed(self, route: RateLimitKey, error: ApiError) -> _RouteState:
        state = self._routes.setdefault(route, _RouteState(error, 0.0))
        state.last_error = error
        state.failed_at = self._clock()
        return state
