"""A throttle whose tokens for admin routes come from a pace that all runs share.

Requests of projects are throttled by each run alone: their limits are far away, and one run at a
time writes to a vector store. While the shared pace is out of reach, the run continues alone, with a
part of the last limit that it knew.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import Struct, field

from reconciler.api.transport.throttle import WINDOW_SECONDS, RateLimitKey, Throttle
from reconciler.model.pace import (
    PaceAnswer,
    PaceError,
    PaceRequest,
    PaceUser,
    RouteUse,
    SharedPace,
    plain_label,
)

MOST_REQUESTS = 300
"""The most requests of a window that a pace stores. A higher limit is not shared."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 30.0
_LASTING_PAUSE_SECONDS = 60.0
_LATE_SECONDS = 2.0
_MINUTE_SECONDS = 60.0
_MOST_NAMED = 3
_LONGEST_ORGANIZATION = 100


class _Token(Struct, eq=False):
    """A request of this run. `taken_at` is by the clock of the pace; None for a local token."""

    sent_at: float
    is_local: bool
    scope: str = ""
    taken_at: float | None = None


class _Lane(Struct, eq=False):
    """This run's view of the pace of one route. Times are by the run's clock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    asks_at: float = 0.0
    is_local: bool = False
    limit: int | None = None
    others: Sequence[str] = ()
    sent: deque[float] = field(default_factory=deque)
    """When requests of all runs were sent, as of the last answer."""
    own: deque[_Token] = field(default_factory=deque)
    """Our requests of the last window."""
    in_flight: deque[_Token] = field(default_factory=deque)
    last_at: float = -math.inf
    """When our latest request was sent."""
    waiting: dict[int, float] = field(default_factory=dict)
    """Until when each thread waits."""

    def send(self, token: _Token) -> None:
        """Note a request that is sent now."""
        self.own.append(token)
        self.in_flight.append(token)
        self.last_at = token.sent_at

    def part(self, configured: int | None) -> int | None:
        """Our share of the last known limit: at most half, because other runs may have started."""
        limit = configured or self.limit
        if limit is None:
            return None
        return max(1, limit // max(2, 1 + len(self.others)))


class PaceScope:
    """The name of a pace: its server and its organization, as far as they are known.

    The name in answers has priority: it is the same for all runs, while a stack file may spell the
    organization differently.
    """

    def __init__(self, server: str, fallback: str) -> None:
        """`fallback` stands for the organization until its name is known."""
        self._server = server
        self._name = fallback
        self._is_known = False

    def suggest(self, organization: str) -> None:
        """Use the name of a stack file or a state until an answer names the organization."""
        if organization and not self._is_known:
            self._name = organization

    def see(self, organization: str) -> None:
        """Use the name in an answer."""
        self._name, self._is_known = organization, True

    def __str__(self) -> str:
        return f"{self._server}/{self._name[:_LONGEST_ORGANIZATION]}"


class SharedThrottle:
    """Gives tokens of `pace`, and of `local` while that is out of reach. Never waits for one.

    When `scope` changes, requests so far are reported to the new one. `notice` receives a sentence
    when the pace is first lost, `note` one for the log. `clock` is in seconds and monotonic.
    """

    def __init__(
        self,
        local: Throttle,
        pace: SharedPace,
        *,
        user: PaceUser,
        scope: PaceScope,
        notice: Callable[[str], None] = lambda _: None,
        note: Callable[[str], None] = lambda _: None,
        window_seconds: float = WINDOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._local = local
        self._link = _Link(pace, notice, note, clock)
        self._user = user
        self.scope = scope
        self._window = window_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: dict[RateLimitKey, _Lane] = {}

    @property
    def problem(self) -> str:
        """Why the shared pace is not used at the moment; empty while it is."""
        return self._link.problem

    def take(self, route: RateLimitKey) -> float:
        """Take a token: 0 if the request may be sent now, else the seconds until the next try."""
        lane = self._lane(route)
        if lane is None:
            return self._local.take(route)
        with lane.lock:
            now = self._clock()
            wait = max(lane.asks_at, self._spaced(lane)) - now
            if wait <= 0:
                wait = self._take(route, lane)
            # A thread that waits asks again. Only threads that wait now count as wanted requests.
            thread = threading.get_ident()
            lane.waiting.pop(thread, None)
            if wait > 0:
                lane.waiting[thread] = now + wait
            return max(0.0, wait)

    def accepted(self, route: RateLimitKey) -> None:
        """Report a request that was not rate limited."""
        lane = self._lane(route)
        if lane is None:
            self._local.accepted(route)
            return
        with lane.lock:
            if not lane.in_flight:
                return
            # Use the oldest token, because an outcome does not name its own.
            token = lane.in_flight.popleft()
            if token.is_local:
                self._local.accepted(route)

    def refused(self, route: RateLimitKey, *, wait_seconds: float, is_server_wait: bool) -> None:
        """Report a 429. A wait that the server asked for holds back all runs."""
        lane = self._lane(route)
        if lane is None:
            self._local.refused(route, wait_seconds=wait_seconds, is_server_wait=is_server_wait)
            return
        with lane.lock:
            if not lane.in_flight:
                return
            # The latest one: it is the most likely to be above the limit.
            token = lane.in_flight.pop()
            # A refused request does not use up the allowance.
            if token in lane.own:
                lane.own.remove(token)
            if token.is_local:
                self._local.refused(route, wait_seconds=wait_seconds, is_server_wait=is_server_wait)
            else:
                # A wait that we chose ourselves must not hold back other runs.
                server_wait = wait_seconds if is_server_wait else None
                self._report(route, lane, token, server_wait)
                lane.asks_at = max(lane.asks_at, self._clock() + wait_seconds)

    def is_guessing(self, route: RateLimitKey) -> bool:
        """Whether a token may come sooner than `take` said."""
        lane = self._lane(route)
        return (lane is None or lane.is_local) and self._local.is_guessing(route)

    def seconds_for(self, route: RateLimitKey, count: int) -> float:
        """The least time that `count` requests will wait, with a fair part of what is free."""
        lane = self._lane(route)
        if lane is None or lane.is_local:
            return self._local.seconds_for(route, count)
        if not count:
            return 0.0
        with lane.lock:
            now = self._clock()
            limit = self._limit or lane.limit
            moment = max(now, lane.asks_at)
            if limit is not None:
                sent = list(lane.sent)
                # The first request may take what is left of the whole limit, the others a fair part.
                part = max(1, limit // (1 + len(lane.others)))
                for _ in range(count):
                    if len(sent) >= limit:
                        moment = max(moment, sent[-limit] + self._window)
                    sent.append(moment)
                    limit = part
            return moment - now

    def learned(self) -> dict[RateLimitKey, int]:
        """The limits of admin routes that refusals of any run have shown, a minute."""
        with self._lock:
            lanes = dict(self._lanes)
        known = self._local.learned()
        if self._limit is None:
            known |= {route: lane.limit for route, lane in lanes.items() if lane.limit is not None}
        return known

    def describe(self, route: RateLimitKey) -> str:
        """The pace of a route, and who else uses it: `7 requests a minute, shared with …`."""
        lane = self._lane(route)
        if lane is None or lane.is_local:
            return ""
        parts = []
        limit = self._limit or lane.limit
        if limit is not None:
            parts.append(f"{limit} request{'s' * (limit != 1)} a minute")
        if lane.others:
            parts.append(f"shared with {named(lane.others)}")
        return ", ".join(parts)

    def uses(self) -> Sequence[RouteUse]:
        """Who used which route of the pace in the last minute. Raises PaceError."""
        return self._link.pace.uses(str(self.scope))

    def close(self) -> None:
        """Close the connections of the shared pace."""
        self._link.close()

    # --- one token

    def _take(self, route: RateLimitKey, lane: _Lane) -> float:
        wait = self._take_shared(route, lane)
        if wait is None:
            return self._take_locally(route, lane)
        return wait

    def _take_shared(self, route: RateLimitKey, lane: _Lane) -> float | None:
        """A token of the shared pace; None while that is out of reach."""
        request = self._request(route, lane)
        answer = self._link.ask(lambda pace: pace.take(request))
        if answer is None:
            return None
        self._learn(lane, request, answer)
        now = self._clock()
        if answer.wait_seconds > 0:
            lane.asks_at = now + answer.wait_seconds
            return answer.wait_seconds
        lane.send(_Token(now, is_local=False, scope=request.scope, taken_at=answer.now))
        return 0.0

    def _take_locally(self, route: RateLimitKey, lane: _Lane) -> float:
        now = self._clock()
        if not lane.is_local:
            lane.is_local = True
            self._local.continue_with(
                route, limit=lane.part(self._limit), sent=[token.sent_at for token in lane.own]
            )
        wait = self._local.take(route)
        if not wait:
            lane.send(_Token(now, is_local=True))
        return wait

    def _report(
        self, route: RateLimitKey, lane: _Lane, token: _Token, wait_seconds: float | None
    ) -> None:
        request = self._request(route, lane)
        # A token of another scope has a time that means nothing to this one.
        taken_at = token.taken_at if token.scope == request.scope else None
        answer = self._link.ask(
            lambda pace: pace.refused(request, taken_at=taken_at, wait_seconds=wait_seconds)
        )
        if answer is not None:
            self._learn(lane, request, answer)
            lane.asks_at = self._clock() + answer.wait_seconds

    def _request(self, route: RateLimitKey, lane: _Lane) -> PaceRequest:
        now, scope = self._clock(), str(self.scope)
        while lane.own and lane.own[0].sent_at <= now - self._window:
            lane.own.popleft()
        # Requests that this scope has not counted: they were sent alone, or before the organization
        # was known.
        moments = [self._link.moment(token.sent_at) for token in lane.own if token.scope != scope]
        thread = threading.get_ident()
        # A thread that has not asked again for long has ended.
        others = [
            until
            for other, until in lane.waiting.items()
            if other != thread and until > now - _LATE_SECONDS
        ]
        return PaceRequest(
            scope,
            f"{route.method} {route.route}",
            self._user,
            wanted=1 + len(others),
            limit=self._limit,
            window_seconds=self._window,
            earlier=[moment for moment in moments if moment is not None],
        )

    def _learn(self, lane: _Lane, request: PaceRequest, answer: PaceAnswer) -> None:
        now = self._clock()
        lane.is_local = False
        lane.limit = answer.limit
        if answer.ages:
            lane.others = answer.others
            lane.sent = deque(now - age for age in answer.ages)
        for token in lane.own:
            if token.scope != request.scope:
                token.scope, token.taken_at = request.scope, self._link.moment(token.sent_at)

    # --- settings

    def _lane(self, route: RateLimitKey) -> _Lane | None:
        """The lane of a shared route; None for a route that is throttled here alone."""
        if not route.is_admin or (self._local.configured or 0) > MOST_REQUESTS:
            return None
        with self._lock:
            return self._lanes.setdefault(route, _Lane())

    @property
    def _limit(self) -> int | None:
        configured = self._local.configured
        if configured is None:
            return None
        return max(1, int(configured))

    def _spaced(self, lane: _Lane) -> float:
        """When the next request may go with a configured limit below one a minute."""
        configured = self._local.configured
        if configured is None or configured >= 1:
            return -math.inf
        return lane.last_at + _MINUTE_SECONDS / configured


class _Link:
    """The connection to the shared pace: handles outages, and converts times of its clock."""

    def __init__(
        self,
        pace: SharedPace,
        notice: Callable[[str], None],
        note: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.problem = ""
        self.pace = pace
        self._notice = notice
        self._note = note
        self._clock = clock
        self._lock = threading.Lock()
        self._ahead: float | None = None
        """How far the clock of the pace is ahead of ours."""
        self._retry_at = clock()
        self._pause = _FIRST_PAUSE_SECONDS
        self._has_noticed = False

    def ask(self, work: Callable[[SharedPace], PaceAnswer]) -> PaceAnswer | None:
        """An answer of the pace; None while it is out of reach."""
        if self.problem and not self._may_retry():
            return None
        asked_at = self._clock()
        try:
            answer = work(self.pace)
        except PaceError as error:
            self._lose(error)
            return None
        # The answer was made about halfway between the two times.
        self._ahead = answer.now - (asked_at + self._clock()) / 2
        if self.problem:
            self._note("The pace that runs share is in use again.")
        self.problem = ""
        self._pause = _FIRST_PAUSE_SECONDS
        return answer

    def moment(self, ours: float) -> float | None:
        """A moment by the clock of the pace; None before its first answer."""
        if self._ahead is None:
            return None
        return ours + self._ahead

    def close(self) -> None:
        """Close the connections."""
        self.pace.close()

    def _may_retry(self) -> bool:
        with self._lock:
            now = self._clock()
            if now < self._retry_at:
                return False
            # One thread asks, and the others continue alone.
            self._retry_at = now + self._pause
            return True

    def _lose(self, error: PaceError) -> None:
        with self._lock:
            if error.is_lasting:
                self._pause = _LASTING_PAUSE_SECONDS
            self._retry_at = self._clock() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            is_first, self.problem = not self.problem, str(error)
            # A problem that only a person can end is for the log, as every run would show it.
            is_notable = not (error.is_lasting or self._has_noticed)
            self._has_noticed = self._has_noticed or is_notable
        if is_notable:
            self._notice(
                f"The pace that runs share is out of reach: {error}. This run goes on with a part "
                "of the limit, and shares it again once that is possible."
            )
        elif is_first:
            self._note(f"This run has a pace of its own: {error}.")


def named(labels: Sequence[str]) -> str:
    """The first labels of other runs, escaped, and the number of further ones."""
    shown = [plain_label(label) for label in dict.fromkeys(labels)]
    more = len(shown) - _MOST_NAMED
    if more > 0:
        shown = [*shown[:_MOST_NAMED], f"{more} other{'s' * (more != 1)}"]
    return ", ".join(shown[:-1]) + " and " * (len(shown) > 1) + shown[-1]
