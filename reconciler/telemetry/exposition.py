"""The outputs of metrics: an HTTP endpoint, a file for node exporter, or a Pushgateway."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from prometheus_client import CollectorRegistry, push_to_gateway, start_http_server
from prometheus_client.exposition import basic_auth_handler, default_handler, generate_latest

from reconciler.errors import UsageError

PUSH_SECONDS = 5.0
"""How long a Pushgateway may take: the run is over and waits for it."""
JOB = "reconciler"


class Endpoint:
    """Serves metrics over HTTP on a thread, at any path. Raises UsageError for a port that is taken."""

    def __init__(
        self,
        registry: CollectorRegistry,
        port: int,
        address: str = "0.0.0.0",  # noqa: S104 - Prometheus scrapes a pod from outside
    ) -> None:
        try:
            self._server, self._thread = start_http_server(port, addr=address, registry=registry)
        except OSError as error:
            raise UsageError(
                f"metrics cannot be served on port {port}: {error.strerror or error}",
                hint="Name another port with --metrics-port.",
            ) from error

    @property
    def port(self) -> int:
        """The port; with port 0, the free port that was chosen."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def write_file(registry: CollectorRegistry, path: Path) -> None:
    """Write metrics for the textfile collector of node exporter, at once. Raises OSError.

    Everybody may read the file: node exporter runs as another user, and metrics hold no secret.
    """
    text = generate_latest(registry)
    # A device or a pipe cannot be replaced.
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        path.write_bytes(text)
        return
    # node exporter reads *.prom at any time, so a file appears whole or not at all.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as stream:
            stream.write(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def push(registry: CollectorRegistry, url: str, grouping: Mapping[str, str]) -> None:
    """Replace the group of this run at a Pushgateway. Raises OSError, or ValueError for a bad URL.

    The URL may hold a user and a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is no http or https address")
    # Without the password: the library quotes the address in its errors.
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    handler: Callable[..., Any] = default_handler
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")

        def with_password(
            url: str,
            method: str,
            timeout: float | None,
            headers: list[tuple[str, str]],
            data: bytes,
        ) -> Callable[[], None]:
            return basic_auth_handler(url, method, timeout, headers, data, user, password)

        handler = with_password
    # To Prometheus, a label without a value is no label.
    group = {name: value for name, value in grouping.items() if value}
    push_to_gateway(
        bare.rstrip("/"),
        job=JOB,
        registry=registry,
        grouping_key=group,
        timeout=PUSH_SECONDS,
        handler=handler,
    )
