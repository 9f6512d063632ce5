"""Outages: routes that nothing gets through, so that a run which cannot go on ends soon.

Every request is patient for minutes, and a plan has thousands of them. Once a few on the same route have been given up
one after the other, the next ones are not tried at all; only now and then one is, with a single attempt, to see
whether the route has come back. Anything that the server says to a request, a refusal too, shows that it is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from reconciler.api.throttle import Lane
from reconciler.errors import ApiError

_PATIENT_REQUESTS = 3
_PROBE_SECONDS = 60.0


@dataclass
class _Outage:
    given_up: int
    last: ApiError
    looked_at: float


class Outages:
    """What was given up since the last answer, route by route. Safe to use from threads; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._outages: dict[Lane, _Outage] = {}
        self._lock = threading.Lock()

    def check(self, lane: Lane, call: str) -> None:
        """Raise ApiError where a request would not get through; let one in a minute try."""
        with self._lock:
            outage = self._outages.get(lane)
            if outage is None or outage.given_up < _PATIENT_REQUESTS:
                return
            if self._clock() - outage.looked_at >= _PROBE_SECONDS:
                outage.looked_at = self._clock()
                return
            last = outage.last
        raise ApiError(
            f"{call} was not tried, as {outage.given_up} calls like it had no answer. The last one: {last}",
            hint=last.hint,
            status=last.status,
            request_id=last.request_id,
        )

    def has(self, lane: Lane) -> bool:
        """Whether patience has been lost with a route."""
        with self._lock:
            outage = self._outages.get(lane)
            return outage is not None and outage.given_up >= _PATIENT_REQUESTS

    def answered(self, lane: Lane) -> None:
        """The server is there."""
        with self._lock:
            self._outages.pop(lane, None)

    def gave_up(self, lane: Lane, error: ApiError) -> None:
        """A request was tried again and again, for nothing."""
        with self._lock:
            outage = self._outages.setdefault(lane, _Outage(0, error, self._clock()))
            outage.given_up += 1
            outage.last, outage.looked_at = error, self._clock()
