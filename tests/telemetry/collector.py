"""A collector of OpenTelemetry traces, and any other HTTP server that keeps what it is sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan

ERROR = 2
"""The code of a failed span."""


@dataclass
class Received:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """A server on a free port that answers every request alike."""

    url: str
    status: int = 200
    requests: list[Received] = field(default_factory=list)
    answering: threading.Event = field(default_factory=threading.Event)
    """While it is not set, the server is silent."""

    @property
    def bytes(self) -> bytes:
        """Everything that was received."""
        return b"\n".join(request.body + repr(request).encode() for request in self.requests)


@dataclass(frozen=True)
class Span:
    """A span as it arrived."""

    name: str
    id: bytes
    parent: bytes
    trace: bytes
    attributes: dict[str, object]
    is_failed: bool
    seconds: float


def spans_of(server: Server) -> list[Span]:
    """All spans that a collector received."""
    spans = []
    for request in server.requests:
        export = ExportTraceServiceRequest.FromString(request.body)
        for resource in export.resource_spans:
            for scope in resource.scope_spans:
                spans += [_span(span) for span in scope.spans]
    return spans


def resource_of(server: Server) -> dict[str, object]:
    """The attributes of the service."""
    export = ExportTraceServiceRequest.FromString(server.requests[0].body)
    return _values(export.resource_spans[0].resource.attributes)


def _span(span: SentSpan) -> Span:
    return Span(
        span.name,
        span.span_id,
        span.parent_span_id,
        span.trace_id,
        _values(span.attributes),
        span.status.code == ERROR,
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _values(attributes: Iterator[KeyValue]) -> dict[str, object]:
    values = {}
    for pair in attributes:
        kind = pair.value.WhichOneof("value")
        values[pair.key] = getattr(pair.value, kind)
    return values


@contextmanager
def serving(status: int = 200) -> Iterator[Server]:
    """A server that keeps what it receives."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.requests.append(Received(self.command, self.path, headers, body))
            server.answering.wait()
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_PUT = _answer  # noqa: N815 - the names of the base class

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that did not wait is no error."""

    http = Quiet(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}", status)
    server.answering.set()
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.answering.set()
        http.shutdown()
        http.server_close()
        thread.join()
