"""The interface through which runs report metrics, so that callers import no metrics library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from reconciler.model.fleet import StackId, StackResult
from reconciler.model.traffic import SentRequest, TrafficObserver


class Recorder(TrafficObserver, Protocol):
    """Keeps figures about stacks and requests. Called from any thread, and never raises."""

    def record(self, result: StackResult, *, interval_seconds: float | None = None) -> None:
        """A run of a stack has ended. `interval_seconds` is how often the stack is read."""

    def forget(self, id: StackId) -> None:
        """A stack is no longer part of the fleet."""

    def limits(self, organization: str, per_minute: Mapping[str, int]) -> None:
        """The known rate limits of an organization, by `METHOD route`."""

    def notified(self, *, delivered: bool) -> None:
        """A notice was delivered, or could not be."""


class NoRecorder:
    """A `Recorder` that keeps nothing."""

    def record(self, result: StackResult, *, interval_seconds: float | None = None) -> None:
        """Ignore a result."""

    def forget(self, id: StackId) -> None:
        """Ignore the end of a stack."""

    def limits(self, organization: str, per_minute: Mapping[str, int]) -> None:
        """Ignore limits."""

    def notified(self, *, delivered: bool) -> None:
        """Ignore a notice."""

    def sent(self, request: SentRequest) -> None:
        """Ignore a request."""
