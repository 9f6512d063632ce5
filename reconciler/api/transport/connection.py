"""Sends a request once, over HTTP, and reads its response: one attempt, without retries.

Redirects are never followed, because the key would go along to another host.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from msgspec.structs import replace

from reconciler.api.transport.content import (
    ENCODINGS,
    MAX_ANSWER_BYTES,
    MAX_DOWNLOAD_BYTES,
    Unusable,
    content_of,
)
from reconciler.api.transport.network import network_for
from reconciler.api.transport.organization import OrganizationCheck
from reconciler.api.transport.request import Request
from reconciler.api.transport.responses import RawResponse, Response, clean, read
from reconciler.api.transport.retry import FailedAttempt, FailureKind, Idempotency
from reconciler.errors import AnswerError, ApiError
from reconciler.model.consistency import ServerClock
from reconciler.model.secret import Redactor

CONNECT_SECONDS = 10.0
UPLOAD_FACTOR = 5.0
"""The time limits of an upload, as a multiple of those of other calls."""
_UNSENDABLE = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
_BEFORE_HEADERS = "http11.send_request_headers.started"
"""The event that the library reports once it has a connection, before it writes to it."""
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

LOG = logging.getLogger("reconciler.api")


class _NoCookies(httpx.Cookies):
    """An empty cookie jar. Requests carry no cookies, so parsing `Set-Cookie` would be wasted."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Ignore the cookies of the response."""


class _Http(httpx.Client):
    _none = _NoCookies()

    @property
    def cookies(self) -> httpx.Cookies:
        """Always empty."""
        return self._none

    @cookies.setter
    def cookies(self, _: object) -> None:
        raise TypeError("no cookies are kept")


class _PermittedBody(httpx.SyncByteStream):
    """The body of a request. `permit` is called before each part of it."""

    def __init__(self, body: httpx.SyncByteStream, permit: Callable[[], None]) -> None:
        self._body = body
        self._permit = permit

    def __iter__(self) -> Iterator[bytes]:
        for part in self._body:
            self._permit()
            yield part

    def close(self) -> None:
        """Close the body."""
        self._body.close()


