"""What an apply is doing right now, line by line, for whoever watches."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime
from typing import TextIO

from reconciler.model.change import Change, Outcome, OutcomeStatus
from reconciler.render import words
from reconciler.render.lines import Line, Span, line
from reconciler.render.text import ACTION_STYLES, MARKS, painted

_SAID_AGAIN_SECONDS = 30.0


class Progress:
    """Writes to `stream`, standard error as a rule. May be called from threads.

    Unless `enabled` it says nothing but what is waited for: a log that stands still for minutes must tell why.
    """

    def __init__(self, stream: TextIO, enabled: bool, color: bool) -> None:
        self._stream = stream
        self._enabled = enabled
        self._color = color
        self._lock = threading.Lock()
        self._said_until: dict[str, float] = {}

    def started(self, change: Change) -> None:
        """A change has begun."""
        head = Span(f"{change.action.symbol} ", ACTION_STYLES[change.action])
        self._say(line(head, Span(str(change.address), "bold"), f": {words.doing(change)}…"))

    def finished(self, outcome: Outcome) -> None:
        """A change has ended, one way or another."""
        mark, style = MARKS[outcome.status]
        done = outcome.status is OutcomeStatus.APPLIED
        took = f" in {words.duration(outcome.seconds)}" if outcome.seconds and done else ""
        ident = f" ({outcome.id})" if outcome.id else ""
        sentence = Span(f" {words.outcome_sentence(outcome)}", style)
        head = (Span(f"{mark} ", style), Span(f"{outcome.change.address}:", "bold"))
        self._say(line(*head, sentence, Span(f"{took}{ident}", "dim")))

    def waiting(self, reason: str, seconds: float, *, until: float) -> None:
        """Nothing moves for a while, and this is why; `until` is in unix seconds.

        Many may wait for the same, and in turns, so a reason is said again only after half a minute.
        """
        with self._lock:
            if until < self._said_until.get(reason, -math.inf) + _SAID_AGAIN_SECONDS:
                return
            self._said_until[reason] = until
        end = datetime.fromtimestamp(until, UTC).strftime("%H:%M:%S")
        text = f"waiting {words.duration(seconds)}, until {end} UTC: {reason}"
        self._write(line(Span("… ", "dim"), text))

    def _say(self, text: Line) -> None:
        if self._enabled:
            self._write(text)

    def _write(self, text: Line) -> None:
        with self._lock:
            self._stream.write(painted([text], color=self._color))
            self._stream.flush()
