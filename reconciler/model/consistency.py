"""One clock for all comparisons with the API's timestamps, and one table of tolerances.

The API is eventually consistent, and its clock differs from this machine's. Code that waits for new
objects, or attributes objects by `created_at`, takes its numbers and its time from here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any

from msgspec import Struct

SETTLE_SECONDS = 12.0
"""How long a new object may be missing from lists and reads by id. Lags of several seconds were
observed. `RECONCILER_SETTLE_SECONDS` overrides the value in tests and for slow servers."""

FIRST_PAUSE_SECONDS = 0.5
"""The first pause between polls. Most new objects show within it."""

LONGEST_PAUSE_SECONDS = 4.0
"""The longest pause between polls, so that a new object is noticed soon."""

CLOCK_SECONDS = 5.0
"""How far `created_at` may differ from our estimate of the server's time. `Date` and `created_at`
are whole seconds, and the hosts behind one address disagree slightly."""

LATE_SECONDS = 5.0
"""How long after a lost answer the API may still execute the create: gateways queue requests for
seconds."""

ATTEMPT_SECONDS = 600.0
"""The longest duration of an attempt whose end was not recorded because the process died. A request
ends within 550 seconds after it was sent."""

UPLOAD_ATTEMPT_SECONDS = 3600.0
"""The same for an upload, whose bytes alone can take minutes."""

KEY_WITH_ACCOUNT_SECONDS = 5.0
"""How much younger than its service account a key can be that the API created with the account."""

AUDIT_CLOCK_SECONDS = 10.0
"""How far the time of an audit log entry may lie outside the call that it describes. A separate
service writes the log after the call."""

LIST_BEHIND_LOG_SECONDS = 60.0
"""How long a list may lack a change that the audit log already shows."""

JUST_READ_SECONDS = 5.0
"""How long a list that the plan read counts as current when objects are created in its scope."""

SHARED_LIST_SECONDS = 60.0
"""How long changes of one apply share a list. The rate limits of admin routes allow about one list
per scope and minute without delaying writes."""

SHARED_SECONDS = 900.0
"""How long plans of one process may share an answer. It is as long as entries of the audit log may
be late."""


class ServerClock:
    """The server's time in unix seconds: the local clock, corrected by the `Date` headers of
    answers.

    Each answer bounds the offset by the times of its request and response, so quick answers say
    more than slow ones. Bounds are intersected. If they contradict each other, a clock was set, and
    the newest answer wins. Within the bounds, the local clock is trusted. Thread-safe.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.time
        self._lowest, self._highest = -math.inf, math.inf
        self._lock = Lock()
        self.ahead_seconds = 0.0
        """How far the server's clock is ahead of the machine's."""

    def __call__(self) -> float:
        return self.at(self._clock())

    def at(self, machine_time: float) -> float:
        """The server's time at a local time."""
        return machine_time + self.ahead_seconds

    @property
    def is_known(self) -> bool:
        """Whether an answer has shown the server's time."""
        return self._lowest > -math.inf

    def learn(self, date: str | None, *, sent_at: float, received_at: float) -> None:
        """Narrow the bounds with the `Date` of an answer. The other arguments are local times."""
        server_time = _seconds_of(date)
        if server_time is None or received_at < sent_at:  # the machine's clock was set meanwhile
            return
        # A `Date` is cut off to whole seconds, and was written some time between the two moments.
        lowest, highest = server_time - received_at, server_time + 1.0 - sent_at
        with self._lock:
            narrowed = max(lowest, self._lowest), min(highest, self._highest)
            # An empty intersection means that a clock was set since the earlier answers.
            if narrowed[0] > narrowed[1]:
                narrowed = lowest, highest
            self._lowest, self._highest = narrowed
            self.ahead_seconds = min(max(0.0, self._lowest), self._highest)


def _seconds_of(date: str | None) -> float | None:
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


class CreationWindow(Struct, frozen=True):
    """The interval in which an attempt can have created an object, in unix seconds of the server."""

    began: float
    until: float = math.inf

    @classmethod
    def of(
        cls, began: float, ended: float | None, *, longest_seconds: float = ATTEMPT_SECONDS
    ) -> CreationWindow:
        """The window of an attempt that ended without an answer, or whose end is unknown."""
        # Without an end, the process died during the attempt.
        given_up = began + longest_seconds if ended is None else ended
        return cls(began, given_up + LATE_SECONDS)

    def holds(self, created_at: Any) -> bool:
        """Whether the attempt can have created an object with this creation time; False if the time
        is unknown."""
        # Without a time, an object could be anybody's, and must not be taken for ours.
        if isinstance(created_at, bool) or not isinstance(created_at, int | float):
            return False
        return self.began - CLOCK_SECONDS <= created_at <= self.until + CLOCK_SECONDS


def pauses(
    seconds: float,
    *,
    first: float = FIRST_PAUSE_SECONDS,
    longest: float = LONGEST_PAUSE_SECONDS,
    growth: float = 2.0,
) -> Iterator[float]:
    """The growing pauses between polls, which add up to `seconds`."""
    pause, left = first, seconds
    while left > 0.0:
        yield min(pause, left)
        left -= pause
        pause = min(pause * growth, longest)
