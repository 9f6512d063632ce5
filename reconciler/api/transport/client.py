"""One client for all calls: pace, retries, errors, and a count of what was sent.

Every request of the program goes through `Client.exchange`. It waits for its turn, sends, and reads the answer; a
failure is either cured by waiting or becomes one of our errors. Redirects are never followed, since the key would go
along.
"""

from __future__ import annotations

import logging
import math
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.api.keys import Key
from reconciler.api.transport.base_url import check_base_url
from reconciler.api.transport.circuit_breaker import CircuitBreaker
from reconciler.api.transport.content import ENCODINGS, MAX_ANSWER_BYTES, MAX_DOWNLOAD_BYTES, Unusable, content_of
from reconciler.api.transport.in_flight import InFlight
from reconciler.api.transport.network import network_for
from reconciler.api.transport.organization import OrganizationCheck
from reconciler.api.transport.pages import Asked
from reconciler.api.transport.responses import RawResponse, Response, clean, read
from reconciler.api.transport.retry import Failure, FailureKind, Idempotency, Policy, may_repeat
from reconciler.api.transport.throttle import RateLimitKey, Throttle
from reconciler.errors import AmbiguousError, AnswerError, ApiError, Interrupted, UsageError
from reconciler.model.consistency import ServerClock
from reconciler.model.secret import Redactor

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 120.0
UPLOAD_FACTOR = 5.0  # what an upload may take of everything, compared with other calls
_ANNOUNCED_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.5
_UNSENDABLE = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

LOG = logging.getLogger("reconciler.api")


class Form(Struct, frozen=True):
    """A multipart form with a file. `stream` is read from its beginning at each attempt, and must be seekable.

    `others` are further files by name, each with its file name and stream; a field with several values is repeated.
    """

    name: str
    filename: str
    stream: IO[bytes]
    fields: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    others: Mapping[str, tuple[str, IO[bytes]]] = field(default_factory=dict)


class Request(Struct, frozen=True, dict=True):
    """One call. `path` is the route below the base URL; each `{name}` in it is filled from `ids`, quoted.

    A download is answered with bytes instead of JSON.
    `shared` is a limit that the call shares with others, beside the one of its route.
    `as_is` where refusals are answers too, and so is what is no JSON; what is worth another attempt still gets one.
    `after_stop` for what has to be tidied up after the run was stopped.
    `attempts` is how often it is sent at most where the server fails, for what one can do without.
    """

    method: str
    path: str
    key: Key
    ids: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    query: Asked = field(default_factory=dict)
    form: Form | None = None
    beta: str | None = None
    repeatable: bool | None = None
    shared: RateLimitKey | None = None
    is_download: bool = False
    as_is: bool = False
    after_stop: bool = False
    attempts: int | None = None

    def __post_init__(self) -> None:
        for name, value in self.ids.items():
            if value in ("", ".", "..") or "/" in value or not value.isprintable():
                raise ApiError(f"{self.method} {self.path}: {value!r} cannot be the id of a {name}.")

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"  # the body may hold a secret

    @property
    def effect(self) -> Idempotency:
        """What it means to send this twice; a POST makes something new unless it says that it is `repeatable`."""
        if self.method == "GET":
            return Idempotency.READ
        repeatable = self.method == "DELETE" if self.repeatable is None else self.repeatable
        return Idempotency.REPEATABLE if repeatable else Idempotency.ONCE

    def has_had_enough(self, attempt: int, failure: Failure) -> bool:
        """Whether there is no patience for another attempt; waiting for one's turn is no failure."""
        return self.attempts is not None and attempt >= self.attempts and failure.kind is not FailureKind.THROTTLED

    @property
    def is_first_page(self) -> bool:
        """Whether it is no further page of a list that was begun."""
        return not ({"after", "page"} & self.query.keys())

    @cached_property
    def lane(self) -> RateLimitKey:
        """The limit of its route."""
        return RateLimitKey(self.key.is_admin, self.method, self.path)

    @cached_property
    def target(self) -> str:
        """The path with the ids filled in."""
        return self.path.format_map({name: quote(value, safe="") for name, value in self.ids.items()})


