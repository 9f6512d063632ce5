"""A value that several threads need and the first of them makes, such as a connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Holds a value from its first use. Thread-safe: it is made once, and the others wait.

    It is given what makes the value at each use, so that it does not keep the driver alive.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: list[T] = []

    def get(self, make: Callable[[], T]) -> T:
        """The value. What `make` raises is raised, and the next use tries again."""
        with self._lock:
            if not self._values:
                self._values.append(make())
            return self._values[0]
