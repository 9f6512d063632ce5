"""A value, such as a connection, that the first of several threads creates for all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Holds a value from its first use. Thread-safe: one thread makes it, and the others wait."""

    # The maker is an argument of `get`. To hold it would keep the driver alive, in a cycle with this
    # object.

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: list[T] = []

    def get(self, make: Callable[[], T]) -> T:
        """The value. Errors of `make` pass through, and the next use tries again."""
        with self._lock:
            if not self._values:
                self._values.append(make())
            return self._values[0]
