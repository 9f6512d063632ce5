"""Metrics and notices of a fleet, published once its command has ended.

Neither changes the exit code. A notice that cannot be sent is a warning, and is sent by the next run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from reconciler.cli.metrics import publish_metrics, recorder_for
from reconciler.cli.options import GlobalOptions
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import talk
from reconciler.errors import StateError, UsageError
from reconciler.manifests import Settings
from reconciler.model.ci import run_origin
from reconciler.model.fleet import StackResult
from reconciler.telemetry.recorder import NoRecorder, Recorder

if TYPE_CHECKING:
    from reconciler.state.fleet_history import HistoryStorage
    from reconciler.telemetry.metrics import PrometheusRecorder
    from reconciler.telemetry.notices import Announcer

NOTICE_URLS = "RECONCILER_NOTICE_URLS"
"""The variable with the targets of notices. They contain tokens, so they are no option."""


class FleetTelemetry:
    """Collects the results of a fleet. Raises UsageError for options that cannot be used."""

    def __init__(self, options: GlobalOptions, settings: Settings, grouping: str) -> None:
        self._options = options
        self._grouping = {"fleet": grouping}
        self._metrics: PrometheusRecorder | None = recorder_for(options)
        self._history: HistoryStorage | None = None
        self._announcer: Announcer | None = None
        if options.notify:
            self._announcer, self._history = new_announcer(settings, self.recorder)
        # After the command, because the status of stacks that wait for others is known only then.
        if self._metrics is not None or self._announcer is not None:
            options.outcome.ended.append(lambda _: self._publish())

    @property
    def recorder(self) -> Recorder:
        """The recorder that counts requests."""
        return self._metrics or NoRecorder()

    def add(self, result: StackResult) -> None:
        """Add the result of a stack."""
        if self._metrics is not None:
            self._metrics.record(result)
        if self._announcer is not None:
            self._announcer.add(result)

    def _publish(self) -> None:
        if self._announcer is not None and self._history is not None:
            with closing(self._history):
                self._announce(self._announcer)
        if self._metrics is not None:
            publish_metrics(self._metrics, self._options.metrics, self._grouping)

    def _announce(self, announcer: Announcer) -> None:
        try:
            missed = announcer.announce()
        except StateError as error:
            talk(f"Warning: notices may be missing or come twice: {error}. {error.hint}".rstrip())
            return
        if missed:
            targets = f"{missed} targets were"
            if missed == 1:
                targets = "1 target was"
            talk(
                f"Warning: {targets} not reached with notices, and will hear of it in the next run."
            )


def new_announcer(settings: Settings, recorder: Recorder) -> tuple[Announcer, HistoryStorage]:
    """An announcer, and the history that it remembers notices in, which the caller closes.

    Raises UsageError without a target, StateError for an address that cannot be used.
    """
    from reconciler.fleet.history import open_history
    from reconciler.fleet.notice_memory import StoredNoticeMemory
    from reconciler.telemetry.notices import Announcer
    from reconciler.telemetry.targets import targets_of, urls_in

    urls = urls_in(os.environ.get(NOTICE_URLS, ""))
    if not urls:
        raise UsageError(
            f"--notify needs the targets of notices in {NOTICE_URLS}, which is not set",
            hint="Set it to URLs of apprise, separated by spaces, from a secret of your CI.",
        )
    # The redactor learns the tokens in the URLs here.
    targets = targets_of(urls, redactor)
    history = open_history(settings)
    announcer = Announcer(
        targets,
        StoredNoticeMemory(history),
        redact=redactor,
        link=_link(os.environ),
        on_sent=lambda delivered: recorder.notified(delivered=delivered),
    )
    return announcer, history


def _link(environ: Mapping[str, str]) -> str:
    """The page of the CI job; empty outside of CI."""
    return run_origin(environ, user="", host="").url
