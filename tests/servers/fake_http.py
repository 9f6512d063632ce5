"""The base of small HTTP servers that stand for real ones in tests.

A subclass has a method `answer`. Whatever it holds is changed by requests only, one at a time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class FakeRequest:
    """A request: its path in decoded parts, and names of headers in lower case."""

    method: str
    parts: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None


@dataclass(frozen=True)
class FakeAnswer:
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that is killed resets its connections, which is nothing to report."""


class FakeServer:
    """Serves on loopback while its block is open.

    With `before_answer`, a test sees each request after it has taken effect, and may replace the answer; None closes
    the connection without one.
    """

    def __init__(self) -> None:
        self.requests: list[FakeRequest] = []
        self.before_answer: Callable[[FakeRequest, FakeAnswer], FakeAnswer | None] = (
            lambda _, answer: answer
        )
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                length = int(self.headers.get("Content-Length") or 0)
                answer = server._handle(
                    self.command, self.path, dict(self.headers), self.rfile.read(length)
                )
                if answer is None:
                    self.close_connection = True
                    return
                content = b"" if answer.body is None else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self._http = _QuietServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, request: FakeRequest) -> FakeAnswer:
        raise NotImplementedError

    def _handle(
        self, method: str, target: str, headers: dict[str, str], content: bytes
    ) -> FakeAnswer | None:
        path, _, query = target.partition("?")
        parts = tuple(unquote(part) for part in urlsplit(path).path.strip("/").split("/"))
        request = FakeRequest(
            method,
            parts,
            dict(parse_qsl(query, keep_blank_values=True)),
            {name.lower(): value for name, value in headers.items()},
            content,
        )
        with self._lock:
            self.requests.append(request)
            return self.before_answer(request, self.answer(request))
