"""The shared pace: one allocator of tokens for rate-limited routes, used by several runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from reconciler.model.run_origin import RunOrigin

_LONGEST_LABEL = 120


class PaceUser(Struct, frozen=True):
    """The identity of a run, as shown to other runs. It informs people and proves nothing."""

    id: str
    """Random, one for each process. Tokens are shared fairly between ids."""
    label: str = ""
    """As in `octocat (ci, apply payments/production)`."""
    is_background: bool = False
    """Whether the run is unattended: other runs get two tokens for each of its tokens."""


class PaceRequest(Struct, frozen=True):
    """A request for one token. Times are unix seconds of the pace's own clock."""

    scope: str
    """The server and the organization: see `scope_of`."""
    route: str
    """The method and the route: `GET /organization/projects`."""
    user: PaceUser
    wanted: int = 1
    """How many tokens the user is waiting for at the moment, this one included."""
    limit: int | None = None
    """The configured requests per window, None for what refusals have shown."""
    window_seconds: float = 61.0
    earlier: Sequence[float] = ()
    """Requests of the last window that were sent without a token of this scope."""


class PaceAnswer(Struct, frozen=True):
    """What a pace answers. Ages and waits are seconds, `now` is the pace's own clock."""

    now: float
    wait_seconds: float
    """0 for a token, else the time until the next request for one."""
    limit: int | None
    """Requests per window, None while none is known."""
    ages: Sequence[float] = ()
    """How long ago each request of the last window was sent, oldest first."""
    others: Sequence[str] = ()
    """Labels of other runs that use the pace. Untrusted, because other machines write them."""


class RunUse(Struct, frozen=True):
    """A run, by its untrusted label, and its requests in the last minute."""

    run: str
    requests: int


class RouteUse(Struct, frozen=True):
    """A route of a pace, its requests a minute if a limit is known, and who used it lately."""

    route: str
    limit: int | None
    used_by: Sequence[RunUse] = ()


class PaceError(Exception):
    """The shared pace cannot be used. `is_lasting` if it takes a person to change that."""

    def __init__(self, reason: str, *, is_lasting: bool = False) -> None:
        super().__init__(reason)
        self.is_lasting = is_lasting


class SharedPace(Protocol):
    """Gives tokens to runs on any machine. Never waits for one. Safe to use from threads.

    Every method raises PaceError, after two seconds at the latest.
    """

    def take(self, request: PaceRequest) -> PaceAnswer:
        """Take a token, or learn when to ask next."""

    def refused(
        self, request: PaceRequest, *, taken_at: float | None, wait_seconds: float | None
    ) -> PaceAnswer:
        """Report that the server refused the request of a token (429).

        `wait_seconds` is the wait that the server asked for. The answer's wait holds for all runs.
        """

    def uses(self, scope: str) -> Sequence[RouteUse]:
        """The routes of a scope that were used in the last minute, or whose limit is known."""

    def close(self) -> None:
        """Close the connections."""


def label_of(origin: RunOrigin, doing: str) -> str:
    """The label of a run: `octocat (ci, apply payments/production)`."""
    details = f"ci, {doing}" if origin.ci else doing
    return plain_label(f"{origin.who} ({details})")


def plain_label(text: str) -> str:
    """A label without control, format and undecodable characters, and not too long."""
    # Labels come from other machines and are printed on this one.
    plain = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return plain if len(plain) <= _LONGEST_LABEL else f"{plain[: _LONGEST_LABEL - 1]}…"
