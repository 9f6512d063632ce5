"""Metrics, notices and traces of the operator, from its start to its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reconciler.cli.fleet_telemetry import new_announcer
from reconciler.cli.metrics import new_recorder
from reconciler.cli.options import GlobalOptions
from reconciler.cli.redaction import redactor
from reconciler.cli.tracing import new_traces
from reconciler.errors import UsageError
from reconciler.manifests import Settings
from reconciler.model import tracing
from reconciler.telemetry.recorder import NoRecorder, Recorder


@contextmanager
def operator_telemetry(
    options: GlobalOptions, *, port: int | None, backend: str | None
) -> Iterator[Recorder]:
    """The recorder of the operator. `port` is that of metrics; None serves none.

    Raises UsageError for a port that is taken, a missing library, or notices without a target.
    """
    with ExitStack() as block:
        recorder: Recorder = NoRecorder()
        if port is not None:
            recorder = _served(port, block)
        # Around the recorder of metrics, which counts the notices.
        if options.notify:
            recorder = _announcing(recorder, backend, block)
        traces = new_traces()
        if traces is not None:
            block.callback(traces.close)
            # Each run of a Stack is a trace: a span of the whole process would never end.
            tracing.begin_traces_with(traces.run)
            block.callback(tracing.begin_traces_with, None)
        yield recorder


def _served(port: int, block: ExitStack) -> Recorder:
    try:
        from reconciler.telemetry.exposition import Endpoint
    except ImportError as error:
        raise UsageError(
            "--metrics-port needs the package prometheus-client, which is not installed",
            hint="Install it: pip install 'reconciler-iac[metrics]'",
        ) from error
    recorder = new_recorder()
    block.callback(Endpoint(recorder.registry, port).close)
    return recorder


def _announcing(recorder: Recorder, backend: str | None, block: ExitStack) -> Recorder:
    from reconciler.telemetry.announcing import AnnouncingRecorder

    settings = Settings(Path(), backend=backend, env=os.environ)
    announcer, history = new_announcer(settings, recorder)
    block.callback(history.close)
    announcing = AnnouncingRecorder(recorder, announcer, redact=redactor)
    block.callback(announcing.close)
    return announcing
