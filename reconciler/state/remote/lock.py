"""The lock of a shared state: its lease."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from msgspec import to_builtins

from reconciler.state.lock import Holder, holder_from
from reconciler.state.remote.appender import Appender
from reconciler.state.remote.replica import Replica
from reconciler.state.rows import readable


class LeaseLock:
    """A `StateLock` whose holder gives signs of life, and is replaced if they stop."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._appender: Appender | None = None

    @contextmanager
    def hold(
        self,
        holder: Holder,
        *,
        wait_seconds: float,
        on_wait: Callable[[str], None],
        on_takeover: Callable[[Holder], None],
        on_lost: Callable[[], None],
        pause: Callable[[float], None],
    ) -> Iterator[Holder]:
        """Hold the lease; see `StateLock`."""
        held = self._replica.hold(
            to_builtins(holder),
            wait_seconds=wait_seconds,
            on_wait=on_wait,
            on_takeover=lambda data: on_takeover(_holder(data)),
            on_lost=on_lost,
            pause=pause,
        )
        with held as self._appender:
            try:
                yield holder
            finally:
                self._appender = None

    def permit(self) -> None:
        """Return if the lease is certainly valid, after a renewal if needed. Raises LeaseLostError."""
        if self._appender is not None:
            self._appender.permit()

    def holder(self) -> Holder | None:
        """The holder of the lease, as far as this program has read the log."""
        data = self._replica.holder()
        return None if data is None else _holder(data)

    def release(self) -> Holder | None:
        """End the lease of any holder, and return that holder."""
        data = self._replica.break_lease()
        return None if data is None else _holder(data)


def described(data: Mapping[str, Any]) -> str:
    """The holder of a claim in words."""
    return str(_holder(data))


def _holder(data: Mapping[str, Any]) -> Holder:
    with readable():
        return holder_from(data)
