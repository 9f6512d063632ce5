"""The boundaries of a run: the external effects between which a process can die.

Each is passed right before or right after something takes effect: a request, a statement or a commit of SQLite, a call
that changes a file, a command that is given a key. They are numbered as they are passed, and at the fatal one the
process kills itself with SIGKILL, from whichever thread got there, or meets whatever else the test has in store for it.

A shared state is a copy in memory, whose statements have no effect outside. There the operations of the storage count.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import httpx

from reconciler.state.remote.objects.storage import ObjectStorage
from reconciler.state.remote.postgres.storage import PostgresStorage

SHARED_STORAGES: tuple[type[Any], ...] = (PostgresStorage, ObjectStorage)

_IDS = re.compile(r"(?<=/)[a-z_]+[-_][0-9A-Za-z]{16,}")
_READS = ("SELECT", "PRAGMA")
_STORAGE_OPERATIONS = (
    "prepare", "snapshot", "tail", "now", "claim", "append", "renew", "put_snapshot", "trim",
)  # fmt: skip


class Boundaries:
    """Counts what is passed, and calls `at_fatal` with the name of the one that has the fatal number.

    What other threads pass meanwhile is counted behind it, without waiting for it to end.
    """

    def __init__(self, fatal: int | None, at_fatal: Callable[[str], object]) -> None:
        self.passed: list[str] = []
        self._fatal = fatal
        self._at_fatal = at_fatal
        self._lock = threading.Lock()
        self._is_cut = False

    def cross(self, name: str) -> None:
        with self._lock:
            is_fatal = len(self.passed) == self._fatal
            self.passed.append(name)
        if is_fatal:
            self._at_fatal(name)

    def cut(self, *, for_good: bool) -> None:
        """Cut connections at the fatal boundary, which is one of a request, in place of calling `at_fatal`."""

        def fail(name: str) -> None:
            if for_good:
                self._is_cut = True
            raise (
                httpx.ReadError("the connection was cut")
                if name.startswith("after")
                else httpx.ConnectError("no connection")
            )

        self._at_fatal = fail

    def require_connection(self) -> None:
        """Raise if connections were cut for good."""
        if self._is_cut:
            raise httpx.ConnectError("no connection")

    def watch(self) -> None:
        """Put this in the way of everything in this process that takes effect elsewhere."""
        _watch_requests(self)
        if "AWS_ENDPOINT_URL" in os.environ:
            _watch_requests_of_aws(self)
        _watch_statements(self)
        _watch_storages(self)
        _watch_files(self)
        _watch_commands(self)


def _watch_requests(boundaries: Boundaries) -> None:
    send = httpx.HTTPTransport.handle_request

    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        boundaries.require_connection()
        name = f"{request.method} {_IDS.sub('*', request.url.path)}"
        boundaries.cross(f"before {name}")
        response = send(self, request)
        boundaries.cross(
            f"after {name}"
        )  # it is committed over there, and its answer has not been read
        return response

    httpx.HTTPTransport.handle_request = handle_request  # type: ignore[method-assign]


def _watch_requests_of_aws(boundaries: Boundaries) -> None:
    from botocore.exceptions import ConnectionClosedError, EndpointConnectionError
    from botocore.httpsession import URLLib3Session

    send = URLLib3Session.send

    def watched(self: Any, request: Any) -> Any:
        target = request.headers.get("X-Amz-Target", request.url)
        name = target.decode() if isinstance(target, bytes) else str(target)
        try:
            boundaries.require_connection()
            boundaries.cross(f"before POST {name}")
            response = send(self, request)
            boundaries.cross(f"after POST {name}")
        except httpx.ConnectError as error:
            raise EndpointConnectionError(endpoint_url=request.url, error=error) from None
        except httpx.ReadError:
            raise ConnectionClosedError(endpoint_url=request.url) from None
        return response

    URLLib3Session.send = watched


def _watch_statements(boundaries: Boundaries) -> None:
    connect = sqlite3.connect

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            words = " ".join(sql.split()[:3])
            if words.startswith(_READS):
                return super().execute(sql, *arguments)
            boundaries.cross(f"before {words}")
            done = super().execute(sql, *arguments)
            if words == "COMMIT":
                boundaries.cross("after COMMIT")
            return done

    def watched_connect(path: Any, *arguments: Any, **more: Any) -> sqlite3.Connection:
        if path == ":memory:":
            return connect(path, *arguments, **more)
        return connect(path, *arguments, factory=Watched, **more)

    sqlite3.connect = watched_connect  # type: ignore[assignment]


def _watch_storages(boundaries: Boundaries) -> None:
    for storage in SHARED_STORAGES:
        for name in _STORAGE_OPERATIONS:
            operation = getattr(storage, name)
            setattr(storage, name, _watched_on_both_sides(boundaries, f"state {name}", operation))


def _watch_files(boundaries: Boundaries) -> None:
    for name in ("open", "fdopen", "fsync", "replace", "unlink", "mkdir", "write"):
        setattr(os, name, _watched(boundaries, f"os.{name}", getattr(os, name)))


def _watch_commands(boundaries: Boundaries) -> None:
    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            boundaries.cross("before the command")
            super().__init__(*arguments, **more)

        def communicate(self, *arguments: Any, **more: Any) -> tuple[bytes, bytes]:
            boundaries.cross("before the command is given the key")
            ended = super().communicate(*arguments, **more)
            boundaries.cross("after the command has taken the key")
            return ended

    subprocess.Popen = Watched  # type: ignore[misc]


def _watched_on_both_sides(
    boundaries: Boundaries, name: str, function: Callable[..., Any]
) -> Callable[..., Any]:
    def watched(*arguments: Any, **more: Any) -> Any:
        boundaries.cross(f"before {name}")
        result = function(*arguments, **more)
        boundaries.cross(f"after {name}")
        return result

    return watched


def _watched(boundaries: Boundaries, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def watched(*arguments: Any, **more: Any) -> Any:
        boundaries.cross(f"before {name}")
        return function(*arguments, **more)

    return watched
