"""What a run is doing right now, for whoever watches: line by line, and as a bar on a terminal."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from msgspec import Struct

from reconciler.model.change import Change, Outcome, OutcomeStatus
from reconciler.render import phrases
from reconciler.render.lines import Line, Span, line, painted
from reconciler.render.text import ACTION_STYLES, MARKS

if TYPE_CHECKING:
    from reconciler.render.bars import Bar

_SAID_AGAIN_SECONDS = 30.0


class Outlook(Struct, frozen=True):
    """How much of what (`calls`, `changes`) is done, and how many seconds the rest takes; None where nobody can say."""

    done: int
    total: int
    what: str
    seconds_left: float | None = None


class Progress:
    """Writes to `stream`, standard error as a rule. May be called from threads.

    Unless `enabled` it says nothing but what is waited for: a log that stands still for minutes must tell why. `bars`
    where the stream is a terminal.
    """

    def __init__(self, stream: TextIO, enabled: bool, color: bool, *, bars: bool = False) -> None:
        self._stream = stream
        self._enabled = enabled
        self._color = color
        self._bars = bars
        self._bar: Bar | None = None
        self._lock = threading.Lock()
        self._said_until: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, outlook: Callable[[], Outlook]) -> Iterator[None]:
        """A stretch of work: on a terminal, a bar as long as it lasts."""
        if not self._bars:
            yield
            return
        from reconciler.render.bars import Bar

        with Bar(self._stream, name, outlook, color=self._color) as self._bar:
            try:
                yield
            finally:
                self._bar = None

    def started(self, change: Change) -> None:
        """A change has begun."""
        if not self._enabled:
            return
        head = Span(f"{change.action.symbol} ", ACTION_STYLES[change.action])
        self._write(line(head, Span(str(change.address), "bold"), f": {phrases.doing(change)}…"))

    def told(self, change: Change, text: str) -> None:
        """A job that is waited for has said something: hours may pass, so this is for logs too."""
        self._write(line(Span("… ", "dim"), Span(f"{change.address}: ", "bold"), text))

    def finished(self, outcome: Outcome) -> None:
        """A change has ended, one way or another."""
        if not self._enabled:
            return
        mark, style = MARKS[outcome.status]
        done = outcome.status is OutcomeStatus.APPLIED
        took = f" in {phrases.duration(outcome.seconds)}" if outcome.seconds and done else ""
        ident = f" ({outcome.id})" if outcome.id else ""
        sentence = Span(f" {phrases.outcome_sentence(outcome)}", style)
        head = (Span(f"{mark} ", style), Span(f"{outcome.change.address}:", "bold"))
        self._write(line(*head, sentence, Span(f"{took}{ident}", "dim")))

    def waiting(self, reason: str, seconds: float, *, until: float, left: str = "") -> None:
        """Nothing moves for a while, and this is why; `until` is in unix seconds, `left` says what is to come.

        Many may wait for the same, and in turns, so a reason is said again only after half a minute.
        """
        with self._lock:
            if until < self._said_until.get(reason, -math.inf) + _SAID_AGAIN_SECONDS:
                return
            self._said_until[reason] = until
        end = datetime.fromtimestamp(until, UTC).strftime("%H:%M:%S")
        text = f"waiting {phrases.duration(seconds)}, until {end} UTC: {reason}{left}"
        self._write(line(Span("… ", "dim"), text))

    def _write(self, text: Line) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.above(painted([text], color=self._color))
                return
            self._stream.write(painted([text], color=self._color))
            self._stream.flush()
