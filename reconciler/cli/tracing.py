"""The trace of one command, if OTEL_* variables ask for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from reconciler.cli.options import GlobalOptions
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import talk
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.telemetry.traces import Traces

_ASKING = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
)
_GOOD_CODES = (0, 2)
"""2 reports changes or drift, which is no failure."""


def wants_traces(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    # The variables are those of the OpenTelemetry specification, in which these two win.
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip() == "none":
        return False
    return any(environ.get(variable, "").strip() for variable in _ASKING)


def new_traces() -> Traces | None:
    """The exporter of traces; None if no variable asks for them. Warns if it cannot be made."""
    if not wants_traces(os.environ):
        return None
    try:
        from reconciler.telemetry.traces import Traces

        return Traces(os.environ, redactor)
    except ImportError:
        from reconciler.cli.failures import EXTRAS

        extra = EXTRAS["opentelemetry"]
        talk(
            "Warning: OTEL_* variables ask for traces, which need a library: "
            f"pip install 'reconciler-iac[{extra}]'. OTEL_SDK_DISABLED=true turns them off."
        )
    except UsageError as error:
        talk(f"Warning: nothing is traced: {error}. {error.hint}".rstrip())
    return None


def begin_trace(options: GlobalOptions) -> None:
    """Begin the span of a command, which ends with the command."""
    traces = new_traces()
    if traces is None:
        return
    span = traces.run(f"reconciler {options.command}", {"reconciler.command": options.command})
    # Not a `with` block: the command ends in another function, after its report is written.
    span.__enter__()

    def end(code: int) -> None:
        # The span begins before the stack file is read, so this is known only now.
        plan = options.outcome.plan
        if plan is not None:
            span.set("reconciler.stack", plan.stack)
            span.set("reconciler.environment", plan.environment)
        span.set("process.exit.code", code)
        if code not in _GOOD_CODES:
            span.fail(f"exit code {code}")
        span.__exit__(None, None, None)
        if not traces.close():
            talk("Warning: the trace of this run did not reach its collector.")

    options.outcome.ended.append(end)
