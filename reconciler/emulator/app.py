"""The path of every request through the emulator.

A request below /v1 passes these steps: delay, fault before, route, authenticate, throttle, handle
under the store's lock, persist, fault after, record. Requests below /_emulator control the emulator
itself. Only `Host` headers that name this machine are served, so that no web page can reach the
emulator through DNS rebinding.
"""

from __future__ import annotations

import asyncio
import re
import time
import traceback
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from reconciler.emulator import auth, ids
from reconciler.emulator.answers import Answer, Mishap, send_answer, send_mishap, strike
from reconciler.emulator.bodies import read_body, read_form, read_json
from reconciler.emulator.control import control
from reconciler.emulator.errors import (
    ErrorAnswer,
    bad_request,
    not_found,
    retired,
    server_error,
    unknown_url,
)
from reconciler.emulator.faults import Fault
from reconciler.emulator.query import Query
from reconciler.emulator.recorder import RequestRecord
from reconciler.emulator.routes import ROUTER
from reconciler.emulator.routes.assistants import BETA as ASSISTANTS_BETA
from reconciler.emulator.routing import (
    Access,
    Call,
    Form,
    Principal,
    Reply,
    Route,
    wrong_method,
)
from reconciler.emulator.state import State

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class App:
    """The emulator as an ASGI application."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the emulator serves HTTP only, not {scope['type']}")
        headers = Headers(scope=scope)
        path, method = str(scope["path"]), str(scope["method"])
        if not _is_local(headers):
            refusal = ErrorAnswer(421, "The emulator answers requests to this machine only.")
            await send_answer(send, Answer.of_error(refusal))
            return
        content = await read_body(receive)
        if content is None:
            return  # the client disconnected in the middle of its request
        if path.startswith("/_emulator/"):
            await send_answer(send, control(self.state, method, path, content))
            return
        await self._serve(scope, receive, send, headers, content)

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, content: bytes
    ) -> None:
        exchange = _Exchange(self.state, scope, headers, content)
        result = await exchange.run()
        exchange.record(result)
        date = {"date": formatdate(self.state.store.clock(), usegmt=True)}
        if isinstance(result, Mishap):
            answer = result.answer.with_headers(date) if result.answer else None
            await send_mishap(scope, receive, send, Mishap(result.how, answer))
        else:
            await send_answer(send, result.with_headers(date))


class _Exchange:
    """One request below /v1 and its progress."""

    def __init__(self, state: State, scope: Scope, headers: Headers, content: bytes) -> None:
        self.state = state
        self.came_at = state.store.clock()
        self.headers = headers
        self.content = content
        self.method = str(scope["method"])
        self.full_path = str(scope["path"])
        self.path = self.full_path.removeprefix("/v1") if self.full_path.startswith("/v1/") else ""
        self.query = Query(scope["query_string"].decode("latin-1"))
        self.key_class = auth.key_class(state.store, headers)
        self.failure: str | None = None
        self.route = ""

    async def run(self) -> Answer | Mishap:
        """Return the response, or the fault that replaces it."""
        options = self.state.options
        if options.latency_ms:
            await asyncio.sleep(options.latency_ms / 1000)
        fault = self.state.faults.take(self.method, self.path)
        if fault is None:
            return await self._answer(self.query)
        if fault.action == "hang":
            return await self._hang(fault)
        if fault.when == "before":
            return strike(fault, None)
        # An endless list answers every cursor with the first page, so the cursor repeats.
        endless = fault.action == "repeat-cursor"
        query = self.query.without("after", "before", "page") if endless else self.query
        return strike(fault, await self._answer(query))

    async def _hang(self, fault: Fault) -> Answer:
        if fault.when == "before":
            await asyncio.sleep(fault.argument / 1000)
        answer = await self._answer(self.query)
        if fault.when == "after":
            await asyncio.sleep(fault.argument / 1000)
        return answer

    def record(self, result: Answer | Mishap) -> None:
        answer = result.answer if isinstance(result, Mishap) else result
        self.state.recorder.add(self._recorded(answer))

    def _recorded(self, answer: Answer | None) -> RequestRecord:
        return RequestRecord(
            method=self.method,
            path=self.path or self.full_path,
            query=self.query.as_dict(),
            status=answer.status if answer else 0,
            key_class=self.key_class,
            request_content=self.content,
            response_content=answer.content if answer else b"",
            route=self.route,
            at=self.came_at,
            error=self.failure,
        )

    async def _answer(self, query: Query) -> Answer:
        started = time.perf_counter()
        route: Route | None = None
        headers: dict[str, str] = {}
        try:
            route, params = self._route()
            self.route = route.path
            with self.state.store.lock:
                principal = self._admit(route)
            headers = _identifying(principal, self.state.options.organization)
            sent, form = await self._body(route)
            call = Call(self.state.store, self.state.options, principal, params, query, sent, form)
            answer = self._as_loaded(call) or self._handle(route, call)
            if route.method != "GET" and self.state.after_write is not None:
                self.state.after_write(self._recorded(answer))
        except ErrorAnswer as error:
            answer = Answer.of_error(error, detail=route is not None and route.repeats_detail)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer
            # A mistake in the emulator, not the client; the recorder keeps the traceback.
            self.failure = traceback.format_exc()
            answer = Answer.of_error(server_error())
        took_ms = max(1, round((time.perf_counter() - started) * 1000))
        return answer.with_headers(_standard(took_ms) | headers)

    def _route(self) -> tuple[Route, dict[str, str]]:
        methods, params = ROUTER.find(self.path)
        no_assistants = self.state.options.retire_assistants
        if not methods or (no_assistants and next(iter(methods.values())).beta == ASSISTANTS_BETA):
            raise unknown_url(self.method, self.full_path)
        status = self.state.options.retirement_of(self.path)
        if status is not None:
            raise retired(status, self.method, self.full_path)
        if self.method not in methods:
            raise wrong_method(self.method, self.full_path, methods)
        return methods[self.method], params

    def _admit(self, route: Route) -> Principal:
        principal = auth.authenticate(
            self.state.store,
            self.headers,
            route,
            organization=self.state.options.organization,
        )
        if route.access is Access.ADMIN:
            name = f"{route.method} {route.path}"
            self.state.throttle.check(name, self.state.store.clock(), self.state.options)
        if route.beta is not None and route.beta not in _beta_values(self.headers):
            raise bad_request(
                f"You must provide the 'OpenAI-Beta' header to access this API. Please try again by setting the "
                f"header 'OpenAI-Beta: {route.beta}'.",
                code="invalid_beta",
            )
        return principal

    async def _body(self, route: Route) -> tuple[Any, Form]:
        if route.takes_form:
            return None, await read_form(self.headers, self.content)
        return read_json(self.headers, self.content), {}

    def _as_loaded(self, call: Call) -> Answer | None:
        """The refusal of a path that refused its readers when the organization was loaded."""
        refusal = self.state.differences.refusal(_project_of(call), self.path)
        return None if refusal is None else Answer.of_json(refusal.body, refusal.status)

    def _handle(self, route: Route, call: Call) -> Answer:
        with call.store.lock:
            if route.method == "GET" and call.is_too_young(route):
                raise not_found("No such object. It may have been made a moment ago.")
            try:
                # Serialize under the lock, before another request can change the records.
                result = route.handler(call)
                if isinstance(result, dict):
                    differences = self.state.differences
                    result = differences.patched(_project_of(call), self.path, result)
                return _as_answer(result, route.status)
            finally:
                call.store.commit()


def _project_of(call: Call) -> str:
    """The project of a project key; empty for an admin key."""
    project = call.principal.project
    return "" if project is None else project.id


def _is_local(headers: Headers) -> bool:
    """Whether a request is addressed to this machine and does not come from a foreign web page."""
    origin = headers.get("origin")
    names = [headers.get("host", ""), *([] if origin is None else [origin.partition("://")[2]])]
    return all(re.sub(r":\d*$", "", name).lower() in _LOOPBACK for name in names)


def _as_answer(result: dict[str, Any] | Reply, status: int) -> Answer:
    if isinstance(result, Reply):
        return Answer(200, result.content, {"content-type": result.content_type, **result.headers})
    return Answer.of_json(result, status)


def _beta_values(headers: Mapping[str, str]) -> list[str]:
    return [value.strip() for value in headers.get("openai-beta", "").split(",")]


def _standard(took_ms: int) -> dict[str, str]:
    return {
        "x-request-id": ids.fresh("request"),
        "openai-version": "2020-10-01",
        "openai-processing-ms": str(took_ms),
    }


def _identifying(principal: Principal, organization: str) -> dict[str, str]:
    headers = {"openai-organization": organization}
    if principal.project is not None:
        headers["openai-project"] = principal.project.id
    return headers
