"""The pace: how fast each route may be called.

Admin routes accept a handful of requests a minute each, and do not say how many. Nothing is paced before the first
refusal; what got through until then is taken as the limit, and from then on no more than that is sent in any minute,
which is right for a bucket that refills steadily as well as for one that is emptied on the minute. A server
that says when to come back is believed instead. Every lane (one method of one route) waits for itself, so the calls
of a project go on while admin calls wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

WINDOW_SECONDS = 61.0  # a second over the minute: the server counts from when requests arrive
_MINUTE_SECONDS = 60.0
_RELAX_SECONDS = 300.0  # without a refusal for so long, what was learnt is loosened
_DECREASE = 0.75
_FLOOR = 3  # other clients may have eaten the allowance: never conclude that fewer are possible


class Lane(NamedTuple):
    """What is limited together: one method of one route, by class of key, or writes to one object.

    `per_minute` is the limit where the API's documentation tells it.
    """

    is_admin: bool
    method: str
    route: str
    per_minute: int | None = None


class _State(Struct):
    limit: int | None  # requests in any window, None for no limit
    sent: deque[float] = field(default_factory=deque)
    resume_at: float = 0.0
    spacing_seconds: float = 0.0
    changed_at: float = 0.0


class Throttle:
    """Says when a request may go. Never waits itself, and is safe to use from threads.

    `admin_requests_per_minute` is the limit of each admin route where it is known, None to learn it; below one, it
    says how far apart requests are. `clock` is in seconds and monotonic.
    """

    def __init__(
        self, *, admin_requests_per_minute: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._configured = admin_requests_per_minute
        self._clock = clock
        self._lanes: dict[Lane, _State] = {}
        self._lock = threading.Lock()

    def take(self, lane: Lane) -> float:
        """Take a turn: 0 if the request may go now, else how many seconds to wait before asking again."""
        with self._lock:
            state, now = self._state(lane), self._clock()
            wait = _free_at(state, now) - now
            if wait > 0:
                return wait
            state.sent.append(now)
            return 0.0

    def accepted(self, lane: Lane) -> None:
        """Tell that the last request was not refused; after a long calm the lane speeds up a little."""
        with self._lock:
            state, now = self._state(lane), self._clock()
            if now - state.changed_at < _RELAX_SECONDS:
                return
            begun = self._fresh(lane)
            state.spacing_seconds, state.changed_at = max(begun.spacing_seconds, state.spacing_seconds * _DECREASE), now
            if state.limit is not None and state.limit != begun.limit:
                state.limit += 1

    def refused(self, lane: Lane, *, wait_seconds: float, told: bool) -> None:
        """Tell that the last request got a 429: nothing goes for `wait_seconds`, which the server told or we chose."""
        with self._lock:
            state, now = self._state(lane), self._clock()
            if state.sent:
                state.sent.pop()  # it did not count
            state.resume_at = max(state.resume_at, now + wait_seconds)
            if lane.is_admin:
                passed = sum(1 for moment in state.sent if moment > now - _MINUTE_SECONDS)
                _learn(state, passed=passed, now=now, told_seconds=wait_seconds if told else None)

    def seconds_for(self, lane: Lane, count: int) -> float:
        """How long so many requests will wait for their turns at the least; 0 where no limit is known yet."""
        with self._lock:
            state, now = self._state(lane), self._clock()
            sent = deque(state.sent, maxlen=state.limit or 1)
            ahead = replace(state, sent=sent)
            moment = now
            for _ in range(count):
                moment = _free_at(ahead, moment)
                sent.append(moment)
            return moment - now

    def _state(self, lane: Lane) -> _State:
        if lane not in self._lanes:
            self._lanes[lane] = self._fresh(lane)
        return self._lanes[lane]

    def _fresh(self, lane: Lane) -> _State:
        pace = self._configured if lane.is_admin else None
        limit = lane.per_minute if pace is None else max(1, int(pace))
        spacing = _MINUTE_SECONDS / pace if pace is not None and pace < 1 else 0.0
        return _State(limit, spacing_seconds=spacing, changed_at=self._clock())


def _free_at(state: _State, now: float) -> float:
    while len(state.sent) > 1 and state.sent[0] <= now - WINDOW_SECONDS:
        state.sent.popleft()
    free = max(now, state.resume_at)
    # The first one after a wait goes when the server said.
    if state.sent and state.spacing_seconds and state.sent[-1] >= state.resume_at:
        free = max(free, state.sent[-1] + state.spacing_seconds)
    if state.limit is not None and len(state.sent) >= state.limit:
        free = max(free, state.sent[-state.limit] + WINDOW_SECONDS)
    return free


def _learn(state: _State, *, passed: int, now: float, told_seconds: float | None) -> None:
    if told_seconds is not None:
        # The hint is when one request may go, not all who wait: the next ones follow at the pace seen so far. Where
        # hardly any got through, others may have eaten the allowance, and the hint says more.
        pace = WINDOW_SECONDS / max(passed, 1)
        state.spacing_seconds = pace if passed >= _FLOOR else min(told_seconds, pace)
    else:
        # Requests that were in flight together are refused one after the other; each shows the limit more exactly.
        state.limit = max(_FLOOR, passed if state.limit is None else min(state.limit, passed))
    state.changed_at = now
