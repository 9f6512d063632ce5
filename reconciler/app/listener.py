"""Follows a run as a whole: its waits and its two phases, in addition to its changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from reconciler.api.transport.client import Client
from reconciler.engine.apply.listener import Listener
from reconciler.model.change import Change, Outcome, Plan


class RunListener(Listener, Protocol):
    """Follows a run: its waits, its two phases and its changes. Called from any thread."""

    def waiting(self, reason: str, until: float) -> None:
        """A wait of more than two seconds begins; `until` is in Unix seconds."""

    def reading(self) -> AbstractContextManager[None]:
        """Surrounds the phase that reads live state."""

    def applying(self, plan: Plan) -> AbstractContextManager[None]:
        """Surrounds the phase that applies a plan."""


class SilentListener:
    """A `RunListener` that ignores everything."""

    def __init__(self, client: Client) -> None:
        pass

    def waiting(self, reason: str, until: float) -> None:
        """Ignore a wait."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Ignore the phase that reads live state."""
        yield

    @contextmanager
    def applying(self, plan: Plan) -> Iterator[None]:  # noqa: ARG002 - the protocol's
        """Ignore the phase that applies a plan."""
        yield

    def started(self, change: Change) -> None:
        """Ignore the start of a change."""

    def job_event(self, change: Change, text: str) -> None:
        """Ignore an event of a job."""

    def finished(self, outcome: Outcome) -> None:
        """Ignore the end of a change."""
