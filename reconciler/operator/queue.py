"""Decides which Stack is reconciled next, and when it runs again. Starts no threads and calls no
API.

Times are those of a monotonic clock, so a correction of the system clock changes nothing.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from reconciler.operator.resources import ObjectKey

JITTER = 0.1
"""The share of an interval by which runs are moved, so that they do not all start at once."""
AHEAD = 0.2
"""The share of an interval by which a run may start early, to share the reading of another Stack."""
_FIRST_RETRY = 15.0
_LONGEST_RETRY = 600.0
_FIRST_BUSY = 5.0
_LONGEST_BUSY = 60.0
_LONGEST_BLOCKED = 3600.0
_LONGEST_LOOP = 6 * 3600.0
_SOON = 2.0


class Next(StrEnum):
    """The end of a run, which determines the time of the next one."""

    DONE = "done"
    SOON = "soon"
    """The inputs changed during the run."""
    FAILED = "failed"
    """A retry may succeed without a change."""
    BLOCKED = "blocked"
    """Somebody has to make a change first, and the change wakes the Stack."""
    BUSY = "busy"
    """Another run holds the lock."""
    LOOPING = "looping"
    """Applies do not converge."""
    GONE = "gone"
    """The Stack no longer exists."""


class RunEnd(Struct, frozen=True):
    """The end of a run, which determines the time of the next one."""

    next: Next
    interval: float = 0.0
    repeats: int = 0
    """How often an apply of the same source left changes."""


def delay_after(outcome: RunEnd, failures: int) -> float:
    """Seconds until the next run, without jitter. `failures` counts equal ends in a row."""
    factor = 2.0 ** min(max(failures - 1, 0), 30)
    interval = outcome.interval
    match outcome.next:
        case Next.SOON:
            return min(_SOON * factor, max(interval, _SOON))
        case Next.FAILED:
            return min(_FIRST_RETRY * factor, max(interval, _LONGEST_RETRY))
        case Next.BUSY:
            return min(_FIRST_BUSY * factor, _LONGEST_BUSY)
        case Next.BLOCKED:
            return min(interval * factor, max(interval, _LONGEST_BLOCKED))
        case Next.LOOPING:
            return min(interval * 2.0 ** min(outcome.repeats, 30), max(interval, _LONGEST_LOOP))
    return interval


class _Entry:
    __slots__ = ("due", "failures", "group", "interval", "is_running", "is_woken", "last")

    def __init__(self) -> None:
        self.due = 0.0
        self.failures = 0
        self.last: Next | None = None
        self.interval = 0.0
        self.group: ObjectKey | None = None
        self.is_running = False
        self.is_woken = False


class WorkQueue:
    """The Stacks and when each is due. A Stack is never taken twice at once. Thread-safe."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._changed = threading.Condition()
        self._entries: dict[ObjectKey, _Entry] = {}
        self._heap: list[tuple[float, ObjectKey]] = []
        self._is_closed = False

    def wake(self, key: ObjectKey) -> None:
        """Make a Stack due at once, whatever its back-off. A Stack that is running runs once more."""
        with self._changed:
            entry = self._entries.setdefault(key, _Entry())
            entry.failures = 0
            if entry.is_running:
                entry.is_woken = True
            else:
                self._set_due(key, entry, 0.0)
                self._changed.notify()

    def take(self) -> ObjectKey | None:
        """Wait for a Stack that is due, and mark it as running. None once closed."""
        with self._changed:
            while not self._is_closed:
                wait = self._seconds_to_next()
                if wait is not None and wait <= 0:
                    _, key = heapq.heappop(self._heap)
                    entry = self._entries[key]
                    entry.is_running = True
                    self._bring_forward(entry.group)
                    return key
                self._changed.wait(wait)
            return None

    def finish(self, key: ObjectKey, outcome: RunEnd, group: ObjectKey | None = None) -> float:
        """Note the end of a run; seconds to the next one. Stacks of a group run at about the same time."""
        with self._changed:
            entry = self._entries.setdefault(key, _Entry())
            entry.is_running = False
            if outcome.next is Next.GONE and not entry.is_woken:
                del self._entries[key]
                return 0.0
            if outcome.next is not entry.last:
                entry.failures = 0
            entry.failures += 1
            entry.last, entry.interval, entry.group = outcome.next, outcome.interval, group
            delay = delay_after(outcome, entry.failures)
            delay *= 1 - JITTER + 2 * JITTER * self._jitter()
            if entry.is_woken:
                entry.is_woken, entry.failures, delay = False, 0, 0.0
            due = 0.0
            if delay:
                due = self._clock() + delay
            self._set_due(key, entry, due)
            self._changed.notify()
            return delay

    def close(self) -> None:
        """Return no more Stacks, and end all waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def waiting(self) -> int:
        """How many Stacks are due and not running."""
        now = self._clock()
        with self._changed:
            entries = self._entries.values()
            return sum(not entry.is_running and entry.due <= now for entry in entries)

    def _set_due(self, key: ObjectKey, entry: _Entry, due: float) -> None:
        # An older entry of the heap stays. It no longer matches `due`, and is dropped at the top.
        entry.due = due
        heapq.heappush(self._heap, (due, key))

    def _seconds_to_next(self) -> float | None:
        """Seconds until the first Stack is due; None if none is. Drops replaced entries of the heap."""
        while self._heap:
            due, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and not entry.is_running and entry.due == due:
                return due - self._clock()
            heapq.heappop(self._heap)
        return None

    def _bring_forward(self, group: ObjectKey | None) -> None:
        """Make Stacks of a group due that are nearly due, so that they share one reading."""
        if group is None:
            return
        now = self._clock()
        for key, entry in self._entries.items():
            # A Stack that failed keeps its back-off.
            is_good = entry.last is Next.DONE
            if entry.group != group or entry.is_running or not is_good or entry.due <= now:
                continue
            if entry.due - now <= AHEAD * entry.interval:
                self._set_due(key, entry, now)
        self._changed.notify_all()
