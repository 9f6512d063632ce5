"""Responses, and the ways in which faults damage them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Literal

from starlette.types import Receive, Scope, Send

from reconciler.emulator import ids
from reconciler.emulator.errors import ErrorAnswer, out_of_quota, rate_limited, server_error
from reconciler.emulator.faults import Fault

TRANSPORT = "reconciler.emulator.transport"
"""Where the server puts the connection's transport into the scope, so that a mishap can close it."""


@dataclass(frozen=True)
class Answer:
    """A complete response."""

    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, value: Any, status: int = 200) -> Answer:
        return cls(status, json.dumps(value).encode(), {"content-type": "application/json"})

    @classmethod
    def of_error(cls, error: ErrorAnswer, *, detail: bool = False) -> Answer:
        answer = cls.of_json(error.envelope(detail=detail), error.status)
        return answer.with_headers(error.headers)

    def with_headers(self, headers: dict[str, str]) -> Answer:
        return Answer(self.status, self.content, {**self.headers, **headers})


@dataclass(frozen=True)
class Mishap:
    """A connection that breaks, at once or in the middle of a response."""

    how: Literal["reset", "truncate"]
    answer: Answer | None = None


def strike(fault: Fault, answer: Answer | None) -> Answer | Mishap:
    """Return what the client gets instead of the response; None if no handler ran."""
    action, number = fault.action, fault.argument
    if action == "error":
        return Answer.of_error(server_error(number)).with_headers(
            {"x-request-id": ids.fresh("request")}
        )
    if action == "html":
        return _proxy_page(number)
    if action == "not-json":
        return Answer(200, b"upstream is warming up\n", {"content-type": "text/plain"})
    if action == "empty":
        return Answer.of_json({})
    if action == "error-body":
        return replace(Answer.of_error(server_error(500)), status=200)
    if action == "no-id" and answer is not None:
        return _without_ids(answer)
    if action == "retry-after":
        error = rate_limited("Rate limit reached for this endpoint.", {"Retry-After": str(number)})
        return Answer.of_error(error)
    if action == "quota":
        return Answer.of_error(out_of_quota())
    if action == "repeat-cursor" and answer is not None:
        return _endless(answer)
    if action == "truncate":
        return Mishap("truncate", answer)
    return Mishap("reset")


def _proxy_page(status: int) -> Answer:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Error"
    page = f"<html>\n<head><title>{status} {phrase}</title></head>\n<body><h1>{status} {phrase}</h1></body>\n</html>\n"
    return Answer(status, page.encode(), {"content-type": "text/html"})


def _without_ids(answer: Answer) -> Answer:
    """Return the response with null for all ids, including nested ones."""
    shown = json.loads(answer.content)
    if not isinstance(shown, dict):
        return answer
    inner = {
        name: {**value, "id": None}
        for name, value in shown.items()
        if isinstance(value, dict) and "id" in value
    }
    outer = {name: None for name in ("id", "version") if name in shown}
    return replace(answer, content=json.dumps({**shown, **inner, **outer}).encode())


def _endless(answer: Answer) -> Answer:
    """Return a list response that claims to have more pages for ever."""
    page = json.loads(answer.content)
    if not isinstance(page, dict) or "data" not in page:
        return answer
    return Answer(answer.status, json.dumps({**page, "has_more": True}).encode(), answer.headers)


async def send_answer(send: Send, answer: Answer) -> None:
    await _send_head(send, answer)
    await send({"type": "http.response.body", "body": answer.content})


async def send_mishap(scope: Scope, receive: Receive, send: Send, mishap: Mishap) -> None:
    """Break the connection; works only with our own server, which passes the transport."""
    transport = scope.get(TRANSPORT)
    if not isinstance(transport, asyncio.Transport):
        raise ConnectionResetError("a fault closed the connection")
    if mishap.how == "truncate" and mishap.answer is not None:
        await _send_half(send, mishap.answer)
        # Data already written is still sent before the connection closes.
        transport.close()
    else:
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_half(send: Send, answer: Answer) -> None:
    await _send_head(send, answer)
    half = answer.content[: len(answer.content) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})


async def _send_head(send: Send, answer: Answer) -> None:
    headers = {**answer.headers, "content-length": str(len(answer.content))}
    encoded = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
