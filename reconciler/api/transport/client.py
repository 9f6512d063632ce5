"""One client for all calls of the program to the API.

A call passes `Client.exchange`, then the answers that stacks share, the circuit breaker and the
retries (`RetryLoop`), a slot and the rate limits (`AttemptSender`), and the connection.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import httpx

from reconciler.api.keys import Key
from reconciler.api.transport.attempts import AttemptSender
from reconciler.api.transport.base_url import check_base_url
from reconciler.api.transport.connection import Connection
from reconciler.api.transport.in_flight import InFlight
from reconciler.api.transport.organization import OrganizationCheck
from reconciler.api.transport.pages import QueryParameters
from reconciler.api.transport.request import Form, Request
from reconciler.api.transport.responses import Response
from reconciler.api.transport.retry import RetryPolicy
from reconciler.api.transport.retry_loop import RetryLoop
from reconciler.api.transport.throttle import Throttle, TokenSource
from reconciler.api.transport.waits import Waits
from reconciler.model.consistency import ServerClock
from reconciler.model.secret import Redactor
from reconciler.model.traffic import TrafficObserver

if TYPE_CHECKING:
    from reconciler.api.transport.shared_reads import SharedReader

ANSWER_SECONDS = 120.0


class ReadLog(Protocol):
    """Sees every GET request and its answer. Called from any thread."""

    def exchange(self, request: Request, send: Callable[[Request], Response]) -> Response:
        """Answer a request, usually with what `send` returns; errors of `send` pass through."""


class RemainingCalls(NamedTuple):
    """Calls without an answer, and the seconds that the slowest route needs to send its part."""

    calls: int
    seconds: float


class Client:
    """Sends requests and returns JSON. Safe to use from threads.

    `answer_seconds` limits how long the server may be silent, and how long a response may take from
    its first byte. At most `parallelism` requests are in flight at a time; None for no limit.
    `clock` is the machine's, in unix seconds; `server_clock` learns the server's time from answers.
    `on_wait` is called for each wait over two seconds, with the reason and the end (unix seconds).
    `permit` is called just before each request and each part of it is sent, and raises to prevent
    that. Setting `stop` ends every wait with `Interrupted` and starts no further request; requests
    in flight run to their end. `observer` hears of each request that was sent. `transport` replaces
    the connections, in tests and by a pool that several clients share. `shared` has the answers
    that the stacks of a fleet share. `environ` has the settings of proxy and certificates;
    UsageError names a variable that cannot be used.
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
        observer: TrafficObserver | None = None,
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
        self.waits = Waits(clock=clock, stop=stop, sleep=sleep, on_wait=on_wait)
        self.in_flight = InFlight(clock, slots=parallelism)
        self.reads: ReadLog | None = None
        """Passes each GET on, and may answer it itself."""
        self.shared = shared
        """This client's part in the answers that several clients share."""
        self._throttle: TokenSource = throttle or Throttle()
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
        self._attempts = AttemptSender(
            self._connection,
            throttle=self._throttle,
            in_flight=self.in_flight,
            waits=self.waits,
            organization=self.organization,
            clock=clock,
            permit=permit,
            observer=observer,
        )
        self._retries = RetryLoop(
            self._attempts,
            policy=policy or RetryPolicy(),
            throttle=self._throttle,
            in_flight=self.in_flight,
            waits=self.waits,
            server_clock=self.server_clock,
        )

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

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
        # A rehearsal records what a plan reads, and answers from its recording.
        if self.reads is not None and request.method == "GET":
            return self.reads.exchange(request, self._exchange_shared)
        return self._exchange_shared(request)

    def _exchange_shared(self, request: Request) -> Response:
        if self.shared is None:
            return self._retries.call(request)
        # Writes pass here too: they drop the answers that they may have made stale.
        return self.shared.exchange(request, self._retries.call, self)

    def check_may_send(self) -> None:
        """Raise if the run was stopped or replaced, or uses keys of another organization."""
        self.waits.check_stopped()
        self._attempts.check_permitted()

    # --- counting and estimating

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""
        return self._attempts.budget.calls

    @contextmanager
    def at_most(self, calls: int | None) -> Iterator[None]:
        """Limit the requests sent inside, retries included; the next one raises UsageError."""
        with self._attempts.budget.at_most(calls):
            yield

    def left(self) -> RemainingCalls:
        """The calls that are announced or in flight, and how long rate limits make them take."""
        calls, unsent = self.in_flight.open()
        # The routes wait at the same time, each for its own limit.
        seconds = (self._throttle.seconds_for(route, number) for route, number in unsent.items())
        return RemainingCalls(calls, max(seconds, default=0.0))

    def admin_limits(self) -> dict[str, int]:
        """The limits that refusals have shown, in requests a minute by admin route."""
        limits = self._throttle.learned()
        return {f"{route.method} {route.route}": limit for route, limit in limits.items()}

    # --- answers that clients share

    @property
    def shared_answers(self) -> int:
        """Answers that other clients have read."""
        if self.shared is None:
            return 0
        return self.shared.answers

    def kept(self, request: Request) -> Response | None:
        """The answer to a request if another client has read it; sends nothing."""
        if self.shared is None:
            return None
        return self.shared.kept(request, self)

    def refuse_before(self, written_at: float) -> None:
        """Take no shared answer that may lack a write of that time, in unix seconds of the server."""
        if self.shared is not None:
            self.shared.refuse_before(written_at)

    def read_since(self, read_at: float) -> float:
        """The time of the oldest request among the answers since `read_at`, by any client.

        Both are times of the monotonic clock.
        """
        if self.shared is None:
            return read_at
        return min(read_at, self.shared.oldest_at)

    def reading_age(self, read_at: float) -> float:
        """The age in seconds of what was read since `read_at`, a time of the monotonic clock.

        Infinite if another client that shares answers has written to the organization since.
        """
        since = self.read_since(read_at)
        if self.shared is not None and self.shared.is_outdated(since, self.organization.seen):
            return math.inf
        return time.monotonic() - since
