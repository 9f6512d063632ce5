"""A server with arbitrary answers to writes, for cases that the emulator never shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

EMPTY = json.dumps(
    {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
)


@dataclass
class Liar:
    """What it says to everything but reads, and the keys that it was shown. `url` is where it listens."""

    status: int = 400
    body: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    reads_too: bool = False
    url: str = ""
    shown: list[str | None] = field(default_factory=list)


@contextmanager
def listening(liar: Liar) -> Iterator[Liar]:
    """Serve on a free port of the loopback for the block."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            liar.shown.append(self.headers.get("authorization"))
            is_read = self.command == "GET" and not liar.reads_too
            content = (EMPTY if is_read else liar.body).encode()
            self.send_response(200 if is_read else liar.status)
            for name, value in {} if is_read else liar.headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that the library asks for

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        liar.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield liar
        finally:
            server.shutdown()
            thread.join()
