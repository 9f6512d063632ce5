"""Progress of a run: a line per event, and bars on terminals."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from msgspec import Struct

from reconciler.model.change import Change, Outcome, OutcomeStatus
from reconciler.render import phrases
from reconciler.render.lines import Line, StyledText, line, painted
from reconciler.render.text import ACTION_STYLES, MARKS
from reconciler.render.values import enclosed

if TYPE_CHECKING:
    from reconciler.render.bars import Bar

_REPEAT_SECONDS = 30.0
# Rich redraws rows in place, which works only while they fit on the screen.
_MOST_ROWS = 8


class Outlook(Struct, frozen=True):
    """How far a phase is: `done` of `total` units, such as `calls` or `changes`."""

    done: int
    total: int
    unit: str
    seconds_left: float | None = None
    """None if it cannot be estimated."""


class Progress:
    """Writes progress to `stream`, normally standard error. Thread-safe.

    Unless `enabled`, it reports waiting only: a log that stops for minutes must say why.
    """

    def __init__(self, stream: TextIO, enabled: bool, color: bool, *, bars: bool = False) -> None:
        self._stream = stream
        self._enabled = enabled
        self._color = color
        self._bars = bars
        self._bar: Bar | None = None
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Change, float]] = {}
        self._reported_until: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, outlook: Callable[[], Outlook]) -> Iterator[None]:
        """A phase of the run; on a terminal, shows a bar until it ends."""
        if not self._bars:
            yield
            return
        from reconciler.render.bars import Bar

        with Bar(self._stream, name, outlook, self._rows, color=self._color) as self._bar:
            try:
                yield
            finally:
                self._bar = None

    def started(self, change: Change) -> None:
        """A change starts. Below a bar, it has a line until it ends; the result lists it then."""
        if self._bar is not None:
            with self._lock:
                self._running[str(change.address)] = (change, time.monotonic())
            return
        if not self._enabled:
            return
        head = StyledText(f"{change.action.symbol} ", ACTION_STYLES[change.action])
        self._write(
            line(head, StyledText(str(change.address), "bold"), f": {phrases.doing(change)}…")
        )

    def job_event(self, change: Change, text: str) -> None:
        """An event of a job that the run waits for; also written if not `enabled`: jobs take hours."""
        self._write(line(StyledText("… ", "dim"), StyledText(f"{change.address}: ", "bold"), text))

    def finished(self, outcome: Outcome) -> None:
        """A change ended, successfully or not."""
        if self._bar is not None:
            with self._lock:
                self._running.pop(str(outcome.change.address), None)
            return
        if not self._enabled:
            return
        mark, style = MARKS[outcome.status]
        aside = enclosed(" (", outcome.id, ")")
        if outcome.seconds and outcome.status is OutcomeStatus.APPLIED:
            aside = f" in {phrases.duration(outcome.seconds)}{aside}"
        sentence = StyledText(f" {phrases.outcome_sentence(outcome)}", style)
        head = (StyledText(f"{mark} ", style), StyledText(f"{outcome.change.address}:", "bold"))
        self._write(line(*head, sentence, StyledText(aside, "dim")))

    def waiting(self, reason: str, seconds: float, *, until: float, left: str = "") -> None:
        """The run pauses for `reason`; `until` is in unix seconds, `left` describes the work left.

        Many threads wait for the same reason, so it is repeated only every 30 seconds.
        """
        with self._lock:
            if until < self._reported_until.get(reason, -math.inf) + _REPEAT_SECONDS:
                return
            self._reported_until[reason] = until
        end = datetime.fromtimestamp(until, UTC).strftime("%H:%M:%S")
        text = f"waiting {phrases.duration(seconds)}, until {end} UTC: {reason}{left}"
        self._write(line(StyledText("… ", "dim"), text))

    def _rows(self) -> list[str]:
        """The changes that have run longest, each with its time, and how many more there are."""
        # A copy under the lock; drawing would hold up the threads that report changes.
        with self._lock:
            running = sorted(self._running.values(), key=lambda pair: pair[1])
        now = time.monotonic()
        rows = []
        for change, began in running[:_MOST_ROWS]:
            sign = StyledText(f"  {change.action.symbol} ", ACTION_STYLES[change.action])
            doing = f"  {phrases.doing(change)}, {phrases.duration(now - began)}"
            rows.append(
                line(sign, StyledText(str(change.address), "bold"), StyledText(doing, "dim"))
            )
        if len(running) > _MOST_ROWS:
            rows.append(line(StyledText(f"    and {len(running) - _MOST_ROWS:,} more", "dim")))
        return painted(rows, color=self._color).splitlines()

    def _write(self, text: Line) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.above(painted([text], color=self._color))
                return
            self._stream.write(painted([text], color=self._color))
            self._stream.flush()
