"""The lease of a shared state: which run may append to the log, and until when.

A claim is a segment. Its holder gives signs of life: each segment is one, and after a third of the lease without a
segment, a renewal. If the storage has not heard from the holder for the whole lease, the next run claims it, with a
notice. All times come from the clock of the storage, so the clocks of the machines do not matter.

The holder measures the same time with its own steady clock, from before it sent its last sign of life. It sends no
request to the API later than that. So when another run takes over, this one has stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from reconciler.errors import LeaseLostError, LockedError

DEFAULT_SECONDS = 30.0
_SAFETY = 0.9
"""The part of the lease after which the holder stops, because steady clocks differ slightly in speed."""


def steady_time() -> float:
    """A clock in seconds that is never set, and that counts the time while the machine is suspended."""
    # `monotonic` stops during a suspend on Linux. A run that wakes up would believe in its lease.
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Validity:
    """How long the lease of this run is certainly valid. Thread-safe."""

    def __init__(self, seconds: float, clock: Callable[[], float] = steady_time) -> None:
        self.seconds = seconds
        self._clock = clock
        self._signed_at = clock()

    def begin_sign(self) -> float:
        """The time before a sign of life is sent. Pass it to `signed` once the storage has it."""
        return self._clock()

    def signed(self, sent_at: float) -> None:
        """Note that the storage has the sign of life that was sent at this time."""
        self._signed_at = max(self._signed_at, sent_at)

    @property
    def left(self) -> float:
        """The seconds for which the lease is certainly valid; negative when it may have ended."""
        return self._signed_at + self.seconds * _SAFETY - self._clock()

    @property
    def until_renewal(self) -> float:
        """The seconds until the next sign of life is due."""
        return self._signed_at + self.seconds / 3 - self._clock()


def lost(address: str, reason: str = "") -> LeaseLostError:
    """The error of a run that must stop."""
    detail = reason or "another run has taken it over, or it was released with `state unlock`"
    return LeaseLostError(
        f"this run has lost its lease on the state {address}: {detail}",
        hint="It made no further change. Run again: the next run continues where this one stopped.",
    )


def held(description: str, seconds_left: float) -> LockedError:
    """The error of a run that finds the lease taken."""
    return LockedError(
        f"another run holds the lock: {description}; its lease ends in "
        f"{max(1, round(seconds_left))} s unless it is renewed",
        hint="Wait for it to end, or use --lock-wait 10m. A run that died is replaced once its lease ends.",
    )
