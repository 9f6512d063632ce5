"""Progress on stderr: waits, finished changes, and on a terminal a bar for each phase."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from reconciler.api.transport.client import Client
from reconciler.cli.options import GlobalOptions
from reconciler.cli.reporting import wants_color
from reconciler.model.change import Change, Outcome, Plan
from reconciler.render.phrases import duration
from reconciler.render.progress import Outlook, Progress
from reconciler.render.values import count

LOG = logging.getLogger("reconciler.cli")
_TOO_FEW = 5
"""The fewest finished steps that allow an estimate of the time left."""


class ProgressReporter:
    """Shows one run to its user; a `RunListener`. Called from any thread."""

    def __init__(self, options: GlobalOptions, client: Client) -> None:
        self._is_json = options.log_format == "json"
        self._client = client
        at_terminal = sys.stderr.isatty() and not self._is_json
        # With -v there is a line for each step, and these go past the bar.
        bars = at_terminal and options.verbose == 0
        enabled = at_terminal or (options.verbose > 0 and not self._is_json)
        self._progress = Progress(sys.stderr, enabled, wants_color(options, sys.stderr), bars=bars)
        self._ended = 0

    def waiting(self, reason: str, until: float) -> None:
        """Show a wait; `until` is in Unix seconds."""
        calls, seconds = self._client.left()
        left = ""
        if seconds:
            left = f"; {count(calls, 'call')} to come, about {duration(seconds)}"
        if self._is_json:
            end = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
            LOG.warning("waiting until %s: %s%s", end, reason, left)
        else:
            self._progress.waiting(reason, until - time.time(), until=until, left=left)

    def started(self, change: Change) -> None:
        """Show the start of a change."""
        self._progress.started(change)

    def job_event(self, change: Change, text: str) -> None:
        """Show an event of a job. Jobs can take hours, so logs get it too."""
        if self._is_json:
            LOG.warning("%s: %s", change.address, text)
        else:
            self._progress.job_event(change, text)

    def finished(self, outcome: Outcome) -> None:
        """Show the end of a change."""
        self._ended += 1
        self._progress.finished(outcome)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Show the phase that reads live state, counted in calls."""
        with self._phase("Reading live state", Pending(self._client)):
            yield

    @contextmanager
    def applying(self, plan: Plan) -> Iterator[None]:
        """Show the phase that applies a plan, counted in changes."""
        pending = Pending(self._client, lambda: (self._ended, len(plan.pending)))
        with self._phase("Applying", pending):
            yield

    @contextmanager
    def _phase(self, name: str, pending: Pending) -> Iterator[None]:
        with self._progress.phase(name, pending.outlook):
            yield
        # Calls that were expected and never made must not count in the next phase.
        self._client.in_flight.expect_nothing()


class Pending:
    """The rest of a phase: its calls, or its changes if `changes` returns (done, total)."""

    def __init__(
        self,
        client: Client,
        changes: Callable[[], tuple[int, int]] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._changes = changes
        self._clock = clock
        self._began_at = clock()
        # The client counts for the whole run, and a phase only its own calls.
        self._answered_before = client.in_flight.answered
        self._waited_before = client.in_flight.idle_seconds

    def outlook(self) -> Outlook:
        """How much is done, and the estimated time left.

        Rate limits fix the time to wait; the time to work is extrapolated from the work so far,
        excluding waits.
        """
        left = self._client.left()
        answered = self._client.in_flight.answered - self._answered_before
        done, total, unit = answered, answered + left.calls, "calls"
        if self._changes is not None:
            done, total = self._changes()
            unit = "changes"
        waited = self._client.in_flight.idle_seconds - self._waited_before
        worked = self._clock() - self._began_at - waited
        work = 0.0
        if done >= _TOO_FEW:
            work = worked / done * (total - done)
        # The larger one: calls wait for the rate limit while others work.
        return Outlook(done, total, unit, max(work, left.seconds) or None)
