"""Threads for calls. Those that wait for the pace of one route leave the other routes to go on.

Admin routes are paced, and all threads that work on one may be waiting for a minute. So each kind behind such routes
has a crew of its own, and all other kinds have one together. How many calls are in flight is bounded where they are
sent.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar

from reconciler.model.kind import Kind

Result = TypeVar("Result")


def pool_key(kind: Kind) -> str:
    """The name of the crew that works on a kind."""
    return kind.name if kind.scope.needs_admin_key else ""


class WorkerPools:
    """Threads that call, so many in each crew. One is none: what it is to do is done by whoever begins it.

    Work may begin further work. After an error or an interrupt nobody waits for the rest, which may never come.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._lock = Lock()
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._has_ended = True
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def submit(self, kind: Kind, work: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Have something done that calls for a kind, and come back for the result."""
        if self._size > 1:
            return self._pool(kind).submit(work, *arguments)
        done: Future[Result] = Future()
        done.set_result(work(*arguments))
        return done

    def _pool(self, kind: Kind) -> ThreadPoolExecutor:
        name = pool_key(kind)
        with self._lock:
            if self._has_ended:
                raise RuntimeError("nobody waits for what is begun now")
            if name not in self._pools:
                self._pools[name] = ThreadPoolExecutor(self._size)
            return self._pools[name]
