"""One organization: the API's limits on one side, the pace of a fleet on the other, and calls that wait."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from reconciler.api.transport.retry import FailedAttempt, FailureKind, Idempotency, RetryPolicy
from reconciler.api.transport.throttle import RateLimitKey, Throttle
from reconciler.emulator import EmulatorOptions
from reconciler.emulator.errors import ErrorAnswer as Refusal
from reconciler.emulator.throttle import RateLimiter as ServerThrottle
from reconciler.errors import ThrottledError
from tests.fleet.simulation.loop import Loop
from tests.fleet.simulation.world import Call

LATENCY_SECONDS = 0.2
_IN_FLIGHT = 10
_RECHECK_SECONDS = 0.5
"""How often the client asks for a token while the limit is a guess."""


@dataclass
class _Waiting:
    call: Call
    done: list[Callable[[], None]]
    attempts: int = 0


@dataclass
class _Lane:
    """The calls of one rate limit, first come, first served."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    in_flight: int = 0
    is_scheduled: bool = False


class SimulatedOrganization:
    """Sends calls when the throttle lets them go, and refuses those that are too many."""

    def __init__(self, loop: Loop, per_minute: int, chance: random.Random) -> None:
        self.calls: Counter[RateLimitKey] = Counter()
        """Requests that were sent, refused ones included."""
        self.answered: Counter[RateLimitKey] = Counter()
        """Those that were answered."""
        self.refused = 0
        self._loop = loop
        self._options = EmulatorOptions(admin_rpm=per_minute)
        self._server = ServerThrottle()
        self._throttle = Throttle(clock=loop.clock)
        self._policy = RetryPolicy(random=chance.random)
        self._lanes: dict[RateLimitKey, _Lane] = {}

    def send(self, call: Call, done: Callable[[], None], *, first: bool = False) -> None:
        """Send a call when it may go; `done` is called with its answer. `first` overtakes others."""
        lane = self._lanes.setdefault(call.limit, _Lane())
        waiting = _Waiting(call, [done])
        if first:
            lane.waiting.appendleft(waiting)
        else:
            lane.waiting.append(waiting)
        self._pump(call.limit)

    def _pump(self, limit: RateLimitKey) -> None:
        lane = self._lanes[limit]
        while lane.waiting and lane.in_flight < _IN_FLIGHT and not lane.is_scheduled:
            wait = self._throttle.take(limit)
            if wait > 0:
                if self._throttle.is_guessing(limit):
                    wait = min(wait, _RECHECK_SECONDS)
                lane.is_scheduled = True
                self._loop.after(wait, partial(self._wake, limit))
                return
            waiting = lane.waiting.popleft()
            lane.in_flight += 1
            self.calls[limit] += 1
            self._loop.after(LATENCY_SECONDS / 2, partial(self._arrive, waiting))

    def _wake(self, limit: RateLimitKey) -> None:
        self._lanes[limit].is_scheduled = False
        self._pump(limit)

    def _arrive(self, waiting: _Waiting) -> None:
        limit, is_refused = waiting.call.limit, False
        try:
            if limit.is_admin:
                self._server.check(f"{limit.method} {limit.route}", self._loop.now, self._options)
        except Refusal:
            is_refused = True
        self._loop.after(LATENCY_SECONDS / 2, partial(self._answer, waiting, is_refused))

    def _answer(self, waiting: _Waiting, is_refused: bool) -> None:
        limit = waiting.call.limit
        lane = self._lanes[limit]
        lane.in_flight -= 1
        if is_refused:
            self.refused += 1
            waiting.attempts += 1
            self._throttle.refused(limit, wait_seconds=self._pause(waiting), is_server_wait=False)
            lane.waiting.appendleft(waiting)
        else:
            self.answered[limit] += 1
            self._throttle.accepted(limit)
            for done in waiting.done:
                done()
        self._pump(limit)

    def _pause(self, waiting: _Waiting) -> float:
        failure = FailedAttempt(ThrottledError("too many requests"), FailureKind.THROTTLED)
        # The program gives a call up after ten refusals in a row; the plan would fail and be made again.
        attempt = min(waiting.attempts, self._policy.attempts - 1)
        wait = self._policy.wait(failure, Idempotency.READ, attempt=attempt, spent_seconds=0.0)
        assert wait is not None
        return wait
