"""Outages: routes that nothing gets through, so that a run which cannot go on ends soon.

Every request is patient for minutes, and a plan has thousands of them. Once a few on the same route have been given up
one after the other, the next ones are not tried at all; only now and then one is, with a single attempt, to see
whether the route has come back. Anything that the server says to a request, a refusal too, shows that it is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from msgspec import Struct

from reconciler.api.transport.throttle import RateLimitKey
from reconciler.errors import ApiError

_PATIENT_REQUESTS = 3  # requests that were tried for minutes each
_PATIENT_CREATES = (
    40  # creates, which are sent once each; ten workers that look and send again make so many in a minute
)
_PROBE_SECONDS = 60.0


class _RouteState(Struct):
    last: ApiError
    looked_at: float
    given_up: int = 0
    lost: int = 0

    @property
    def is_certain(self) -> bool:
        return self.given_up >= _PATIENT_REQUESTS or self.lost >= _PATIENT_CREATES


class CircuitBreaker:
    """What was given up since the last answer, route by route. Safe to use from threads; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._outages: dict[RateLimitKey, _RouteState] = {}
        self._lock = threading.Lock()

    def check(self, lane: RateLimitKey, call: str) -> None:
        """Raise ApiError where a request would not get through; let one in a minute try."""
        with self._lock:
            outage = self._outages.get(lane)
            if outage is None or not outage.is_certain:
                return
            if self._clock() - outage.looked_at >= _PROBE_SECONDS:
                outage.looked_at = self._clock()
                return
            last, calls = outage.last, outage.given_up or outage.lost
        raise ApiError(
            f"{call} was not tried, as {calls} calls like it had no answer. The last one: {last}",
            hint=last.hint,
            status=last.status,
            request_id=last.request_id,
        )

    def has(self, lane: RateLimitKey) -> bool:
        """Whether patience has been lost with a route."""
        with self._lock:
            outage = self._outages.get(lane)
            return outage is not None and outage.is_certain

    def answered(self, lane: RateLimitKey) -> None:
        """The server is there."""
        with self._lock:
            self._outages.pop(lane, None)

    def gave_up(self, lane: RateLimitKey, error: ApiError) -> None:
        """A request was tried again and again, for nothing."""
        with self._lock:
            self._noted(lane, error).given_up += 1

    def lost(self, lane: RateLimitKey, error: ApiError) -> None:
        """A create, which is not tried again by itself, had no clear answer."""
        with self._lock:
            self._noted(lane, error).lost += 1

    def _noted(self, lane: RateLimitKey, error: ApiError) -> _RouteState:
        outage = self._outages.setdefault(lane, _RouteState(error, 0.0))
        outage.last, outage.looked_at = error, self._clock()
        return outage
