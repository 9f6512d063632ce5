"""An HTTP proxy in front of an object store that misbehaves on request.

It forwards what it gets unchanged, the Host header included, so that signatures stay valid.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SILENT_SECONDS = 20
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass
class Request:
    """A request as the proxy got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """What it does with objects: list, read, write or delete."""
        query = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        if self.method == "DELETE" or "delete" in query or query.get("comp") == ["batch"]:
            return "delete"
        if self.method == "PUT":
            return "write"
        if "list-type" in query or query.get("comp") == ["list"]:
            return "list"
        return "read"


@dataclass
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Forward = Callable[[Request], Answer]
Fault = Callable[[Request, Forward], Answer | None]
"""Handles a request, with the means to forward it. None closes the connection without an answer."""


def answering(status: int, code: str) -> Fault:
    """Refuse without forwarding, with an error document such as S3's and Azure's."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return lambda request, forward: Answer(status, body)


def lose_answer(request: Request, forward: Forward) -> None:
    """Carry the request out, and close the connection instead of answering."""
    forward(request)


def cut(request: Request, forward: Forward) -> None:
    """Close the connection without carrying the request out."""


def duplicate(request: Request, forward: Forward) -> Answer:
    """Deliver the request twice, and answer as the second delivery was."""
    forward(request)
    return forward(request)


def delayed(seconds: float) -> Fault:
    """Answer later, as a server far away does."""

    def fault(request: Request, forward: Forward) -> Answer:
        time.sleep(seconds)
        return forward(request)

    return fault


def hiding(pattern: str) -> Fault:
    """Leave keys that match a pattern out of a listing, as stores do whose listings lag behind."""
    entry = re.compile(
        rb"<(?P<entry>Contents|Blob)>(?:(?!</(?P=entry)>).)*?<(?P<name>Key|Name)>(?P<key>[^<]*)"
        rb"</(?P=name)>.*?</(?P=entry)>",
        re.DOTALL,
    )

    def fault(request: Request, forward: Forward) -> Answer:
        answer = forward(request)

        def kept(match: re.Match[bytes]) -> bytes:
            return b"" if re.search(pattern, match["key"].decode()) else match[0]

        return Answer(answer.status, entry.sub(kept, answer.body), answer.headers)

    return fault


class HttpProxy:
    """Forwards to a server; `fault` makes it misbehave for the next requests of an operation."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._lock = threading.Lock()
        self._faults: list[tuple[str, Fault, list[int]]] = []
        self._closing = threading.Event()
        self._seen: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._upstream.path}"

    def operations(self) -> list[str]:
        """The operations of all requests so far."""
        with self._lock:
            return [request.operation for request in self._seen]

    def fault(self, operation: str, fault: Fault, *, times: int = 1, after: int = 0) -> None:
        """Handle the next `times` requests of an operation by a fault, once `after` have passed."""
        with self._lock:
            self._faults.append((operation, fault, [after, times]))

    def silence(self, request: Request, forward: Forward) -> Answer | None:
        """A fault: keep the connection open without an answer, for longer than a test may wait."""
        if self._closing.wait(SILENT_SECONDS):
            return None
        return forward(request)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handle(self, request: Request) -> Answer | None:
        with self._lock:
            self._seen.append(request)
            fault = self._next_fault(request.operation)
        if fault is None:
            return self._forward(request)
        return fault(request, self._forward)

    def _next_fault(self, operation: str) -> Fault | None:
        for wanted, fault, counts in self._faults:
            if wanted != operation:
                continue
            if counts[0] > 0:
                counts[0] -= 1
            elif counts[1] > 0:
                counts[1] -= 1
                return fault
        return None

    def _forward(self, request: Request) -> Answer:
        assert self._upstream.hostname is not None
        connection = http.client.HTTPConnection(self._upstream.hostname, self._upstream.port)
        try:
            connection.request(request.method, request.target, request.body, request.headers)
            response = connection.getresponse()
            headers = {
                name: value
                for name, value in response.getheaders()
                if name.lower() not in HOP_BY_HOP
            }
            return Answer(response.status, response.read(), headers)
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, self.rfile.read(length))
                answer = proxy.handle(request)
                if answer is None:
                    self.close_connection = True
                    return
                self._send(answer)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

            def _send(self, answer: Answer) -> None:
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing."""

        return Handler


@contextmanager
def http_proxy(upstream: str) -> Iterator[HttpProxy]:
    """A running proxy in front of a server, given by its endpoint."""
    proxy = HttpProxy(upstream)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.close()
