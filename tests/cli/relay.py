"""A relay in front of an emulator that alters objects in answers to reads, like a broken proxy or server."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import Workspace

Rewrite = Callable[[str, dict[str, Any]], None]
"""Changes one answered object in place; the path of the request comes without its query."""


@contextmanager
def relayed(workspace: Workspace, rewrite: Rewrite) -> Iterator[None]:
    """Put a relay between the workspace and its emulator for the block."""
    target = urlsplit(workspace.emulator.base_url)

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            connection = http.client.HTTPConnection(str(target.hostname), target.port)
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() != "accept-encoding"
            }
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if self.command == "GET" and answer.status == http.HTTPStatus.OK:
                found = json.loads(content)
                listed = found.get("data")
                for item in listed if isinstance(listed, list) else [found]:
                    rewrite(urlsplit(self.path).path, item)
                content = json.dumps(found).encode()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers.get("content-type", "application/json"))
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_GET = do_POST = do_DELETE = forward  # noqa: N815 - the names that the library asks for

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        workspace.variables["OPENAI_BASE_URL"] = (
            f"http://127.0.0.1:{server.server_port}{target.path}"
        )
        try:
            yield
        finally:
            del workspace.variables["OPENAI_BASE_URL"]
            server.shutdown()
            thread.join()
