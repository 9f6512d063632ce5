"""Notices of a process that never ends: the changes of half a minute are one message."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from reconciler.errors import ReconcilerError
from reconciler.model.fleet import StackId, StackResult
from reconciler.model.traffic import SentRequest
from reconciler.telemetry.notices import Announcer
from reconciler.telemetry.recorder import Recorder

LOG = logging.getLogger("reconciler.telemetry")
ROUND_SECONDS = 30.0
CLOSE_SECONDS = 10.0
"""How long the end of a process waits: Kubernetes kills a pod soon after it asked it to stop."""


class AnnouncingRecorder:
    """A `Recorder` that also announces recorded results, from a thread of its own."""

    def __init__(
        self,
        recorder: Recorder,
        announcer: Announcer,
        *,
        redact: Callable[[str], str],
        round_seconds: float = ROUND_SECONDS,
    ) -> None:
        self._recorder = recorder
        self._announcer = announcer
        self._redact = redact
        self._stop = threading.Event()
        self._round_seconds = round_seconds
        self._thread = threading.Thread(target=self._work, name="notices", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Announce the remaining changes, for a few seconds at most; the next process sends others."""
        self._stop.set()
        self._thread.join(CLOSE_SECONDS)

    def record(self, result: StackResult, *, interval_seconds: float | None = None) -> None:
        """Record a result; its changes are announced with the next round."""
        self._recorder.record(result, interval_seconds=interval_seconds)
        self._announcer.add(result)

    def forget(self, id: StackId) -> None:
        """Forget the figures of a stack."""
        # Its announced states stay remembered, should it come back.
        self._recorder.forget(id)

    def limits(self, organization: str, per_minute: Mapping[str, int]) -> None:
        """Record limits."""
        self._recorder.limits(organization, per_minute)

    def notified(self, *, delivered: bool) -> None:
        """Record a notice."""
        self._recorder.notified(delivered=delivered)

    def sent(self, request: SentRequest) -> None:
        """Record a request."""
        self._recorder.sent(request)

    def _work(self) -> None:
        # The last round comes after the stop, for what was recorded since the one before.
        is_last = False
        while not is_last:
            is_last = self._stop.wait(self._round_seconds)
            try:
                missed = self._announcer.announce()
            # The next round tries again: an event is remembered only after it was sent.
            except ReconcilerError as error:
                LOG.warning("Notices are not sent: %s", self._redact(str(error)))
                continue
            if missed:
                LOG.warning("%d targets were not reached with notices.", missed)
