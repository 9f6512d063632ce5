"""The waits of a run: announced if they take long, and over as soon as the run is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from reconciler.errors import Interrupted

ANNOUNCED_SECONDS = 2.0
"""Longer waits are announced."""

T = TypeVar("T")


class Waits:
    """Waits for one client, until `stop` is set. Safe to use from threads.

    `sleep` waits in tests; by default it is the wait for `stop`, which a signal ends at once. With
    `after_stop`, a wait goes on despite the stop, for the requests of a cleanup. See `Client` for
    the other arguments.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
        on_wait: Callable[[str, float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._stop = stop or threading.Event()
        self._sleep = sleep or self._stop.wait
        # A stop that was set ends each wait for it at once, which would make the cleanup spin.
        self._sleep_despite_stop = sleep or time.sleep
        self._on_wait = on_wait

    def check_stopped(self) -> None:
        """Raise Interrupted once the run is stopped. Long work calls it between its requests."""
        if self._stop.is_set():
            raise Interrupted("The run was stopped.")

    def sleep(self, seconds: float, *, after_stop: bool = False) -> None:
        """Wait without an announcement. Raises Interrupted once the run is stopped."""
        if after_stop:
            self._sleep_despite_stop(seconds)
            return
        self._sleep(seconds)
        self.check_stopped()

    def pause(
        self,
        seconds: float,
        reason: str,
        *,
        total_seconds: float | None = None,
        after_stop: bool = False,
    ) -> None:
        """Wait; announce it if it takes long. Raises Interrupted once the run is stopped.

        Of several pauses for one reason, `total_seconds` decides about the announcement.
        """
        if (total_seconds or seconds) > ANNOUNCED_SECONDS:
            self.announce(reason, self._clock() + seconds)
        self.sleep(seconds, after_stop=after_stop)

    def poll(
        self,
        read: Callable[[], T],
        *,
        is_done: Callable[[T], bool],
        next_pause: Callable[[T], float | None],
        reason: str,
    ) -> T:
        """Call `read` until its result is done or `next_pause` is None; return the last result."""
        while True:
            result = read()
            if is_done(result):
                return result
            pause = next_pause(result)
            if pause is None:
                return result
            self.pause(pause, reason)

    def announce(self, reason: str, until: float) -> None:
        """Report a wait to the user; `until` is in unix seconds."""
        if self._on_wait is not None:
            self._on_wait(reason, until)
