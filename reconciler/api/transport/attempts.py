"""Sends one attempt of a request: in its turn, within the budget, and reported to the observer."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from reconciler.api.transport.connection import Connection
from reconciler.api.transport.in_flight import InFlight
from reconciler.api.transport.organization import OrganizationCheck
from reconciler.api.transport.request import Request
from reconciler.api.transport.responses import Response
from reconciler.api.transport.retry import FailedAttempt, FailureKind
from reconciler.api.transport.throttle import RateLimitKey, TokenSource
from reconciler.api.transport.waits import ANNOUNCED_SECONDS, Waits
from reconciler.errors import UsageError
from reconciler.model.tracing import CURRENT
from reconciler.model.traffic import SentRequest, TrafficObserver, trace_request

_RECHECK_SECONDS = 0.5
"""The pause between two requests for a token while the rate limit is an estimate."""


class Attempt(NamedTuple):
    """An attempt that has ended."""

    outcome: Response | FailedAttempt
    sent_at: float
    """By the machine's clock, in unix seconds."""
    seconds: float
    """How long it was in flight."""


class CallBudget:
    """Counts attempts, and refuses the next one at the end of a budget. Safe to use from threads."""

    def __init__(self) -> None:
        self.calls = 0
        self._budget = 0
        self._ends_at = math.inf
        self._lock = threading.Lock()

    def count(self, call: str) -> None:
        """Count an attempt that is about to be sent. Raises UsageError at the end of the budget."""
        with self._lock:
            if self.calls >= self._ends_at:
                raise UsageError(
                    f"reading live state needs more calls than the budget of {self._budget}: "
                    f"{call} was not sent",
                    hint="Raise --budget, or narrow the plan with --target.",
                )
            self.calls += 1

    @contextmanager
    def at_most(self, calls: int | None) -> Iterator[None]:
        """Limit the attempts made inside; None for no limit."""
        if calls is not None:
            self._budget = calls
            self._ends_at = self.calls + calls
        try:
            yield
        finally:
            self._ends_at = math.inf


class AttemptSender:
    """Sends requests once, when their rate limits allow it and a slot is free. Never retries.

    `permit` raises to prevent an attempt; see `Client`. Safe to use from threads.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        throttle: TokenSource,
        in_flight: InFlight,
        waits: Waits,
        organization: OrganizationCheck,
        clock: Callable[[], float],
        permit: Callable[[], None],
        observer: TrafficObserver | None,
    ) -> None:
        self.budget = CallBudget()
        self._connection = connection
        self._throttle = throttle
        self._in_flight = in_flight
        self._waits = waits
        self._organization = organization
        self._clock = clock
        self._permit = permit
        self._observer = observer

    def send(self, request: Request, number: int) -> Attempt:
        """Send attempt `number` of a request, as soon as its rate limits allow it."""
        limits = [request.route]
        if request.shared_limit is not None:
            limits.insert(0, request.shared_limit)
        pending = list(limits)
        announced_until = self._clock()
        waited_seconds = 0.0
        while True:
            # The slot comes before the token: a token counts from when the request is sent, and
            # would age in the queue for a slot.
            with self._in_flight.slot:
                if not request.after_stop:
                    self._waits.check_stopped()
                wait = _take_tokens(self._throttle, pending)
                if not wait:
                    attempt = self._send_counted(request, limits)
                    self._observe(request, attempt, number, waited_seconds)
                    return attempt
            # The wait holds no slot: requests of other routes may go meanwhile.
            until = self._clock() + wait
            if until > announced_until + ANNOUNCED_SECONDS:
                self._waits.announce(self._limit_reason(pending[0]), until)
                announced_until = until
            if self._throttle.is_guessing(pending[0]):
                # The limit is an estimate: any request that gets through may raise it.
                wait = min(wait, _RECHECK_SECONDS)
            waited_seconds += wait
            with self._in_flight.waiting():
                self._waits.sleep(wait, after_stop=request.after_stop)

    def check_permitted(self) -> None:
        """Raise if the run was replaced, or uses keys of another organization."""
        self._organization.require()
        self._permit()

    def _send_counted(self, request: Request, limits: list[RateLimitKey]) -> Attempt:
        with self._in_flight.sending(request.route):
            sent_at = self._clock()
            self.check_permitted()
            # Last of the checks, so that only requests that are sent count.
            self.budget.count(f"{request.method} {request.target}")
            outcome = self._connection.send(request)
        # The retry loop reports a refusal to the throttle, with the wait that it chose.
        if isinstance(outcome, Response) or outcome.kind is not FailureKind.THROTTLED:
            for limit in limits:
                self._throttle.accepted(limit)
        return Attempt(outcome, sent_at, self._clock() - sent_at)

    def _observe(
        self, request: Request, attempt: Attempt, number: int, waited_seconds: float
    ) -> None:
        span = CURRENT.get()
        if self._observer is None and span is None:
            return
        sent = SentRequest(
            organization=self._organization.seen,
            method=request.method,
            route=request.path,
            status=_status(attempt.outcome),
            attempt=number,
            waited_seconds=waited_seconds,
            began_at=attempt.sent_at,
            seconds=attempt.seconds,
        )
        if self._observer is not None:
            self._observer.sent(sent)
        if span is not None:
            trace_request(span, sent)

    def _limit_reason(self, route: RateLimitKey) -> str:
        reason = f"rate limit of {route.method} {route.route}"
        pace = self._throttle.describe(route)
        if pace:
            reason += f": {pace}"
        return reason


def _status(outcome: Response | FailedAttempt) -> int:
    """The HTTP status; 0 without an answer."""
    if isinstance(outcome, Response):
        return outcome.status
    return outcome.error.status or 0


def _take_tokens(throttle: TokenSource, pending: list[RateLimitKey]) -> float:
    """Take the tokens of all pending limits; the seconds to wait for the first one missing."""
    while pending:
        wait = throttle.take(pending[0])
        if wait > 0:
            return wait
        pending.pop(0)
    return 0.0
