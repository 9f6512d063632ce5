"""What a client reports about its requests, for metrics: never an id, a query, a header or a body."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


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
    """Hears of every request. Called from any thread, and must not block or raise."""

    def sent(self, request: SentRequest) -> None:
        """A request has ended."""