class _NoCookies(httpx.Cookies):
    """Keeps none. Requests are made without, so looking for what a proxy may have set would be for nothing."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Pass it by."""


class _Http(httpx.Client):
    _none = _NoCookies()

    @property
    def cookies(self) -> httpx.Cookies:
        """None, ever."""
        return self._none

    @cookies.setter
    def cookies(self, _: object) -> None:
        raise TypeError("no cookies are kept")


class Left(NamedTuple):
    """How many calls have no answer yet, and how many seconds the slowest route needs for sending its share of them."""

    calls: int
    seconds: float


class Client:
    """Sends requests and returns JSON. Safe to use from threads.

    `answer_seconds` is how long the server may be silent, and how long its whole answer may take from its beginning.
    At most `parallelism` requests are in flight at a time, whoever sends them; None for any number. `clock` is the
    machine's, in unix seconds; `server_clock` learns the server's time from answers. `on_wait` hears of each wait over
    two seconds: why, and until when (unix seconds). Setting `stop` ends every wait early with `Interrupted`, and no
    further request is begun; those in flight end in their own time. `transport` takes the place of the network in
    tests. `environ` holds the settings of proxy and certificates; UsageError names a variable that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        throttle: Throttle | None = None,
        policy: Policy | None = None,
        redactor: Redactor | None = None,
        organization: str | None = None,
        user_agent: str = "reconciler",
        answer_seconds: float = ANSWER_SECONDS,
        parallelism: int | None = None,
        clock: Callable[[], float] = time.time,
        server_clock: ServerClock | None = None,
        sleep: Callable[[float], object] | None = None,
        on_wait: Callable[[str, float], None] | None = None,
        stop: threading.Event | None = None,
        transport: httpx.BaseTransport | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.base_url = check_base_url(base_url)
        self.redactor = redactor or Redactor()
        self.clock = clock
        self.server_clock = server_clock or ServerClock(clock)
        self._stop = stop or threading.Event()
        self._sleep = sleep or self._stop.wait
        self._on_wait = on_wait
        self._throttle = throttle or Throttle()
        self._policy = policy or Policy()
        self._answer_seconds = answer_seconds
        self._outages = CircuitBreaker()
        self._calls = 0
        self._budget, self._budget_ends_at = 0, math.inf
        self._calls_lock = threading.Lock()
        self._traffic = InFlight(clock, at_a_time=parallelism)
        self.organization = OrganizationCheck(self.base_url)
        parts = urlsplit(self.base_url)
        organization = (organization or "").strip()
        self._origin = f"{parts.scheme}://{parts.netloc}"
        headers = {"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": ENCODINGS}
        self._network = network_for(self.base_url, environ)
        self._http = _Http(
            headers=headers | ({"OpenAI-Organization": organization} if organization else {}),
            transport=transport,
            verify=self._network.context,
            proxy=None if transport else self._network.proxy,
            timeout=httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )
        self._headers = dict(self._http.headers)

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""
        return self._calls

    @property
    def answered(self) -> int:
        """Calls that have ended, each once however often it was sent."""
        return self._traffic.answered

    @property
    def waited_seconds(self) -> float:
        """How long the pace alone kept everything from going on."""
        return self._traffic.still_seconds

    @contextmanager
    def at_most(self, calls: int | None) -> Iterator[None]:
        """Read with no more than so many requests, retries included: the next one raises UsageError. None for any."""
        if calls is not None:
            self._budget, self._budget_ends_at = calls, self._calls + calls
        try:
            yield
        finally:
            self._budget_ends_at = math.inf

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        key: Key,
        ids: Mapping[str, str] | None = None,
        json: Any = None,
        query: Asked | None = None,
        form: Form | None = None,
        beta: str | None = None,
        repeatable: bool | None = None,
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of its answer; see `Request` for the arguments.

        Raises from the `ApiError` tree: AmbiguousError where a write may or may not have happened.
        """
        return self.exchange(Request(method, path, key, ids or {}, json, query or {}, form, beta, repeatable)).body

    def exchange(self, request: Request) -> Response:
        """Send one request, again where that is safe and helps, and return the answer with its headers."""
        self._outages.check(request.lane, f"{request.method} {request.target}")
        with self._traffic.call(request.lane, is_expected=request.is_first_page):
            return self._answer(request)

    def _answer(self, request: Request) -> Response:
        spent = 0.0
        for attempt in count(1):
            outcome, sent_at, took_seconds = self._in_turn(request)
            if isinstance(outcome, Response):
                self._outages.answered(request.lane)
                return outcome
            # Sending a large file takes its time, which is no reason to give up on it.
            spent += took_seconds if request.form is None else 0.0
            wait = self._next_wait(request, outcome, attempt=attempt, spent_seconds=spent)
            if wait is None:
                error = self._policy.raised(outcome, request.effect)
                if isinstance(error, AmbiguousError):
                    error.sent_at = self.server_clock.at(sent_at)
                raise error
            spent += wait
            if outcome.kind is not FailureKind.THROTTLED:
                self._announced_pause(wait, f"trying again: {outcome.error}", waited_seconds=spent)
        raise AssertionError("count() has no end")

    def _in_turn(self, request: Request) -> tuple[Response | Failure, float, float]:
        """Send a request once, as soon as its turn has come and there is a place for it.

        The result is what came, when the request was sent, and how many seconds that took.

        A turn is taken by those alone who have a place, since the pace counts from when requests go out; and whoever
        has to wait for a turn leaves the place to others.
        """
        lanes = tuple(filter(None, (request.shared, request.lane)))
        due = list(lanes)
        announced_until = self.clock()
        while True:
            with self._traffic.place:
                if not request.after_stop:
                    self.check_stopped()
                wait = self._take_turns(due)
                if not wait:
                    with self._traffic.sending(request.lane):
                        sent_at = self.clock()
                        outcome = self._attempt(request)
                    if isinstance(outcome, Response) or outcome.kind is not FailureKind.THROTTLED:
                        for lane in lanes:
                            self._throttle.accepted(lane)
                    return outcome, sent_at, self.clock() - sent_at
            until = self.clock() + wait
            if until > announced_until + _ANNOUNCED_SECONDS:
                self._announce(f"rate limit of {due[0].method} {due[0].route}", until)
                announced_until = until
            if self._throttle.is_guessing(due[0]):
                wait = min(wait, _LOOK_AGAIN_SECONDS)  # whatever gets through may show that more does
            with self._traffic.waiting():
                self._sleep(wait)
            self.check_stopped()

    def _take_turns(self, due: list[RateLimitKey]) -> float:
        """Take the turns that are due, as far as they have come: how many seconds to wait for the first of the rest."""
        while due:
            wait = self._throttle.take(due[0])
            if wait > 0:
                return wait
            due.pop(0)
        return 0.0

    def _next_wait(self, request: Request, failure: Failure, *, attempt: int, spent_seconds: float) -> float | None:
        """How long to wait after a failure, or None to give up; throttle and outages learn of it."""
        lane, effect = request.lane, request.effect
        wait = self._policy.wait(failure, effect, attempt=attempt, spent_seconds=spent_seconds)
        if self._outages.has(lane) or request.has_had_enough(attempt, failure):
            wait = None
        if failure.kind is FailureKind.THROTTLED:
            told = failure.told_seconds is not None
            # A wait that is too long for us must not hold back others, who may be told something else.
            self._throttle.refused(request.shared or lane, wait_seconds=wait or 0.0, told=told)
        if failure.kind in (FailureKind.FINAL, FailureKind.CONFLICT):
            self._outages.answered(lane)
        elif wait is None and may_repeat(failure.kind, effect):
            self._outages.gave_up(lane, failure.error)
        elif wait is None and failure.kind is FailureKind.UNCLEAR:
            self._outages.lost(lane, failure.error)
        return wait

    def expect(self, lane: RateLimitKey) -> None:
        """Tell that a call will be made soon."""
        self._traffic.expect(lane)

    def left(self) -> Left:
        """What is expected or under way, and how long its pace makes it take."""
        calls, unsent = self._traffic.open()
        seconds = (self._throttle.seconds_for(lane, count) for lane, count in unsent.items())
        return Left(calls, max(seconds, default=0.0))

    def expect_nothing(self) -> None:
        """Forget what was expected and did not come."""
        self._traffic.expect_nothing()

    def pause(self, seconds: float, reason: str) -> None:
        """Wait, telling the user if it takes longer; raises Interrupted as soon as the run is stopped."""
        self._announced_pause(seconds, reason, waited_seconds=seconds)

    def _announced_pause(self, seconds: float, reason: str, *, waited_seconds: float) -> None:
        """A pause of many for one reason: what counts for telling the user is how long they are together."""
        if waited_seconds > _ANNOUNCED_SECONDS:
            self._announce(reason, self.clock() + seconds)
        self._sleep(seconds)
        self.check_stopped()

    def _announce(self, reason: str, until: float) -> None:
        if self._on_wait is not None:
            self._on_wait(reason, until)

    def check_stopped(self) -> None:
        """Raise Interrupted once the run is stopped: between the calls of long work, never inside one."""
        if self._stop.is_set():
            raise Interrupted("The run was stopped.")

    def _attempt(self, request: Request) -> Response | Failure:
        call = f"{request.method} {request.target}"
        self.redactor.add(request.key.secret)
        self.organization.require()
        with self._calls_lock:
            if self._calls >= self._budget_ends_at:
                raise UsageError(
                    f"reading live state needs more calls than the budget of {self._budget}: {call} was not sent",
                    hint="Raise --budget, or narrow the plan with --target.",
                )
            self._calls += 1
        started, sent_at = False, self.clock()
        try:
            response = self._http.send(self._built(request), stream=True)
            started = True
            try:
                content = self._content(response, request)
            finally:
                response.close()
                # httpx ties the stream to its response and the response to its stream, and what goes in a circle is
                # freed seldom: ten thousand uploads would be kept, forms, buffers and all.
                del response.stream
        except Unusable as problem:
            return Failure(self._unusable(call, response, problem), FailureKind.GARBLED)
        except httpx.HTTPError as error:
            LOG.debug("%s: %s", call, type(error).__name__)
            cut = self._cut_short(call, response) if started else self._unreachable(call, error)
            return Failure(cut, FailureKind.CUT_SHORT if started else self._trouble(error))
        received_at = self.clock()
        took_seconds = received_at - sent_at
        LOG.debug("%s → %d in %.0f ms", call, response.status_code, took_seconds * 1000)
        received = RawResponse(
            response.status_code, response.headers, content, call, request.key, self._origin, request.is_download
        )
        found = read(received, self.redactor, now=self.server_clock(), as_is=request.as_is)
        # What is no answer may be a proxy's, whose clock is its own.
        if isinstance(found, Response) or not self.server_clock.is_known:
            date = response.headers.get("date")
            self.server_clock.learn(date, sent_at=sent_at, received_at=received_at)
        refused = found.error if isinstance(found, Failure) else None
        is_write = request.effect is not Idempotency.READ
        self.organization.check(response.headers, is_write=is_write, refused=refused)
        return replace(found, seconds=took_seconds) if isinstance(found, Response) else found

    def _content(self, response: httpx.Response, request: Request) -> bytes:
        """The body, as long as it comes in time: a server that sends a byte a minute must not hold us for hours."""
        ends_at = self.clock() + self._answer_seconds

        def check_time() -> None:
            if self.clock() > ends_at:
                raise httpx.ReadTimeout("the answer did not end in time")

        most = MAX_DOWNLOAD_BYTES if request.is_download else MAX_ANSWER_BYTES
        return content_of(response, most=most, at_each=check_time)

    def _unusable(self, call: str, response: httpx.Response, problem: Unusable) -> ApiError:
        return AnswerError(
            f"{call}: the answer of {self._origin} ({response.status_code}) {problem}, so it is not read.",
            hint="Check OPENAI_BASE_URL or --base-url, and the proxy settings of this machine.",
            status=response.status_code,
        )

    def _allowed_seconds(self, request: Request) -> float:
        return self._answer_seconds * (1.0 if request.form is None else UPLOAD_FACTOR)

    def _built(self, request: Request) -> httpx.Request:
        headers = {**self._headers, "authorization": f"Bearer {request.key.secret.reveal()}"}
        if request.is_download:
            headers["accept"] = "application/binary"
        if request.beta:
            headers["openai-beta"] = request.beta
        if request.key.project_id:
            headers["openai-project"] = request.key.project_id
        form = request.form
        query = f"?{urlencode(request.query, doseq=True)}" if request.query else ""
        seconds = httpx.Timeout(self._allowed_seconds(request), connect=CONNECT_SECONDS)
        # Not by way of the client, which puts every address together anew, at a fifth of what a call costs us.
        return httpx.Request(
            request.method,
            f"{self.base_url}{request.target}{query}",
            headers=headers,
            json=request.json,
            data=dict(form.fields) if form else None,
            files={form.name: (form.filename, form.stream), **form.others} if form else None,
            extensions={"timeout": seconds.as_dict()},
        )

    def _trouble(self, error: httpx.HTTPError) -> FailureKind:
        if isinstance(error, _UNSENDABLE) or _is_certificate_problem(error):
            return FailureKind.FINAL
        return FailureKind.UNSENT if isinstance(error, _NEVER_SENT) else FailureKind.UNCLEAR

    def _cut_short(self, call: str, response: httpx.Response) -> ApiError:
        kind = response.headers.get("content-type", "no content type")
        return AnswerError(
            f"{call}: the answer of {self._origin} ({response.status_code}, {clean(kind, self.redactor)}) was cut "
            "short: the connection was lost, maybe by a proxy.",
            status=response.status_code,
        )

    def _unreachable(self, call: str, error: httpx.HTTPError) -> ApiError:
        reason = clean(str(error), self.redactor) or type(error).__name__
        if _is_certificate_problem(error):
            return ApiError(
                f"{call}: the certificate of {self._origin} is not trusted: {reason}",
                hint=f"Check OPENAI_BASE_URL, and the clock of this machine. Trusted are "
                f"{self._network.certificates or 'no certificates'}; behind a proxy that opens TLS, "
                "set SSL_CERT_FILE to its certificate.",
            )
        if isinstance(error, _UNSENDABLE):
            return ApiError(
                f"{call} cannot be sent: {reason}",
                hint="Check the organization, the project ids and the keys for characters that HTTP does not allow.",
            )
        if isinstance(error, _NEVER_SENT):
            return ApiError(
                f"{call}: {self._origin} cannot be reached: {reason}",
                hint=self._what_to_check(),
            )
        what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "closed the connection"
        return ApiError(f"{call}: {self._origin} {what}: {reason}")

    def _what_to_check(self) -> str:
        if proxy := self._network.described_proxy:
            return f"Requests go through {proxy}: check it, or add the host to NO_PROXY, or correct OPENAI_BASE_URL."
        return "Check the network, the proxy settings, and OPENAI_BASE_URL or --base-url."


def _is_certificate_problem(error: BaseException) -> bool:
    """Whether an error of httpx was caused by a certificate.

    Only causes are followed. The context of an error is whatever was being handled when it was raised: while a lost
    answer is looked into, that is another request's error, and contexts can form a circle.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        seen.add(id(cause))
        cause = cause.__cause__
    return False
