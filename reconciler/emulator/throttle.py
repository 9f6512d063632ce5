"""Rate limits of the admin API: a number of requests per minute and route, then 429."""

from __future__ import annotations

import math

from reconciler.emulator.errors import ErrorAnswer, rate_limited
from reconciler.emulator.options import EmulatorOptions

_WINDOW_SECONDS = 60.0


class RateLimiter:
    """Counts requests per route in windows that open with their first request."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}

    def reset(self) -> None:
        self._windows.clear()

    def check(self, route: str, now: float, options: EmulatorOptions) -> None:
        """Count a request to this route, or refuse it with 429."""
        if options.admin_rpm == 0:
            return
        opened, count = self._windows.get(route, (now, 0))
        if now - opened >= _WINDOW_SECONDS:
            opened, count = now, 0
        if count >= options.admin_rpm:
            raise _refusal(opened + _WINDOW_SECONDS - now, options)
        self._windows[route] = (opened, count + 1)


def _refusal(wait_seconds: float, options: EmulatorOptions) -> ErrorAnswer:
    message = "Rate limit reached for this endpoint."
    if options.throttle_style == "retry-after":
        return rate_limited(message, {"Retry-After": str(max(1, math.ceil(wait_seconds)))})
    if options.throttle_style == "text":
        return rate_limited(f"{message} Please try again after {wait_seconds:.3f} seconds.")
    return rate_limited(message)
