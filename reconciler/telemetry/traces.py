"""OpenTelemetry traces of runs, as the OTEL_* variables of the environment ask for them.

The library is imported only by a run that is traced. Spans are exported in the background; a
collector that is down costs a run a few seconds at its end, and nothing else.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from reconciler import __version__
from reconciler.errors import UsageError
from reconciler.model.secret import Redactor, Secret
from reconciler.model.tracing import CURRENT, Attribute, EndedSpan, Span

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan

FLUSH_SECONDS = 3.0
"""How long the end of a run waits until its spans are exported."""
_NANOSECONDS = 1_000_000_000

_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class Traces:
    """Exports the spans of this process. Raises UsageError for settings that cannot be used."""

    def __init__(self, environ: Mapping[str, str], redactor: Redactor) -> None:
        for secret in _secrets(environ):
            redactor.add(secret)
        # Without a handler, Python would print what the library logs, in the middle of our output.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        self._redactor = redactor
        self._exporters = [_Watched(exporter) for exporter in _exporters(environ)]
        # The environment may name the service, and outranks us only where we say nothing.
        named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        attributes = {"service.version": __version__}
        if not named:
            attributes["service.name"] = "reconciler"
        # Its own handler at exit would wait for a dead collector without a limit.
        self._provider = TracerProvider(
            resource=Resource.create(attributes), shutdown_on_exit=False
        )
        for exporter in self._exporters:
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("reconciler", __version__)
        carrier = {
            "traceparent": environ.get("TRACEPARENT", ""),
            "tracestate": environ.get("TRACESTATE", ""),
        }
        self._parent = TraceContextTextMapPropagator().extract(carrier, context=Context())

    def run(self, name: str, attributes: Mapping[str, Attribute]) -> Span:
        """Begin the span of a run. Its parent is the one that TRACEPARENT names, if it does."""
        return _Span(self._tracer, self._redactor, name, attributes, self._parent)

    def close(self) -> bool:
        """Export what is left, for a few seconds at most; whether everything was exported."""
        # On a thread that does not keep the process alive: the library has no time limit of its own.
        flush = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)
        return not flush.is_alive() and not any(exporter.failed for exporter in self._exporters)


class _Span:
    """A `Span` that is exported."""

    def __init__(
        self,
        tracer: trace.Tracer,
        redact: Callable[[str], str],
        name: str,
        attributes: Mapping[str, Attribute],
        parent: Context,
    ) -> None:
        self._tracer = tracer
        self._redact = redact
        self._span = tracer.start_span(name, context=parent, attributes=self._clean(attributes))
        self._context = trace.set_span_in_context(self._span, parent)
        self._token: Token[Span | None] | None = None

    def __enter__(self) -> Self:
        self._token = CURRENT.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            CURRENT.reset(self._token)
        # The type of an exception says enough; its message may quote what is secret.
        if isinstance(error[0], type):
            self.fail(error[0].__name__)
        self._span.end()

    def child(self, name: str, attributes: Mapping[str, Attribute]) -> Span:
        """A part of this part, which begins now."""
        return _Span(self._tracer, self._redact, name, attributes, self._context)

    def record(self, ended: EndedSpan) -> None:
        """Add a request that has ended."""
        span = self._tracer.start_span(
            ended.name,
            context=self._context,
            kind=SpanKind.CLIENT,
            attributes=self._clean(ended.attributes),
            start_time=int(ended.began_at * _NANOSECONDS),
        )
        if ended.failure:
            _fail(span, ended.failure)
        span.end(int((ended.began_at + ended.seconds) * _NANOSECONDS))

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute."""
        self._span.set_attributes(self._clean({name: value}))

    def fail(self, reason: str) -> None:
        """Mark the part as failed."""
        _fail(self._span, reason)

    def _clean(self, attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
        """The attributes without secrets: names of stacks come from manifests."""
        clean = dict(attributes)
        for name, value in attributes.items():
            if isinstance(value, str):
                clean[name] = self._redact(value)
        return clean


class _Watched(SpanExporter):
    """An exporter that remembers whether it failed."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self.failed |= result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _fail(span: OtelSpan, reason: str) -> None:
    span.set_attribute("error.type", reason)
    span.set_status(Status(StatusCode.ERROR, reason))


def _exporters(environ: Mapping[str, str]) -> list[SpanExporter]:
    exporters: list[SpanExporter] = []
    for name in (environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        match name.strip():
            case "otlp":
                exporters.append(_otlp(environ))
            case "console":
                # Standard output is for results.
                exporters.append(ConsoleSpanExporter(out=sys.stderr))
            case other:
                raise UsageError(
                    f'OTEL_TRACES_EXPORTER names "{other}", which is no exporter of traces',
                    hint="Use otlp, console or none.",
                )
    return exporters


def _otlp(environ: Mapping[str, str]) -> SpanExporter:
    for variable in _PROTOCOLS:
        protocol = environ.get(variable)
        if protocol and protocol != "http/protobuf":
            raise UsageError(
                f'{variable} is "{protocol}", and traces are only sent with http/protobuf',
                hint="Set it to http/protobuf, and the endpoint to the HTTP port of the collector, "
                "often 4318.",
            )
        # The variable of traces outranks the one of all signals.
        if protocol:
            break
    try:
        return OTLPSpanExporter()
    except Exception as error:
        # The library reads its variables itself, and raises whatever their parsers do.
        raise UsageError(
            f"the OTEL_EXPORTER_OTLP_* variables cannot be used: {type(error).__name__}"
        ) from error


def _secrets(environ: Mapping[str, str]) -> list[Secret]:
    """The credentials that the variables hold."""
    secrets: list[Secret] = []
    for variable in _HEADERS:
        for pair in environ.get(variable, "").split(","):
            # A value may be "Bearer TOKEN": the redactor learns the token by itself as well.
            value = unquote(pair.partition("=")[2].strip())
            secrets += [Secret(value), Secret(value.rpartition(" ")[2])]
    for variable in _ENDPOINTS:
        # The library reports an address that is none.
        try:
            password = urlsplit(environ.get(variable, "")).password or ""
        except ValueError:
            password = ""
        secrets += [Secret(password), Secret(unquote(password))]
    return secrets
