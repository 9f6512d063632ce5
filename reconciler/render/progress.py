"""What an apply is doing right now, line by line, for whoever watches."""

from __future__ import annotations

import threading
from typing import TextIO

from reconciler.model.change import Change, Outcome, OutcomeStatus
from reconciler.render import words
from reconciler.render.lines import Line, Span, line
from reconciler.render.text import ACTION_STYLES, MARKS, painted


class Progress:
    """Writes to `stream`, standard error as a rule; says nothing unless `enabled`. May be called from threads."""

    def __init__(self, stream: TextIO, enabled: bool, color: bool) -> None:
        self._stream = stream
        self._enabled = enabled
        self._color = color
        self._lock = threading.Lock()

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

    def waiting(self, reason: str, seconds: float) -> None:
        """Nothing moves for a while, and this is why."""
        self._say(line(Span("… ", "dim"), f"waiting {words.duration(seconds)}: {reason}"))

    def _say(self, text: Line) -> None:
        if not self._enabled:
            return
        with self._lock:
            self._stream.write(painted([text], color=self._color))
            self._stream.flush()
