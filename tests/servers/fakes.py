"""What the fakes of cloud services share: an HTTP server in a thread, and strict refusals.

A fake keeps its state in the process of the test, so that a test asks it what it holds. It refuses
what the real service refuses, above all fields, headers and parameters that it does not know.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass
class Call:
    """A request as a fake got it, its body as JSON where it is."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    match: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that was sent."""
        if not self.raw:
            return {}
        content = json.loads(self.raw)
        assert isinstance(content, dict)
        return content


@dataclass
class Refusal(Exception):
    """An answer that is an error, in the service's own form."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


Route = tuple[str, re.Pattern[str], Callable[[Call], Any]]
Fault = Callable[[Call], None]


class FakeService:
    """A service at `url`. Subclasses give `routes`; a route returns JSON or raises Refusal."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        """Each is asked before a request is carried out, and raises Refusal to refuse it."""
        self.lock = threading.RLock()
        self._routes = [
            (method, re.compile(pattern), action) for method, pattern, action in self.routes()
        ]
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                service.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def routes(self) -> Iterator[tuple[str, str, Callable[[Call], Any]]]:
        """Method, pattern of the path with named groups, and what to do."""
        raise NotImplementedError

    def unknown(self, call: Call) -> Refusal:
        """What the service answers to a path that it does not have."""
        return Refusal(404, {"error": {"message": f"no {call.method} {call.path}"}})

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        call = Call(
            handler.command,
            unquote(parts.path),
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in handler.headers.items()},
            handler.rfile.read(length),
        )
        try:
            with self.lock:
                self.calls.append(call)
                status, body, headers = 200, self._answer(call), {}
        except Refusal as refusal:
            status, body, headers = refusal.status, refusal.body, dict(refusal.headers)
        content = json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(self, call: Call) -> Any:
        for fault in list(self.faults):
            fault(call)
        for method, pattern, action in self._routes:
            match = pattern.fullmatch(call.path)
            if match and method == call.method:
                call.match = match.groupdict()
                return action(call)
        raise self.unknown(call)
