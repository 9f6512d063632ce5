"""Rate limits: how fast each route may be called.

Admin routes accept a handful of requests a minute each, and do not say how many. Nothing is limited
before the first 429. Then the number of requests that succeeded in the last minute is taken as the
limit, and no more than that is sent in any window of a minute. This suits servers that refill a
bucket steadily as well as servers that reset it every minute.

A 429 in our first minute says little, because an earlier run may have used the allowance. Until a
later one arrives, every success raises the limit at once. A measured limit is probed with one more
request after quiet minutes, less often each time the probe is refused.

If the server sends a retry time, one request goes then and shows whether others may follow. A
single 429 with a wait of a few seconds changes no limit: it is usually a hiccup, and otherwise
another one follows. Every route waits for itself, so the calls of a project continue while admin
calls wait.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

# A second of margin: the server counts from when requests arrive.
WINDOW_SECONDS = 61.0
_MINUTE_SECONDS = 60.0
# The most windows between two probes.
_MAX_QUIET_WINDOWS = 5
# A shorter wait hardly means that a minute's allowance is used up.
_SHORT_SECONDS = 5.0
# The longest wait where the server sends no retry time. Admin routes send none.
_BACKOFF_SECONDS = 15.0
# Below this share of the limit, other clients are using the allowance.
_DROP = 0.75
# No lower limit is concluded: other clients may have used the rest.
_FLOOR = 3


class RateLimitKey(NamedTuple):
    """Requests that share a limit: a method of a route, by class of key, or writes to an object.

    `per_minute` is the limit in the API's documentation, if it has one.
    """

    is_admin: bool
    method: str
    route: str
    per_minute: int | None = None


class TokenSource(Protocol):
    """Decides when a request may be sent: see `Throttle` for the methods."""

    def take(self, route: RateLimitKey) -> float: ...

    def accepted(self, route: RateLimitKey) -> None: ...

    def refused(
        self, route: RateLimitKey, *, wait_seconds: float, is_server_wait: bool
    ) -> None: ...

    def is_guessing(self, route: RateLimitKey) -> bool: ...

    def seconds_for(self, route: RateLimitKey, count: int) -> float: ...

    def learned(self) -> dict[RateLimitKey, int]: ...

    def describe(self, route: RateLimitKey) -> str: ...

    def close(self) -> None: ...


class _State(Struct):
    limit: int | None  # requests in any window, None for no limit
    ceiling: int | None  # the limit is never raised above this
    new_until: float  # until then, requests of an earlier run may still count
    spacing_seconds: float = 0.0
    sent: deque[float] = field(default_factory=deque)
    in_flight: int = 0

    resume_at: float = 0.0
    has_server_wait: bool = False  # whether `resume_at` comes from the server
    rounds: int = 0  # of refusals, without a success in between
    refused_at: float = -math.inf  # when the latest round began
    is_lone: bool = False  # whether no other round began in the minute before
    passed: int = 0  # successes since the last refusal
    probe_interval: float = (
        0.0  # the spacing at which single requests succeeded, until more is known
    )

    is_measured: bool = False  # False while an earlier run may have used part of the allowance
    good: int = 0  # the limit before it was last raised
    quiet_windows: int = 1
    changed_at: float = 0.0

    def in_last(self, seconds: float, now: float) -> int:
        """The number of requests sent in the last `seconds`."""
        return sum(1 for moment in self.sent if moment > now - seconds)

    def spacing(self, now: float) -> float:
        """The shortest time between two requests."""
        return max(self.spacing_seconds, self.probe_interval if now < self.new_until else 0.0)


class Throttle:
    """Decides when a request may be sent. Never waits itself. Safe to use from threads.

    `admin_requests_per_minute` is the limit of each admin route, None to learn it. Below one, it
    sets the time between two requests. `clock` is in seconds and monotonic.
    """

    def __init__(
        self,
        *,
        admin_requests_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configured = admin_requests_per_minute
        self._clock = clock
        self._began_at = clock()
        self._states: dict[RateLimitKey, _State] = {}
        self._lock = threading.Lock()

    @property
    def configured(self) -> float | None:
        """The configured limit of each admin route, a minute; None to learn it."""
        return self._configured

    def limit(self, admin_requests_per_minute: float | None) -> None:
        """Lower the limit of each admin route, where this one is lower; None changes nothing."""
        with self._lock:
            current, limit = self._configured, admin_requests_per_minute
            if limit is None or (current is not None and current <= limit):
                return
            self._configured = limit
            # Requests that were sent before count against the new limit.
            for route, state in self._states.items():
                if route.is_admin:
                    fresh = self._new_state(route)
                    state.ceiling = fresh.limit
                    state.limit = min(state.limit or fresh.limit or 1, fresh.limit or 1)
                    state.spacing_seconds = fresh.spacing_seconds

    def take(self, route: RateLimitKey) -> float:
        """Take a token: 0 if the request may be sent now, else the seconds until the next try.

        After a token, the caller reports the outcome: `accepted` or `refused`.
        """
        with self._lock:
            state, now = self._state(route), self._clock()
            wait = _free_at(state, now) - now
            if wait > 0:
                return wait
            state.sent.append(now)
            state.in_flight += 1
            return 0.0

    def accepted(self, route: RateLimitKey) -> None:
        """Report a request that was not rate limited."""
        with self._lock:
            state, now = self._state(route), self._clock()
            state.in_flight -= 1
            state.passed += 1
            state.rounds = 0
            _grow(state, now)

    def refused(self, route: RateLimitKey, *, wait_seconds: float, is_server_wait: bool) -> None:
        """Report a 429: send nothing for `wait_seconds`, which the server asked for or we chose."""
        with self._lock:
            state, now = self._state(route), self._clock()
            state.in_flight -= 1
            if state.sent:
                state.sent.pop()  # a refused request does not use up the allowance
            if now >= state.resume_at:
                state.rounds += 1  # requests in flight together are refused together
                state.is_lone = now - state.refused_at > WINDOW_SECONDS
                state.refused_at = now
            is_hiccup = is_server_wait and wait_seconds < _SHORT_SECONDS and state.is_lone
            # Routes of projects have limits far above our pace, and say how long to wait.
            if route.is_admin and not (is_hiccup and _is_no_evidence(state, now)):
                _learn(state, now=now, retry_after=wait_seconds if is_server_wait else None)
                if not is_server_wait and state.rounds > 1:
                    wait_seconds = max(
                        wait_seconds, min(2.0 ** (state.rounds - 1), _BACKOFF_SECONDS)
                    )
            state.has_server_wait = is_server_wait
            state.resume_at = max(state.resume_at, now + wait_seconds)
            state.passed = 0

    def is_guessing(self, route: RateLimitKey) -> bool:
        """Whether the limit is an estimate, so that a token may come sooner than `take` said."""
        with self._lock:
            state = self._state(route)
            return state.limit != state.ceiling and not state.is_measured

    def seconds_for(self, route: RateLimitKey, count: int) -> float:
        """The least time that `count` requests will wait for tokens; 0 where no limit is known yet.

        An estimate is replaced by the highest limit that was measured on another route.
        """
        with self._lock:
            state, now = self._state(route), self._clock()
            limit = self._likely(route)
            sent = deque(state.sent, maxlen=limit or 1)
            ahead = replace(state, limit=limit, sent=sent)
            moment = now
            # Without a limit, only the first request may have to wait.
            if limit is None and not state.spacing(now):
                count = min(count, 1)
            for _ in range(count):
                moment = _free_at(ahead, moment)
                sent.append(moment)
            return moment - now

    def learned(self) -> dict[RateLimitKey, int]:
        """The limits of admin routes that refusals have shown, in requests a minute."""
        with self._lock:
            return {
                route: state.limit
                for route, state in self._states.items()
                if route.is_admin and state.limit is not None
            }

    def describe(self, route: RateLimitKey) -> str:  # noqa: ARG002 - the protocol's
        """The limit of a route in words; empty for a limit of this run alone."""
        return ""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def continue_with(
        self, route: RateLimitKey, *, limit: int | None, sent: Iterable[float]
    ) -> None:
        """Continue where another source of tokens ended.

        `limit` counts as measured, None changes nothing. `sent` are our requests of the last
        minute.
        """
        with self._lock:
            state = self._state(route)
            state.sent = deque(sent)
            if limit is not None:
                state.limit = state.good = limit
                state.is_measured = True
                # Other runs use the same allowance, so it is probed rarely.
                state.quiet_windows = _MAX_QUIET_WINDOWS
                state.changed_at = self._clock()

    def _state(self, route: RateLimitKey) -> _State:
        if route not in self._states:
            self._states[route] = self._new_state(route)
        return self._states[route]

    def _new_state(self, route: RateLimitKey) -> _State:
        pace = self._configured if route.is_admin else None
        limit = route.per_minute if pace is None else max(1, int(pace))
        spacing = _MINUTE_SECONDS / pace if pace is not None and pace < 1 else 0.0
        new_until = self._began_at + _MINUTE_SECONDS
        return _State(limit, ceiling=limit, new_until=new_until, spacing_seconds=spacing)

    def _likely(self, route: RateLimitKey) -> int | None:
        """The limit of a route, or its likely value while the limit is an estimate."""
        state = self._states[route]
        if state.is_measured or not route.is_admin:
            return state.limit
        measured = (other.limit or 0 for other in self._states.values() if other.is_measured)
        guess = state.limit if (state.limit or 0) >= _FLOOR else None
        return state.ceiling or max(measured, default=0) or guess


def _free_at(state: _State, now: float) -> float:
    # The latest request stays, because the spacing of slow routes counts from it.
    while len(state.sent) > 1 and state.sent[0] <= now - WINDOW_SECONDS:
        state.sent.popleft()
    free = max(now, state.resume_at)
    # The first request after a wait goes at the time that the server gave.
    if not state.sent or (
        state.has_server_wait and not state.is_measured and state.sent[-1] < state.resume_at
    ):
        return free
    if spacing := state.spacing(free):
        free = max(free, state.sent[-1] + spacing)
    if state.limit is not None and len(state.sent) >= state.limit:
        free = max(free, state.sent[-state.limit] + WINDOW_SECONDS)
    return free


def _grow(state: _State, now: float) -> None:
    """Raise a limit that was used in full: an estimate at once, a measured one in quiet times."""
    if state.limit is None or state.limit == state.ceiling:
        return
    count = state.in_last(_MINUTE_SECONDS, now)
    # A limit that was not used up shows nothing about what lies above it.
    if count < state.limit:
        return
    if not state.in_flight and state.limit > state.good:
        state.is_measured = False  # more succeeded than was measured
    is_quiet = now - state.changed_at >= state.quiet_windows * WINDOW_SECONDS
    if state.is_measured:
        may_raise, step = is_quiet, 1
    else:
        # Requests in flight may still be refused.
        may_raise, step = not state.in_flight, max(1, count // 4)
    if may_raise:
        state.good = count
        state.limit = count + step
        if state.ceiling is not None:
            state.limit = min(state.limit, state.ceiling)
        state.changed_at = now


def _is_no_evidence(state: _State, now: float) -> bool:
    """Whether a lone refusal with a short wait is no evidence of a limit.

    Either no limit is known yet, and another refusal within a minute would show it, or fewer
    requests were sent than the measured limit allows.
    """
    return state.limit is None or (
        state.is_measured and state.in_last(_MINUTE_SECONDS, now) < _DROP * state.good
    )


def _learn(state: _State, *, now: float, retry_after: float | None) -> None:
    """Take the number of requests that succeeded in the last minute as the limit.

    Requests that were in flight together are refused one after the other, and each refusal makes
    the number more exact.
    """
    passed = state.in_last(_MINUTE_SECONDS, now)
    if now < state.new_until:
        if retry_after is not None and state.has_server_wait and state.passed == 1 and state.sent:
            # Only one request succeeded after the server's wait: keep the spacing of these two.
            state.probe_interval = max(state.probe_interval, now + retry_after - state.sent[-1])
        # Hardly anything succeeded. Without a retry time, probe with one request more.
        state.limit = state.good = max(1, passed + (retry_after is None and passed < _FLOOR))
    else:
        if now >= state.resume_at:
            # A refused probe makes the next one rarer. If other clients use the allowance, it is
            # probed soon, as they may end.
            state.quiet_windows = min(2 * state.quiet_windows, _MAX_QUIET_WINDOWS)
            if passed < _DROP * state.good:
                state.quiet_windows = 1
        state.is_measured = True
        state.limit = state.good = max(_FLOOR, passed)
    state.changed_at = now
