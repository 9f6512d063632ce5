"""Answers the probes of Kubernetes: `/livez` and `/readyz`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Check = Callable[[], str]
"""Returns the problem; empty without one."""


class HealthServer:
    """Serves both probes in a thread of its own, from construction until `close`.

    Raises OSError if the port cannot be used. Answers are short sentences without names or secrets.
    """

    def __init__(self, port: int, *, live: Check, ready: Check, host: str = "") -> None:
        checks = {"/livez": live, "/healthz": live, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            # A client that sends nothing must not hold a thread forever.
            timeout = 10

            def do_GET(self) -> None:
                check = checks.get(self.path.partition("?")[0])
                if check is None:
                    self._answer(404, "not found")
                    return
                problem = check()
                if problem:
                    self._answer(503, problem)
                else:
                    self._answer(200, "ok")

            def _answer(self, status: int, text: str) -> None:
                body = f"{text}\n".encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Log nothing, since probes come every few seconds."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