class Connection:
    """The HTTP connection pool to one server. Safe to use from threads.

    Raises UsageError where `environ` has a proxy or certificate setting that cannot be used.
    `permit` is called just before anything is written to the network, and raises to leave the
    request incomplete: the process may have been suspended since the request was prepared, or may
    have waited long for a connection. `transport` replaces the connections. Other arguments are
    those of `Client`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        redactor: Redactor,
        organization: OrganizationCheck,
        headers: Mapping[str, str],
        answer_seconds: float,
        clock: Callable[[], float],
        server_clock: ServerClock,
        permit: Callable[[], None],
        transport: httpx.BaseTransport | None,
        environ: Mapping[str, str],
    ) -> None:
        parts = urlsplit(base_url)
        self._base_url = base_url
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._redactor = redactor
        self._organization = organization
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._server_clock = server_clock
        self._permit = permit
        self._network = network_for(base_url, environ)
        self._http = _Http(
            headers={"Accept": "application/json", "Accept-Encoding": ENCODINGS, **headers},
            transport=transport,
            verify=self._network.context,
            proxy=self._network.proxy if transport is None else None,
            timeout=httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,  # `network_for` has read the environment
        )
        self._headers = dict(self._http.headers)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, request: Request) -> Response | FailedAttempt:
        """Send the request once. Raises OrganizationError for an answer of another organization."""
        call = f"{request.method} {request.target}"
        # Before the request is sent: errors quote what a proxy answers, and some repeat headers.
        self._redactor.add(request.key.secret)
        has_response = False
        sent_at = self._clock()
        try:
            response = self._http.send(self._message(request), stream=True)
            has_response = True
            content = self._read_content(response, request)
        except Unusable as problem:
            return FailedAttempt(self._unusable(call, response, problem), FailureKind.GARBLED)
        except httpx.HTTPError as error:
            LOG.debug("%s: %s", call, type(error).__name__)
            # The status has arrived, and the rest has not: the server has answered, and may have acted.
            if has_response:
                return FailedAttempt(self._cut_short(call, response), FailureKind.CUT_SHORT)
            return FailedAttempt(self._unreachable(call, error), _kind_of(error))
        received_at = self._clock()
        took_seconds = received_at - sent_at
        LOG.debug("%s → %d in %.0f ms", call, response.status_code, took_seconds * 1000)
        raw = RawResponse(
            response.status_code,
            response.headers,
            content,
            call,
            request.key,
            self._origin,
            request.is_download,
        )
        now = self._server_clock()
        result = read(raw, self._redactor, now=now, accepts_errors=request.accepts_errors)
        # An error page may come from a proxy, whose clock is another one.
        if isinstance(result, Response) or not self._server_clock.is_known:
            date = response.headers.get("date")
            self._server_clock.learn(date, sent_at=sent_at, received_at=received_at)
        is_write = request.idempotency is not Idempotency.READ
        if isinstance(result, FailedAttempt):
            self._organization.check(response.headers, is_write=is_write, refused=result.error)
            return result
        self._organization.check(response.headers, is_write=is_write)
        return replace(result, seconds=took_seconds, sent_at=sent_at)

    def _message(self, request: Request) -> httpx.Request:
        message = request.to_httpx(self._base_url, self._headers, self._timeout(request))
        # The request may wait long for a connection, so the last moment before it is sent counts.
        message.extensions["trace"] = self._permit_headers
        if isinstance(message.stream, httpx.SyncByteStream):
            message.stream = _PermittedBody(message.stream, self._permit)
        return message

    def _permit_headers(self, event: str, _: Mapping[str, Any]) -> None:
        if event == _BEFORE_HEADERS:
            self._permit()

    def _timeout(self, request: Request) -> httpx.Timeout:
        seconds = self._answer_seconds
        if request.form is not None:
            seconds *= UPLOAD_FACTOR
        return httpx.Timeout(seconds, connect=CONNECT_SECONDS)

    def _read_content(self, response: httpx.Response, request: Request) -> bytes:
        """The body. Fails if it takes too long."""
        # A server that sends a byte a minute never hits the timeout of a read.
        ends_at = self._clock() + self._answer_seconds

        def check_time() -> None:
            if self._clock() > ends_at:
                raise httpx.ReadTimeout("the answer did not end in time")

        most = MAX_DOWNLOAD_BYTES if request.is_download else MAX_ANSWER_BYTES
        try:
            return content_of(response, most=most, at_each=check_time)
        finally:
            response.close()
            # httpx ties the stream to its response and the response to its stream. The garbage
            # collector frees such cycles late: ten thousand uploads would stay in memory.
            del response.stream

    def _unusable(self, call: str, response: httpx.Response, problem: Unusable) -> ApiError:
        return AnswerError(
            f"{call}: the answer of {self._origin} ({response.status_code}) {problem}, "
            "so it is not read.",
            hint="Check OPENAI_BASE_URL or --base-url, and the proxy settings of this machine.",
            status=response.status_code,
        )

    def _cut_short(self, call: str, response: httpx.Response) -> ApiError:
        content_type = response.headers.get("content-type", "no content type")
        return AnswerError(
            f"{call}: the answer of {self._origin} ({response.status_code}, "
            f"{clean(content_type, self._redactor)}) was cut short: the connection was lost, "
            "maybe by a proxy.",
            status=response.status_code,
        )

    def _unreachable(self, call: str, error: httpx.HTTPError) -> ApiError:
        reason = clean(str(error), self._redactor) or type(error).__name__
        if _is_certificate_problem(error):
            certificates = self._network.certificates or "no certificates"
            return ApiError(
                f"{call}: the certificate of {self._origin} is not trusted: {reason}",
                hint=f"Check OPENAI_BASE_URL, and the clock of this machine. Trusted are "
                f"{certificates}; behind a proxy that opens TLS, set SSL_CERT_FILE to its "
                "certificate.",
            )
        if isinstance(error, _UNSENDABLE):
            return ApiError(
                f"{call} cannot be sent: {reason}",
                hint="Check the organization, the project ids and the keys for characters that "
                "HTTP does not allow.",
            )
        if isinstance(error, _NEVER_SENT):
            return ApiError(
                f"{call}: {self._origin} cannot be reached: {reason}", hint=self._network_hint()
            )
        problem = "closed the connection"
        if isinstance(error, httpx.TimeoutException):
            problem = "did not answer in time"
        return ApiError(f"{call}: {self._origin} {problem}: {reason}")

    def _network_hint(self) -> str:
        if proxy := self._network.described_proxy:
            return (
                f"Requests go through {proxy}: check it, or add the host to NO_PROXY, or correct "
                "OPENAI_BASE_URL."
            )
        return "Check the network, the proxy settings, and OPENAI_BASE_URL or --base-url."


def _kind_of(error: httpx.HTTPError) -> FailureKind:
    """What an error without a response says about whether the server acted."""
    # These stay as they are until somebody changes a setting.
    if isinstance(error, _UNSENDABLE) or _is_certificate_problem(error):
        return FailureKind.FINAL
    if isinstance(error, _NEVER_SENT):
        return FailureKind.UNSENT
    return FailureKind.UNCLEAR


def _is_certificate_problem(error: BaseException) -> bool:
    """Whether an error of httpx was caused by a certificate."""
    # Only causes are followed. The context of an error is any error that was being handled when it
    # was raised, such as that of another request, and contexts can form a cycle.
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        seen.add(id(cause))
        cause = cause.__cause__
    return False
