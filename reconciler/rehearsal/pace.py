"""Calculates how long calls would take at the pace of the live API.

Each admin route answers a number of requests a minute, whatever other routes do. So the route with
the most calls decides. Waiting for dependencies, latency and uploads take additional time.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.rehearsal import Pace, RouteCalls

REQUESTS_PER_MINUTE = 7.0
"""The requests a minute that an admin route of the live API accepts, as observed."""


def pace_of(
    reading: Iterable[RouteCalls], applying: Iterable[RouteCalls], requests_per_minute: float
) -> Pace:
    """The time at a pace, given as requests a minute of each admin route."""
    read, _ = _slowest(reading, requests_per_minute)
    applied, route = _slowest(applying, requests_per_minute)
    return Pace(requests_per_minute, read, applied, route)


def _slowest(routes: Iterable[RouteCalls], requests_per_minute: float) -> tuple[float, str]:
    """The seconds that the slowest admin route takes, and its name; the first minute is free."""
    seconds, name = 0.0, ""
    for route in routes:
        if not route.is_admin:
            continue
        waits = max(0.0, route.calls - requests_per_minute) * 60.0 / requests_per_minute
        if waits > seconds:
            seconds, name = waits, f"{route.method} {route.path}"
    return seconds, name
