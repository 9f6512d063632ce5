"""Retries of reads and claims while the storage is down or the log is being trimmed."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from reconciler.state.remote.segments import MissingSegmentError
from reconciler.state.remote.storage import UnreachableError

T = TypeVar("T")

FIRST_PATIENCE_SECONDS = 2.0
"""How long a run tries to reach a storage that it never reached. Its address may be wrong."""
PATIENCE_SECONDS = 15.0
"""How long it tries later: a server that restarts or fails over is down for some seconds."""
_LEAST_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0


def with_retries(operation: Callable[[], T], *, seconds: float = PATIENCE_SECONDS) -> T:
    """The result of an operation, retried if the storage does not answer or the log is being trimmed."""
    # Not only by time, because a single attempt may take as long as all of them should.
    give_up_at = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    for attempt in count(1):
        try:
            return operation()
        except (UnreachableError, MissingSegmentError):
            if attempt >= _LEAST_ATTEMPTS and time.monotonic() + pause >= give_up_at:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    raise AssertionError("count() has no end")
