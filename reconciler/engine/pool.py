"""Worker pools.

Admin routes are rate-limited and can block every thread that uses them for a minute, so each admin
kind has its own pool; the rest share one. The client bounds how many calls are in flight.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar

from reconciler.model.kind import Kind
from reconciler.model.tracing import carried

Result = TypeVar("Result")


def pool_key(kind: Kind) -> str:
    """The name of the pool that serves a kind."""
    return kind.name if kind.scope.needs_admin_key else ""


# Threads are cheap compared with a minute of rate limiting, so each pool may use all of them.
class WorkerPools:
    """Thread pools of `size` threads each. With a size of 1 the caller's own thread does the work.

    Work may submit further work. After an error or an interrupt nobody waits for the rest: a call
    that hangs must not hold up the end of the run.
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
            # Under the lock: a thread that is about to create a pool would otherwise leave it
            # running.
            self._has_ended = True
        for pool in self._pools.values():
            # Without waiting: a call can hang for as long as its timeout, and the journal tells the
            # next run about it.
            pool.shutdown(wait=False, cancel_futures=True)

    def submit(self, kind: Kind, work: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Run work that makes calls for a kind; the future has its result."""
        # One thread runs in the order of the calls, which makes failures reproducible.
        if self._size > 1:
            return self._pool(kind).submit(carried(work), *arguments)
        # In the caller's thread: an error is raised here rather than at `result`.
        done: Future[Result] = Future()
        done.set_result(work(*arguments))
        return done

    def _pool(self, kind: Kind) -> ThreadPoolExecutor:
        name = pool_key(kind)
        with self._lock:
            if self._has_ended:
                raise RuntimeError("the pools are closed")
            if name not in self._pools:
                self._pools[name] = ThreadPoolExecutor(self._size)
            return self._pools[name]
