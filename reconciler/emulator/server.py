"""The emulator as a server: in a background thread for tests, or in the foreground for people.

It listens on the loopback interface only, prints nothing, and starts and stops within milliseconds.
"""

from __future__ import annotations

import functools
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from reconciler.emulator.options import EmulatorOptions

if TYPE_CHECKING:
    from reconciler.emulator._uvicorn import QuietServer
    from reconciler.emulator.app import App
    from reconciler.emulator.faults import Fault
    from reconciler.emulator.recorder import RequestRecord
    from reconciler.emulator.state import State
    from reconciler.emulator.store import Store, StoreCopy

_HOST = "127.0.0.1"


def create_app(
    options: EmulatorOptions | None = None, *, clock: Callable[[], float] = time.time
) -> App:
    """Return the emulator as an ASGI application with its own state."""
    from reconciler.emulator.app import App
    from reconciler.emulator.state import State

    return App(State(options or EmulatorOptions(), clock=clock))


class Emulator:
    """An emulator in a background thread, running inside a `with` block.

    `clock` replaces the system clock, so that tests can let an hour pass.
    """

    admin_key = "sk-admin-emulator"
    api_key = "sk-emulator"
    project_id = "proj_EmulatorDefaultProject00"

    def __init__(
        self,
        options: EmulatorOptions | None = None,
        port: int = 0,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options = options or EmulatorOptions()
        self.organization = self._options.organization
        self._port = port
        self._clock = clock
        self._app: App | None = None
        self._server: QuietServer | None = None
        self._thread: threading.Thread | None = None
        self.base_url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and return once the server answers requests."""
        listener = _listen(self._port)
        try:
            self._app = create_app(self._options, clock=self._clock)
        except BaseException:
            listener.close()
            raise
        self._server = _make_server(self._app)
        self.base_url = _url(listener)
        run = functools.partial(self._server.run, sockets=[listener])
        self._thread = threading.Thread(target=run, name="emulator", daemon=True)
        self._thread.start()
        self._server.wait_until_started()

    def stop(self) -> None:
        """Stop the server; requests in flight may be cut off. Idempotent."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
            self._thread = None
            self.store.close()

    @property
    def state(self) -> State:
        if self._app is None:
            raise RuntimeError("the emulator has not been started")
        return self._app.state

    @property
    def store(self) -> Store:
        """All objects; hold `store.lock` for reads that must be consistent."""
        return self.state.store

    @property
    def options(self) -> EmulatorOptions:
        return self.state.options

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests so far, oldest first."""
        return self.state.recorder.all()

    @property
    def requests_in_flight(self) -> int:
        """The number of requests in flight."""
        return 0 if self._server is None else len(self._server.server_state.tasks)

    def clear_requests(self) -> None:
        self.state.recorder.clear()

    def reset(self) -> None:
        """Return to the initial state; options stay."""
        self.state.reset()

    def snapshot(self) -> StoreCopy:
        """A snapshot of all objects for `restore`, without options and faults."""
        return self.store.snapshot()

    def restore(self, snapshot: StoreCopy) -> None:
        """Return to a snapshot, for example to repeat a failure from the same start."""
        self.store.restore(snapshot)

    def seed(self, **counts: int) -> dict[str, list[str]]:
        """Create many objects at once; see `seeding.COUNTS`."""
        return self.state.seed(counts)

    def load(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Replace all objects by those of an organization, see `POST /_emulator/load`."""
        from reconciler.emulator.copies import Organization
        from reconciler.emulator.routes import ROUTER

        return self.state.load(Organization.parse(dict(data)), ROUTER)

    def after_write(self, callback: Callable[[RequestRecord], None] | None) -> None:
        """Call this with each successful write once it is stored, before its response is sent."""
        self.state.after_write = callback

    def set_options(self, **changes: Any) -> None:
        self.state.change_options(changes)

    def add_fault(self, spec: str | Fault) -> None:
        self.state.add_fault(spec)

    def clear_faults(self) -> None:
        self.state.faults.replace(())


def serve(options: EmulatorOptions, *, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; call from the main thread.

    `on_ready` receives the base URL once the server answers. Raises OSError if the port is in use.
    """
    listener = _listen(port)
    try:
        app = create_app(options)
    except BaseException:
        listener.close()
        raise
    server = _make_server(app, on_started=lambda: on_ready(_url(listener)))
    with _stopping_on_signals(server):
        server.run(sockets=[listener])
    app.state.store.close()


def _listen(port: int) -> socket.socket:
    # asyncio disables Nagle's algorithm only if the protocol is named; with it, responses take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(512)
    except BaseException:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    return f"http://{_HOST}:{listener.getsockname()[1]}/v1"


def _make_server(app: App, *, on_started: Callable[[], None] = lambda: None) -> QuietServer:
    from reconciler.emulator._uvicorn import make_server

    return make_server(app, on_started=on_started)


@contextmanager
def _stopping_on_signals(server: QuietServer) -> Iterator[None]:
    def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        server.stop()

    before: Mapping[int, Any] = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


__all__ = ["Emulator", "create_app", "serve"]
