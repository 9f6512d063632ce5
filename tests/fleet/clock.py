"""A clock that skips the time in which nothing happens, for real threads that talk to real servers.

It runs as usual while anybody works. Once every thread of the process sleeps and at least one waits
for this clock, it jumps to the moment at which the first of them wakes up. So minutes of a rate limit
pass in milliseconds, and work takes as long as it takes. Jumping too early, because a thread waits
for another process, makes that wait look long and changes nothing else.

    with JumpingClock() as clock:
        Organizations(20, EmulatorOptions(admin_rpm=7), clock=clock)
        FleetContext(stop=clock.event(), …)
        Throttle(clock=clock.monotonic)
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_LOOKS = 3
"""How often in a row all threads must sleep before the clock jumps."""
_BETWEEN_LOOKS = 0.002
_TASKS = Path("/proc/self/task")


class JumpingClock:
    """Unix seconds, running inside a `with` block. `ahead` is by how much it has jumped."""

    def __init__(self, on_jump: Callable[[float], None] = lambda _: None) -> None:
        # Bound now: a test may replace the functions of `time` by this clock.
        self._time, self._monotonic = time.time, time.monotonic
        self._on_jump = on_jump
        self._changed = threading.Condition()
        self._wake_ups: list[float] = []
        self._is_over = threading.Event()
        self._watcher: threading.Thread | None = None
        self.ahead = 0.0

    def __call__(self) -> float:
        """The time in unix seconds."""
        return self._time() + self.ahead

    def monotonic(self) -> float:
        """The same clock, in seconds since some moment."""
        return self._monotonic() + self.ahead

    def event(self) -> threading.Event:
        """An event whose `wait` waits by this clock."""
        return _ClockedEvent(self)

    def sleep(self, seconds: float) -> None:
        self.event().wait(seconds)

    def __enter__(self) -> Self:
        self._watcher = threading.Thread(target=self._watch, name="jumping-clock", daemon=True)
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        if self._watcher is not None:
            self._watcher.join()

    def wait_for(self, is_set: Callable[[], bool], seconds: float | None) -> bool:
        """Wait until something is set, or for so many seconds; whether it is set."""
        ends_at = math.inf if seconds is None else self.monotonic() + seconds
        with self._changed:
            self._wake_ups.append(ends_at)
            try:
                while not is_set() and (left := ends_at - self.monotonic()) > 0:
                    self._changed.wait(min(left, threading.TIMEOUT_MAX))
            finally:
                self._wake_ups.remove(ends_at)
            return is_set()

    def wake(self) -> None:
        """Let everybody look whether what they wait for has happened."""
        with self._changed:
            self._changed.notify_all()

    def _watch(self) -> None:
        quiet = 0
        while not self._is_over.wait(_BETWEEN_LOOKS):
            quiet = quiet + 1 if self._is_quiet() else 0
            if quiet >= _LOOKS:
                self._jump()
                quiet = 0

    def _is_quiet(self) -> bool:
        with self._changed:
            if not self._wake_ups:
                return False
        return not any(_is_running(task) for task in os.listdir(_TASKS))  # noqa: PTH208 - only names

    def _jump(self) -> None:
        with self._changed:
            gap = min(self._wake_ups, default=math.inf) - self.monotonic()
            if not 0 < gap < math.inf:
                return
            self.ahead += gap
            self._on_jump(self.ahead)
            self._changed.notify_all()


class _ClockedEvent(threading.Event):
    """An event that is waited for by a jumping clock."""

    def __init__(self, clock: JumpingClock) -> None:
        super().__init__()
        self._clock = clock

    def set(self) -> None:
        super().set()
        self._clock.wake()

    def wait(self, timeout: float | None = None) -> bool:
        return self._clock.wait_for(self.is_set, timeout)


def _is_running(task: str) -> bool:
    """Whether another thread of this process runs or waits for a disk."""
    if int(task) == threading.get_native_id():
        return False
    try:
        text = (_TASKS / task / "stat").read_bytes()
    except OSError:
        return False  # it has ended
    return text[text.rindex(b")") + 2 : text.rindex(b")") + 3] in b"RD"
