"""The listener of an apply. A module of its own, because commands without an apply need it too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.model.change import Change, Outcome


class Listener(Protocol):
    """Receives the progress of an apply, from any thread."""

    def started(self, change: Change) -> None:
        """Work on a change begins."""

    def job_event(self, change: Change, text: str) -> None:
        """A job that the apply waits for has a new event."""

    def finished(self, outcome: Outcome) -> None:
        """Work on a change has ended, successfully or not."""
