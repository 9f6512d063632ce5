"""Errors in the wording and envelope of the real API.

Routes raise `ErrorAnswer`, and the application turns it into a response. The constructors below are
for messages that many routes share, so that the same mistake reads the same everywhere.
"""

from __future__ import annotations

from typing import Any


class ErrorAnswer(Exception):
    """An error: a status, and the four fields of the envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers or {}

    def envelope(self, *, detail: bool = False) -> dict[str, Any]:
        """Return the JSON body; the files endpoints repeat themselves under a second key, `detail`."""
        body: dict[str, Any] = {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }
        if detail:
            body["detail"] = {"message": self.message, "code": self.code}
        return body


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> ErrorAnswer:
    return ErrorAnswer(400, message, param=param, code=code)


def not_found(message: str, *, param: str | None = None, code: str | None = None) -> ErrorAnswer:
    return ErrorAnswer(404, message, param=param, code=code)


def unauthorized(message: str, *, code: str | None = None) -> ErrorAnswer:
    return ErrorAnswer(401, message, code=code)


def forbidden(message: str) -> ErrorAnswer:
    return ErrorAnswer(403, message)


def unknown_url(method: str, path: str) -> ErrorAnswer:
    """The error for unknown paths, and for /assistants and /threads once these are retired."""
    return not_found(f"Invalid URL ({method} {path})")


def retired(status: int, method: str, path: str) -> ErrorAnswer:
    """The error for every path below a retired collection."""
    if status == 404:
        return unknown_url(method, path)
    if status >= 500:
        return server_error(status)
    return ErrorAnswer(status, f"This endpoint has been shut down ({method} {path}).")


def server_error(status: int = 500) -> ErrorAnswer:
    return ErrorAnswer(
        status,
        "The server had an error while processing your request. Sorry about that!",
        type="server_error",
    )


def rate_limited(message: str, headers: dict[str, str] | None = None) -> ErrorAnswer:
    return ErrorAnswer(429, message, type="requests", code="rate_limit_exceeded", headers=headers)


def out_of_quota() -> ErrorAnswer:
    return ErrorAnswer(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        type="insufficient_quota",
        code="insufficient_quota",
    )
