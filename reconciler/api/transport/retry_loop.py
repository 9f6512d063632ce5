"""Makes a call: sends a request until it succeeds, or until no further attempt is allowed.

`RetryPolicy` decides about the next attempt. The throttle and the circuit breaker hear of every
failure, and may end the call early.
"""

from __future__ import annotations

from itertools import count

from reconciler.api.transport.attempts import AttemptSender
from reconciler.api.transport.circuit_breaker import CircuitBreaker
from reconciler.api.transport.in_flight import InFlight
from reconciler.api.transport.request import Request
from reconciler.api.transport.responses import Response
from reconciler.api.transport.retry import FailedAttempt, FailureKind, RetryPolicy, may_repeat
from reconciler.api.transport.throttle import TokenSource
from reconciler.api.transport.waits import Waits
from reconciler.errors import AmbiguousError, ApiError
from reconciler.model.consistency import ServerClock


class RetryLoop:
    """Makes calls, each with as many attempts as it needs. Safe to use from threads."""

    def __init__(
        self,
        attempts: AttemptSender,
        *,
        policy: RetryPolicy,
        throttle: TokenSource,
        in_flight: InFlight,
        waits: Waits,
        server_clock: ServerClock,
    ) -> None:
        self._attempts = attempts
        self._policy = policy
        self._throttle = throttle
        self._in_flight = in_flight
        self._waits = waits
        self._server_clock = server_clock
        self._breaker = CircuitBreaker()

    def call(self, request: Request) -> Response:
        """Send a request, retry it where that is safe, and return the response.

        Raises from the `ApiError` tree: AmbiguousError where a write may or may not have happened.
        """
        self._breaker.check(request.route, f"{request.method} {request.target}")
        with self._in_flight.call(request.route, is_expected=request.is_first_page):
            return self._send_with_retries(request)

    def _send_with_retries(self, request: Request) -> Response:
        spent_seconds = 0.0
        for number in count(1):
            attempt = self._attempts.send(request, number)
            failure = attempt.outcome
            if isinstance(failure, Response):
                self._breaker.record_answer(request.route)
                return failure
            if request.form is None:  # a large file takes long to send: no reason to give up on it
                spent_seconds += attempt.seconds
            wait = self._next_wait(request, failure, number, spent_seconds=spent_seconds)
            self._report(request, failure, wait)
            if wait is None:
                raise self._final_error(request, failure, attempt.sent_at)
            spent_seconds += wait
            # The throttle holds a request back that was rate limited, like all others of its route.
            if failure.kind is not FailureKind.THROTTLED:
                reason = f"trying again: {failure.error}"
                self._waits.pause(
                    wait, reason, total_seconds=spent_seconds, after_stop=request.after_stop
                )
        raise AssertionError("count() has no end")

    def _next_wait(
        self, request: Request, failure: FailedAttempt, number: int, *, spent_seconds: float
    ) -> float | None:
        """The seconds before the next attempt, None to give up."""
        if self._breaker.is_open(request.route) or request.is_last_attempt(number, failure):
            return None
        return self._policy.wait(
            failure, request.idempotency, attempt=number, spent_seconds=spent_seconds
        )

    def _report(self, request: Request, failure: FailedAttempt, wait: float | None) -> None:
        """Report a failure to the throttle and to the circuit breaker."""
        route = request.route
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
        elif wait is None and may_repeat(failure.kind, request.idempotency):
            self._breaker.record_exhausted(route, failure.error)
        elif wait is None and failure.kind is FailureKind.UNCLEAR:
            self._breaker.record_lost(route, failure.error)

    def _final_error(self, request: Request, failure: FailedAttempt, sent_at: float) -> ApiError:
        error = self._policy.raised(failure, request.idempotency)
        if isinstance(error, AmbiguousError):
            # A search for what the request may have created begins at this time.
            error.sent_at = self._server_clock.at(sent_at)
        return error
