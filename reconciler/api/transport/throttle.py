"""The pace: how fast each route may be called.

Admin routes accept a handful of requests a minute each, and do not say how many. Nothing is paced before the first
refusal; what got through in the minute until then is taken as the limit, and from then on no more than that is sent in
any minute, which is right for a bucket that refills steadily as well as for one that is emptied on the minute.

A refusal in our first minute tells little, since an earlier run may have used the allowance: until one comes later,
whatever gets through raises the limit at once. A limit that was measured is tried after calm minutes with a request
more, less and less often as long as that is refused.

A server that says when to come back is believed: one request goes then, and shows whether others may follow. A lone
refusal with a wait of some seconds changes no pace: as a rule it is a hiccup, and if not, another one follows. Every
lane (one method of one route) waits for itself, so the calls of a project go on while admin calls wait.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

WINDOW_SECONDS = 61.0  # a second over the minute: the server counts from when requests arrive
_MINUTE_SECONDS = 60.0
_MAX_QUIET_WINDOWS = 5  # so much time is between two tries at the most
_SHORT_SECONDS = 5.0  # a server that asks for no longer has hardly used up a minute's allowance
_BACKOFF_SECONDS = 15.0  # where the server does not say when to come back
_DROP = 0.75  # with less than this part of the limit, others are using the allowance, which may end soon
_FLOOR = 3  # other clients may have eaten the allowance: never conclude that fewer are possible


class RateLimitKey(NamedTuple):
    """What is limited together: one method of one route, by class of key, or writes to one object.

    `per_minute` is the limit where the API's documentation tells it.
    """

    is_admin: bool
    method: str
    route: str
    per_minute: int | None = None


class _State(Struct):
    limit: int | None  # requests in any window, None for no limit
    ceiling: int | None  # what the limit is never raised over
    new_until: float  # before, what others sent ahead of us may still count
    spacing_seconds: float = 0.0
    sent: deque[float] = field(default_factory=deque)
    in_flight: int = 0

    resume_at: float = 0.0
    is_told: bool = False  # whether the server said when to resume
    rounds: int = 0  # of refusals without anything that got through in between
    refused_at: float = -math.inf  # when the latest round of refusals began
    is_lone: bool = False  # whether that round came without another in the minute before
    passed: int = 0  # what got through since the last refusal
    probe_interval: float = 0.0  # how far apart single requests get through, as long as we know no better

    is_measured: bool = False  # whether the limit shows what the server allows, or only what an earlier run left of it
    good: int = 0  # the limit before it was last raised
    quiet_windows: int = 1
    changed_at: float = 0.0

    def in_last(self, seconds: float, now: float) -> int:
        """How many requests were sent in so many seconds."""
        return sum(1 for moment in self.sent if moment > now - seconds)

    def spacing(self, now: float) -> float:
        """How far apart requests go at the least."""
        return max(self.spacing_seconds, self.probe_interval if now < self.new_until else 0.0)


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
        self._began_at = clock()
        self._lanes: dict[RateLimitKey, _State] = {}
        self._lock = threading.Lock()

    def take(self, lane: RateLimitKey) -> float:
        """Take a turn: 0 if the request may go now, else how many seconds to wait before asking again.

        Whoever took one tells what came of it: `accepted` or `refused`.
        """
        with self._lock:
            state, now = self._state(lane), self._clock()
            wait = _free_at(state, now) - now
            if wait > 0:
                return wait
            state.sent.append(now)
            state.in_flight += 1
            return 0.0

    def accepted(self, lane: RateLimitKey) -> None:
        """Tell that a request was not refused for its pace."""
        with self._lock:
            state, now = self._state(lane), self._clock()
            state.in_flight -= 1
            state.passed += 1
            state.rounds = 0
            _grow(state, now)

    def refused(self, lane: RateLimitKey, *, wait_seconds: float, told: bool) -> None:
        """Tell that a request got a 429: nothing goes for `wait_seconds`, which the server told or we chose."""
        with self._lock:
            state, now = self._state(lane), self._clock()
            state.in_flight -= 1
            if state.sent:
                state.sent.pop()  # it did not count
            if now >= state.resume_at:
                state.rounds += 1  # those that were in flight together are refused together
                state.is_lone = now - state.refused_at > WINDOW_SECONDS
                state.refused_at = now
            is_hiccup = told and wait_seconds < _SHORT_SECONDS and state.is_lone
            if lane.is_admin and not (is_hiccup and _says_nothing(state, now)):
                _learn(state, now=now, told_seconds=wait_seconds if told else None)
                if not told and state.rounds > 1:
                    wait_seconds = max(wait_seconds, min(2.0 ** (state.rounds - 1), _BACKOFF_SECONDS))
            state.is_told = told
            state.resume_at = max(state.resume_at, now + wait_seconds)
            state.passed = 0

    def is_guessing(self, lane: RateLimitKey) -> bool:
        """Whether the limit of a lane may be raised at any moment, so that a turn comes sooner than `take` said."""
        with self._lock:
            state = self._state(lane)
            return state.limit != state.ceiling and not state.is_measured

    def seconds_for(self, lane: RateLimitKey, count: int) -> float:
        """How long so many requests will wait for their turns at the least; 0 where no limit is known yet.

        As long as there is only a guess, the lane is taken to be as fast as the fastest that was measured.
        """
        with self._lock:
            state, now = self._state(lane), self._clock()
            limit = self._likely(lane)
            sent = deque(state.sent, maxlen=limit or 1)
            ahead = replace(state, limit=limit, sent=sent)
            moment = now
            for _ in range(count if limit is not None or state.spacing(now) else min(count, 1)):
                moment = _free_at(ahead, moment)
                sent.append(moment)
            return moment - now

    def _state(self, lane: RateLimitKey) -> _State:
        if lane not in self._lanes:
            pace = self._configured if lane.is_admin else None
            limit = lane.per_minute if pace is None else max(1, int(pace))
            spacing = _MINUTE_SECONDS / pace if pace is not None and pace < 1 else 0.0
            new_until = self._began_at + _MINUTE_SECONDS
            self._lanes[lane] = _State(limit, ceiling=limit, new_until=new_until, spacing_seconds=spacing)
        return self._lanes[lane]

    def _likely(self, lane: RateLimitKey) -> int | None:
        """The limit of a lane, or as long as there is only a guess, the one that is likely."""
        state = self._lanes[lane]
        if state.is_measured or not lane.is_admin:
            return state.limit
        measured = (other.limit or 0 for other in self._lanes.values() if other.is_measured)
        guess = state.limit if (state.limit or 0) >= _FLOOR else None
        return state.ceiling or max(measured, default=0) or guess


def _free_at(state: _State, now: float) -> float:
    while len(state.sent) > 1 and state.sent[0] <= now - WINDOW_SECONDS:
        state.sent.popleft()
    free = max(now, state.resume_at)
    if not state.sent or (state.is_told and not state.is_measured and state.sent[-1] < state.resume_at):
        return free  # the first one after a wait goes when the server said
    if spacing := state.spacing(free):
        free = max(free, state.sent[-1] + spacing)
    if state.limit is not None and len(state.sent) >= state.limit:
        free = max(free, state.sent[-state.limit] + WINDOW_SECONDS)
    return free


def _grow(state: _State, now: float) -> None:
    """Raise the limit once all that it allows got through: at once as long as it is a guess, else after a calm."""
    if state.limit is None or state.limit == state.ceiling:
        return
    count = state.in_last(_MINUTE_SECONDS, now)
    if count < state.limit:
        return
    if not state.in_flight and state.limit > state.good:
        state.is_measured = False  # more than was measured got through
    is_calm = now - state.changed_at >= state.quiet_windows * WINDOW_SECONDS
    if is_calm if state.is_measured else not state.in_flight:
        state.good = count
        raised = count + (1 if state.is_measured else max(1, count // 4))
        state.limit = raised if state.ceiling is None else min(raised, state.ceiling)
        state.changed_at = now


def _says_nothing(state: _State, now: float) -> bool:
    """Whether a lone refusal with a short wait tells nothing of the pace: no limit is known yet, which another refusal
    within a minute would show, or less was sent than the limit that was measured.
    """
    return state.limit is None or (state.is_measured and state.in_last(_MINUTE_SECONDS, now) < _DROP * state.good)


def _learn(state: _State, *, now: float, told_seconds: float | None) -> None:
    """Take what got through in the last minute as the limit. Refusals of requests that were in flight together come
    one after the other, and each shows it more exactly.
    """
    passed = state.in_last(_MINUTE_SECONDS, now)
    if now < state.new_until:
        if told_seconds is not None and state.is_told and state.passed == 1 and state.sent:
            # After a told wait one got through and no more: the next ones go as far apart as these two.
            state.probe_interval = max(state.probe_interval, now + told_seconds - state.sent[-1])
        # Hardly anything got through: without a hint, one request at a time finds out whether more does.
        state.limit = state.good = max(1, passed + (told_seconds is None and passed < _FLOOR))
    else:
        if now >= state.resume_at:
            has_dropped = passed < _DROP * state.good
            state.quiet_windows = 1 if has_dropped else min(2 * state.quiet_windows, _MAX_QUIET_WINDOWS)
        state.is_measured = True
        state.limit = state.good = max(_FLOOR, passed)
    state.changed_at = now
