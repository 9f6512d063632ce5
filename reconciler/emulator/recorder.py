"""A record of every request below /v1, for tests and benchmarks that count calls or look at bodies."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request and its response. `status` is 0 if the connection closed without a response."""

    method: str
    path: str
    """Below /v1, without the query."""
    query: dict[str, str]
    """A repeated parameter is joined by commas."""
    status: int
    key_class: str
    """admin, project, unknown or none."""
    request_content: bytes
    response_content: bytes
    route: str = ""
    """The path of the route, with `{name}` for each parameter; empty for an unknown path."""
    at: float = 0.0
    """When it came in, in unix seconds."""
    error: str | None = None
    """The traceback of an unexpected failure of the emulator itself."""

    @property
    def request_body(self) -> Any:
        """The JSON body of the request, or None."""
        return _parsed(self.request_content)

    @property
    def response_body(self) -> Any:
        """The JSON body of the response, or None."""
        return _parsed(self.response_content)

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "status": self.status,
            "key_class": self.key_class,
            "request_body": self.request_body,
            "response_body": self.response_body,
            "error": self.error,
        }


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None


class RequestRecorder:
    """Keeps the latest requests only, so that a long-running server does not fill its memory."""

    def __init__(self, *, limit: int = 100_000) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._records: list[RequestRecord] = []

    def add(self, record: RequestRecord) -> None:
        with self._lock:
            self._records.append(record)
            if len(self._records) > self._limit:
                del self._records[: self._limit // 2]

    def all(self) -> list[RequestRecord]:
        with self._lock:
            return list(self._records)

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
