"""Creates of the stacks of a fleet that run side by side: two of them never create the same object.

An object without our mark is told from others by its natural key alone, and a list lacks it for
seconds after its create. So a stack claims the natural key before it creates such an object, and
another stack that wants to create the same one is refused.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from reconciler.errors import AmbiguousError, ApiError, StalePlanError


class _Claim(Struct, eq=False):
    owner: object
    ends_at: float = math.inf


class SharedCreates:
    """The natural keys of objects that stacks create or have created. Safe to use from threads.

    A claim ends `kept_seconds` after the create, when lists show the object, or when the API refuses
    the create.
    """

    def __init__(self, *, kept_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._claims: dict[Hashable, _Claim] = {}
        self._ended: deque[tuple[float, Hashable, _Claim]] = deque()

    @contextmanager
    def claim(self, key: Hashable, owner: object, *, shown: str) -> Iterator[None]:
        """Surround a create of `owner`; `shown` describes the object.

        Raises StalePlanError if another owner has claimed the key.
        """
        claim = _Claim(owner)
        with self._lock:
            known = self._claims.get(key)
            if known and known.owner is not owner and known.ends_at > self._clock():
                raise StalePlanError(
                    f"another stack of this run has just created {shown}, or is about to",
                    hint="Declare it in one stack only. If they are meant to be two objects, plan again.",
                )
            self._claims[key] = claim
        try:
            yield
        except ApiError as error:
            if not isinstance(error, AmbiguousError):
                claim.ends_at = -math.inf
            raise
        finally:
            with self._lock:
                self._end(key, claim)

    def _end(self, key: Hashable, claim: _Claim) -> None:
        now = self._clock()
        claim.ends_at = min(claim.ends_at, now + self._kept_seconds)
        self._ended.append((now + self._kept_seconds, key, claim))
        while self._ended and self._ended[0][0] <= now:
            _, old, ended = self._ended.popleft()
            if self._claims.get(old) is ended:
                del self._claims[old]
