"""A fast and silent uvicorn.

It logs nothing, leaves signals alone, stops without pauses, and passes each request the transport
of its connection, which faults need to break it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.emulator.answers import TRANSPORT

_GRACE_SECONDS = 0.2
_TICK_SECONDS = 1.0


class _Protocol(H11Protocol):
    """HTTP/1.1, with the transport in the scope of each request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await inner({**scope, TRANSPORT: transport}, receive, send)

        self.app = app


class QuietServer(uvicorn.Server):
    """A server that another thread, or a signal handler, can stop at once."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    def run(self, sockets: list[Any] | None = None) -> None:
        try:
            super().run(sockets)
        finally:
            # Wake threads that wait for the start, even if it fails.
            self._up.set()

    def wait_until_started(self) -> None:
        self._up.wait()

    def stop(self) -> None:
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the program that runs the emulator.
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._up.set()
        self._on_started()

    async def main_loop(self) -> None:
        # Wakes when the server should stop.
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self._wake.wait(), _TICK_SECONDS)
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        # Close connections that were accepted but not set up; uvicorn would leave them open.
        while accepting := asyncio.all_tasks() - {asyncio.current_task()} - self.server_state.tasks:
            await asyncio.wait(accepting, timeout=_GRACE_SECONDS)
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=_GRACE_SECONDS)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)
        for listener in sockets or []:
            listener.close()


def make_server(app: ASGIApp, *, on_started: Callable[[], None]) -> QuietServer:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        # Above CRITICAL: broken connections are usually requested faults, so they are not logged.
        log_level=100,
        access_log=False,
        server_header=False,
        # The emulator sets the `Date` header itself, from its own clock.
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
    )
    return QuietServer(config, on_started)
