"""Waits for conditions in tests, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def wait_for(
    read: Callable[[], _T],
    *,
    seconds: float,
    explain: Callable[[], object] = lambda: "nothing happened",
    pause: float = 0.05,
) -> _T:
    """The first value that counts as true. Fails with the explanation after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := read()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"after {seconds:.0f} seconds: {explain()}")
        time.sleep(pause)
    return value
