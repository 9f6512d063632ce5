"""Time as the API tells it: one clock for every comparison with the API's timestamps, and one table of tolerances.

The API is eventually consistent, and its clock is not the clock of this machine. Code that waits for an object to show,
or that decides by `created_at` whose object it is, takes its numbers and its time from here.
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
"""How long a new object may be missing from lists and from reads by id. Lags of several seconds were recorded; in tests
and on slow servers `RECONCILER_SETTLE_SECONDS` replaces this value."""

FIRST_PAUSE_SECONDS = 0.5
"""The pause before the second look at something that does not show yet; most objects show within it."""

LONGEST_PAUSE_SECONDS = 4.0
"""The longest pause between two looks, so that an object is seen soon after it shows."""

CLOCK_SECONDS = 5.0
"""How far `created_at` may differ from the server's time as we know it: `Date` and `created_at` are whole seconds, and
the hosts behind one address do not agree exactly."""

LATE_SECONDS = 5.0
"""How long after we lost its answer a create may still be carried out: gateways queue requests for seconds."""

ATTEMPT_SECONDS = 600.0
"""How long an attempt can have lasted whose end was never recorded because the process died. A request ends within 550
seconds after its turn."""

UPLOAD_ATTEMPT_SECONDS = 3600.0
"""The same for an upload, whose bytes alone can take minutes."""

KEY_WITH_ACCOUNT_SECONDS = 5.0
"""How much younger than its service account the key can be that the API makes together with it."""

AUDIT_CLOCK_SECONDS = 10.0
"""How far the time of an audit log entry may lie outside of the call that it describes: the log is written by a service
of its own, after the call."""

LIST_BEHIND_LOG_SECONDS = 60.0
"""How long a list may still lack a change that the audit log already shows."""

JUST_READ_SECONDS = 5.0
"""How long a plan's own reading of a scope still counts as current when objects are created in it."""

SHARED_LIST_SECONDS = 60.0
"""How long the changes of one apply share a list. One list per scope and minute is what the pace of admin routes allows
without slowing the writes."""


class ServerClock:
    """The server's time, in unix seconds: the machine's clock, corrected by the `Date` headers of answers.

    Each answer bounds the difference between the clocks by the moments at which its request was sent and received, so a
    slow answer says little and a quick one much. Bounds are narrowed from answer to answer. Where they contradict each
    other a clock was set, and the newest counts. The machine's own clock is believed as far as the bounds allow.
    Safe to use from threads.
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
        """The server's time at a moment of the machine's clock."""
        return machine_time + self.ahead_seconds

    @property
    def is_known(self) -> bool:
        """Whether an answer has told the server's time yet."""
        return self._lowest > -math.inf

    def learn(self, date: str | None, *, sent_at: float, received_at: float) -> None:
        """Take the `Date` of an answer into account; the moments are of the machine's clock."""
        told = _seconds_of(date)
        if told is None or received_at < sent_at:  # the machine's clock was set meanwhile
            return
        # A `Date` is cut off to whole seconds, and was written some time between the two moments.
        lowest, highest = told - received_at, told + 1.0 - sent_at
        with self._lock:
            narrowed = max(lowest, self._lowest), min(highest, self._highest)
            self._lowest, self._highest = (
                narrowed if narrowed[0] <= narrowed[1] else (lowest, highest)
            )
            self.ahead_seconds = min(max(0.0, self._lowest), self._highest)


def _seconds_of(date: str | None) -> float | None:
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


class Window(Struct, frozen=True):
    """The time within which an attempt to create something can have created it. Unix seconds of the server."""

    began: float
    until: float = math.inf

    @classmethod
    def of(
        cls, began: float, ended: float | None, *, longest_seconds: float = ATTEMPT_SECONDS
    ) -> Window:
        """The window of an attempt that began at a time and ended without an answer, or whose end is unknown."""
        return cls(began, (began + longest_seconds if ended is None else ended) + LATE_SECONDS)

    def holds(self, created_at: Any) -> bool:
        """Whether an object that was created at a time can be of the attempt; False where the time is unknown."""
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
    """The pauses between attempts: each longer than the last, and `seconds` in all."""
    pause, left = first, seconds
    while left > 0.0:
        yield min(pause, left)
        left -= pause
        pause = min(pause * growth, longest)
