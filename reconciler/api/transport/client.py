"""One client for all calls: rate limits, retries, errors, and a count of the requests.

Every request of the program goes through `Client.exchange`. It waits for the rate limit, sends the
request, and reads the response. A failure is either cured by a retry or becomes one of our errors.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import httpx

from reconciler.api.keys import Key
from reconciler.api.transport.base_url import check_base_url
from reconciler.api.transport.circuit_breaker import CircuitBreaker
from reconciler.api.transport.connection import Connection
from reconciler.api.transport.in_flight import InFlight
from reconciler.api.transport.organization import OrganizationCheck
from reconciler.api.transport.pages import QueryParameters
from reconciler.api.transport.request import Form, Request
from reconciler.api.transport.responses import Response
from reconciler.api.transport.retry import FailedAttempt, FailureKind, RetryPolicy, may_repeat
from reconciler.api.transport.throttle import RateLimitKey, Throttle, TokenSource
from reconciler.errors import AmbiguousError, Interrupted, UsageError
from reconciler.model.consistency import ServerClock
from reconciler.model.secret import Redactor
from reconciler.model.tracing import CURRENT
from reconciler.model.traffic import SentRequest, TrafficObserver, trace_request

if TYPE_CHECKING:
    from reconciler.api.transport.shared_reads import SharedReader

ANSWER_SECONDS = 120.0
_ANNOUNCED_SECONDS = 2.0
_RECHECK_SECONDS = 0.5

T = TypeVar("T")


class ReadLog(Protocol):
    """Sees every GET request and its answer. Called from any thread."""

    def exchange(self, request: Request, send: Callable[[Request], Response]) -> Response:
        """Answer a request, usually with what `send` returns; errors of `send` pass through."""


class Left(NamedTuple):
    """Calls without an answer, and the seconds that the slowest route needs to send its part."""

    calls: int
    seconds: float


class _CallCounter:
    """Counts requests, retries included, and stops at a budget. Safe to use from threads."""

    def __init__(self) -> None:
        self.calls = 0
        self._budget = 0
        self._budget_ends_at = math.inf
        self._lock = threading.Lock()

    def add(self, call: str) -> None:
        with self._lock:
            if self.calls >= self._budget_ends_at:
                raise UsageError(
                    f"reading live state needs more calls than the budget of {self._budget}: "
                    f"{call} was not sent",
                    hint="Raise --budget, or narrow the plan with --target.",
                )
            self.calls += 1

    @contextmanager
    def at_most(self, calls: int | None) -> Iterator[None]:
        if calls is not None:
            self._budget = calls
            self._budget_ends_at = self.calls + calls
        try:
            yield
        finally:
            self._budget_ends_at = math.inf


class Client:
    """Sends requests and returns JSON. Safe to use from threads.

    `answer_seconds` limits how long the server may be silent, and how long a response may take from
    its first byte. At most `parallelism` requests are in flight at a time; None for no limit.
    `clock` is the machine's, in unix seconds; `server_clock` learns the server's time from answers.
    `on_wait` is called for each wait over two seconds, with the reason and the end (unix seconds).
    `permit` is called just before each request and each part of it is sent, and raises to prevent
    that. Setting `stop` ends every wait with `Interrupted` and starts no further request; requests
    in flight run to their end. `transport` replaces the connections, in tests and by a pool that
    several clients share. `shared` has the answers that the stacks of a fleet share. `environ` has
    the settings of proxy and certificates; UsageError names a variable that cannot be used.

    The parts (throttle, retries, pages, circuit breaker) are classes of their own. What is left is
    the order in which one request passes through them, which has to be readable in one place.
    """

    def __init__(
        self,
        base_url: str,
        *,
        throttle: TokenSource | None = None,
        policy: RetryPolicy | None = None,
        redactor: Redactor | None = None,
        organization: str | None = None,
        user_agent: str = "reconciler",
        answer_seconds: float = ANSWER_SECONDS,
        parallelism: int | None = None,
        clock: Callable[[], float] | None = None,
        server_clock: ServerClock | None = None,
        sleep: Callable[[float], object] | None = None,
        on_wait: Callable[[str, float], None] | None = None,
        stop: threading.Event | None = None,
        permit: Callable[[], None] = lambda: None,
        transport: httpx.BaseTransport | None = None,
        shared: SharedReader | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.base_url = check_base_url(base_url)
        self.redactor = redactor or Redactor()
        # Looked up now, as `ServerClock` does: both must read the same clock.
        self.clock = clock = clock or time.time
        self.server_clock = server_clock or ServerClock(clock)
        self.organization = OrganizationCheck(self.base_url)
        self.reads: ReadLog | None = None
        """Passes each GET on, and may answer it itself."""
        self.shared = shared
        """This client's part in the answers that several clients share."""
        self.observer: TrafficObserver | None = None
        """Hears of each request that was sent."""
        self._stop = stop or threading.Event()
        self._permit = permit
        self._sleep = sleep or self._stop.wait
        self._on_wait = on_wait
        self._throttle: TokenSource = throttle or Throttle()
        self._policy = policy or RetryPolicy()
        self._breaker = CircuitBreaker()
        self._counter = _CallCounter()
        self._in_flight = InFlight(clock, slots=parallelism)
        headers = {"User-Agent": user_agent}
        if organization and organization.strip():
            headers["OpenAI-Organization"] = organization.strip()
        self._connection = Connection(
            self.base_url,
            redactor=self.redactor,
            organization=self.organization,
            headers=headers,
            answer_seconds=answer_seconds,
            clock=clock,
            server_clock=self.server_clock,
            permit=permit,
            transport=transport,
            environ=environ,
        )

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    # --- counting and estimating

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""
        return self._counter.calls

    @property
    def shared_answers(self) -> int:
        """Answers that other clients have read."""
        return 0 if self.shared is None else self.shared.answers

    @property
    def answered(self) -> int:
        """Calls that have ended, each counted once regardless of its retries."""
        return self._in_flight.answered

    @property
    def waited_seconds(self) -> float:
        """How long rate limits, and reads of other stacks, alone kept the client idle."""
        return self._in_flight.still_seconds

    @contextmanager
    def at_most(self, calls: int | None) -> Iterator[None]:
        """Limit the requests sent inside, retries included; the next one raises UsageError."""
        with self._counter.at_most(calls):
            yield

    def expect(self, route: RateLimitKey) -> None:
        """Announce a call, so that `left` includes it."""
        self._in_flight.expect(route)

    def expect_nothing(self) -> None:
        """Forget the announced calls that were not made."""
        self._in_flight.expect_nothing()

    def left(self) -> Left:
        """The calls that are announced or in flight, and how long rate limits make them take."""
        calls, unsent = self._in_flight.open()
        seconds = (self._throttle.seconds_for(route, number) for route, number in unsent.items())
        return Left(calls, max(seconds, default=0.0))

    def admin_limits(self) -> dict[str, int]:
        """The limits that refusals have shown, in requests a minute by admin route."""
        return {
            f"{route.method} {route.route}": limit
            for route, limit in self._throttle.learned().items()
        }

    # --- sending

    def request(
        self,
        method: str,
        path: str,
        *,
        key: Key,
        ids: Mapping[str, str] | None = None,
        json: Any = None,
        query: QueryParameters | None = None,
        form: Form | None = None,
        beta: str | None = None,
        repeatable: bool | None = None,
    ) -> dict[str, Any]:
        """Send a request and return the JSON object; see `Request` for the arguments.

        Raises from the `ApiError` tree: AmbiguousError where a write may or may not have happened.
        """
        request = Request(method, path, key, ids or {}, json, query or {}, form, beta, repeatable)
        return self.exchange(request).body

    def exchange(self, request: Request) -> Response:
        """Send a request, retry it where that is safe, and return the response with its headers."""
        if self.reads is not None and request.method == "GET":
            return self.reads.exchange(request, self._exchange_shared)
        return self._exchange_shared(request)

    def _exchange_shared(self, request: Request) -> Response:
        if self.shared is None:
            return self._exchange(request)
        return self.shared.exchange(request, self._exchange, self)

    def _exchange(self, request: Request) -> Response:
        self._breaker.check(request.route, f"{request.method} {request.target}")
        with self._in_flight.call(request.route, is_expected=request.is_first_page):
            return self._send_with_retries(request)

    def _send_with_retries(self, request: Request) -> Response:
        spent_seconds = 0.0
        for attempt in count(1):
            outcome, sent_at, took_seconds = self._send_in_turn(request, attempt)
            if isinstance(outcome, Response):
                self._breaker.record_answer(request.route)
                return outcome
            if request.form is None:  # a large file takes long to send: no reason to give up on it
                spent_seconds += took_seconds
            wait = self._next_wait(request, outcome, attempt=attempt, spent_seconds=spent_seconds)
            if wait is None:
                error = self._policy.raised(outcome, request.idempotency)
                if isinstance(error, AmbiguousError):
                    error.sent_at = self.server_clock.at(sent_at)
                raise error
            spent_seconds += wait
            if outcome.kind is not FailureKind.THROTTLED:
                self._pause(wait, f"trying again: {outcome.error}", total_seconds=spent_seconds)
        raise AssertionError("count() has no end")

    def _send_in_turn(
        self, request: Request, attempt: int
    ) -> tuple[Response | FailedAttempt, float, float]:
        """Send a request once, when its rate limits allow it and a slot is free.

        Returns the outcome, when the request was sent, and how many seconds it took.

        Take a concurrency slot before a rate-limit token, because the token counts from when the
        request is sent. Release the slot while waiting for a token.
        """
        limits = [request.route]
        if request.shared_limit is not None:
            limits.insert(0, request.shared_limit)
        pending = list(limits)
        announced_until = self.clock()
        waited_seconds = 0.0
        while True:
            with self._in_flight.slot:
                if not request.after_stop:
                    self.check_stopped()
                wait = _take_tokens(self._throttle, pending)
                if not wait:
                    sent = self._send_counted(request, limits)
                    self._observe(request, sent, attempt=attempt, waited_seconds=waited_seconds)
                    return sent
            until = self.clock() + wait
            if until > announced_until + _ANNOUNCED_SECONDS:
                self._announce(self._limit_reason(pending[0]), until)
                announced_until = until
            if self._throttle.is_guessing(pending[0]):
                # The limit is an estimate: any request that gets through may raise it.
                wait = min(wait, _RECHECK_SECONDS)
            waited_seconds += wait
            with self._in_flight.waiting():
                self._sleep(wait)
            self.check_stopped()

    def _send_counted(
        self, request: Request, limits: list[RateLimitKey]
    ) -> tuple[Response | FailedAttempt, float, float]:
        with self._in_flight.sending(request.route):
            sent_at = self.clock()
            self._check_permitted()
            self._counter.add(f"{request.method} {request.target}")
            outcome = self._connection.send(request)
        if isinstance(outcome, Response) or outcome.kind is not FailureKind.THROTTLED:
            for limit in limits:
                self._throttle.accepted(limit)
        return outcome, sent_at, self.clock() - sent_at

    def _observe(
        self,
        request: Request,
        sent: tuple[Response | FailedAttempt, float, float],
        *,
        attempt: int,
        waited_seconds: float,
    ) -> None:
        span = CURRENT.get()
        if self.observer is None and span is None:
            return
        outcome, sent_at, seconds = sent
        status = outcome.status if isinstance(outcome, Response) else outcome.error.status
        ended = SentRequest(
            organization=self.organization.seen,
            method=request.method,
            route=request.path,
            status=status or 0,
            attempt=attempt,
            waited_seconds=waited_seconds,
            began_at=sent_at,
            seconds=seconds,
        )
        if self.observer is not None:
            self.observer.sent(ended)
        if span is not None:
            trace_request(span, ended)

    def _next_wait(
        self, request: Request, failure: FailedAttempt, *, attempt: int, spent_seconds: float
    ) -> float | None:
        """The seconds before the next attempt, None to give up.

        Also reports the failure to the throttle and to the circuit breaker.
        """
        route = request.route
        idempotency = request.idempotency
        wait = self._policy.wait(failure, idempotency, attempt=attempt, spent_seconds=spent_seconds)
        if self._breaker.is_open(route) or request.is_last_attempt(attempt, failure):
            wait = None
        if failure.kind is FailureKind.THROTTLED:
            # A wait that is too long for this request must not hold back other requests, which may
            # get a shorter one.
            self._throttle.refused(
                request.shared_limit or route,
                wait_seconds=wait or 0.0,
                is_server_wait=failure.retry_after_seconds is not None,
            )
        # Any answer shows that the route works. Lost creates count apart, as they are sent once.
        if failure.kind in (FailureKind.FINAL, FailureKind.CONFLICT):
            self._breaker.record_answer(route)
        elif wait is None and may_repeat(failure.kind, idempotency):
            self._breaker.record_exhausted(route, failure.error)
        elif wait is None and failure.kind is FailureKind.UNCLEAR:
            self._breaker.record_lost(route, failure.error)
        return wait

    def _check_permitted(self) -> None:
        self.organization.require()
        self._permit()

    # --- sharing

    def kept(self, request: Request) -> Response | None:
        """The answer to a request if another client has read it; sends nothing."""
        return None if self.shared is None else self.shared.kept(request, self)

    def refuse_before(self, written_at: float) -> None:
        """Take no shared answer that may lack a write of that time, in unix seconds of the server."""
        if self.shared is not None:
            self.shared.refuse_before(written_at)

    def read_since(self, read_at: float) -> float:
        """When the oldest answer was requested, whoever did that, of those since `read_at`.

        Both are times of the monotonic clock.
        """
        return read_at if self.shared is None else min(read_at, self.shared.oldest_at)

    def reading_age(self, read_at: float) -> float:
        """The age in seconds of what was read since `read_at`, a time of the monotonic clock.

        Infinite if another client that shares answers has written to the organization since.
        """
        since = self.read_since(read_at)
        if self.shared is not None and self.shared.is_outdated(since, self.organization.seen):
            return math.inf
        return time.monotonic() - since

    def check_may_send(self) -> None:
        """Raise if the run was stopped or replaced, or uses keys of another organization."""
        self.check_stopped()
        self._check_permitted()

    def answered_elsewhere(self, request: Request) -> None:
        """Count a call that another client has made."""
        with self._in_flight.call(request.route, is_expected=request.is_first_page):
            pass

    def waiting_for_another(self) -> AbstractContextManager[None]:
        """Surrounds a wait for the call of another client."""
        return self._in_flight.waiting()

    # --- waiting

    def poll(
        self,
        read: Callable[[], T],
        *,
        is_done: Callable[[T], bool],
        next_pause: Callable[[T], float | None],
        reason: str,
    ) -> T:
        """Call `read` until its result is done or `next_pause` is None; return the last result."""
        while True:
            result = read()
            pause = None if is_done(result) else next_pause(result)
            if pause is None:
                return result
            self.pause(pause, reason)

    def pause(self, seconds: float, reason: str) -> None:
        """Wait; announce it if it takes long. Raises Interrupted once the run is stopped."""
        self._pause(seconds, reason, total_seconds=seconds)

    def check_stopped(self) -> None:
        """Raise Interrupted once the run is stopped. Long work calls it between its requests."""
        if self._stop.is_set():
            raise Interrupted("The run was stopped.")

    def _pause(self, seconds: float, reason: str, *, total_seconds: float) -> None:
        """One of several pauses for a reason; `total_seconds` decides on the announcement."""
        if total_seconds > _ANNOUNCED_SECONDS:
            self._announce(reason, self.clock() + seconds)
        self._sleep(seconds)
        self.check_stopped()

    def _limit_reason(self, route: RateLimitKey) -> str:
        reason = f"rate limit of {route.method} {route.route}"
        pace = self._throttle.describe(route)
        return f"{reason}: {pace}" if pace else reason

    def _announce(self, reason: str, until: float) -> None:
        if self._on_wait is not None:
            self._on_wait(reason, until)


def _take_tokens(throttle: TokenSource, pending: list[RateLimitKey]) -> float:
    """Take the tokens of all pending limits; the seconds to wait for the first one missing."""
    while pending:
        wait = throttle.take(pending[0])
        if wait > 0:
            return wait
        pending.pop(0)
    return 0.0
