"""Reports of a client's requests, for metrics: never an id, a query, a header or a body."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from reconciler.model.tracing import Attribute, EndedSpan, Span


class SentRequest(Struct, frozen=True):
    """One request that was sent, successfully or not."""

    organization: str
    """The id of the organization, or empty while no answer has named it."""
    method: str
    route: str
    """The path with placeholders for ids: `/organization/projects/{project}`."""
    status: int
    """The HTTP status; 0 without an answer."""
    attempt: int
    """1 for the first attempt of a call."""
    waited_seconds: float
    """How long this attempt waited for rate limits before it was sent."""
    began_at: float
    """When it was sent, in unix seconds."""
    seconds: float
    """How long it was in flight."""


class TrafficObserver(Protocol):
    """Receives every request. Called from any thread, and must not block or raise."""

    def sent(self, request: SentRequest) -> None:
        """Called after a request has ended."""


def trace_request(span: Span, request: SentRequest) -> None:
    """Add a request to a span, with the attributes that OpenTelemetry gives to HTTP clients."""
    attributes: dict[str, Attribute] = {
        "http.request.method": request.method,
        "url.template": request.route,
        "reconciler.attempt": request.attempt,
        "reconciler.waited_seconds": round(request.waited_seconds, 3),
    }
    # The route and not the path: ids in the names of spans would make each one unique.
    failure = ""
    if request.status:
        attributes["http.response.status_code"] = request.status
    if request.status == 0:
        failure = "no answer"
    elif request.status >= 400:
        failure = str(request.status)
    name = f"{request.method} {request.route}"
    span.record(EndedSpan(name, attributes, request.began_at, request.seconds, failure))
