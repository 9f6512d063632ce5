"""A TCP proxy in front of a server: a test cuts, refuses, delays or silences what goes through it.

    with Proxy(("127.0.0.1", server.port)) as proxy:
        client = connect_to(*proxy.address)

        proxy.cut()                      # reset all open connections; new ones work
        proxy.refuse()                   # also close the port, until `restore`
        proxy.silence()                  # keep connections and drop every byte, until `restore`
        proxy.delay(0.03)                # hold each chunk this long each way, until `restore`
        proxy.restore()

        lost = proxy.lose_answer(b"PUT /bucket/log/7")
        client.put(7)                    # the server does it; the client sees a reset connection
        assert lost.is_set()

        lost = proxy.lose_request(b"PUT") # the server never sees it; the client sees a reset

A lost answer is deterministic: the request that contains the marker is forwarded, and the
connection is reset once the server begins to answer, so the server has done what was asked. Each
call of `lose_answer` and `lose_request` concerns one request; several calls queue up. The bytes
on the wire must be plain, not TLS.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from types import TracebackType

Address = tuple[str, int]
CHUNK_BYTES = 1 << 18
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class _Trap:
    """Waits for one request that contains the marker."""

    marker: bytes
    forwards: bool
    sprung: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class _Connection:
    """A client and the server, as two sockets."""

    client: socket.socket
    server: socket.socket
    recent: bytes = b""
    """The end of what the client sent before, in case a marker spans two chunks."""
    awaiting: _Trap | None = None
    """The trap whose request was forwarded: the answer resets the connection."""
    has_lost_bytes: bool = False
    ended_directions: int = 0

    def reset(self) -> None:
        """Close both sides at once, so that both peers see a reset instead of an orderly end."""
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
            side.close()


class Proxy:
    """Forwards connections to `target`. Methods may be called from any thread."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()
        self._traps: list[_Trap] = []
        self._is_silent = False
        self._delay = 0.0
        self._stopped = threading.Event()
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self.address: Address = ("127.0.0.1", 0)
        self._listen()

    @property
    def port(self) -> int:
        """The port to connect to, on 127.0.0.1. It stays the same for the proxy's life."""
        return self.address[1]

    def cut(self) -> None:
        """Reset all open connections. New ones are served."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            connection.reset()

    def refuse(self) -> None:
        """Reset all open connections and refuse new ones."""
        self._close_listener()
        self.cut()

    def silence(self) -> None:
        """Keep connections open, accept new ones, and drop every byte in both directions."""
        with self._lock:
            self._is_silent = True

    def delay(self, seconds: float) -> None:
        """Hold each chunk of bytes this long, in each direction."""
        with self._lock:
            self._delay = seconds

    def restore(self) -> None:
        """End what `refuse`, `silence` and `delay` began, and forget markers that nothing matched.

        Connections that lost bytes meanwhile are reset, because they could not go on.
        """
        with self._lock:
            self._is_silent = False
            self._delay = 0.0
            self._traps.clear()
            damaged = [connection for connection in self._open if connection.has_lost_bytes]
        for connection in damaged:
            connection.reset()
        self._listen()

    def lose_answer(self, marker: bytes = b"") -> threading.Event:
        """Forward the next request that contains `marker`, and reset instead of answering.

        The event is set when the client sees the reset. An empty marker matches any request.
        """
        return self._set_trap(_Trap(marker, forwards=True))

    def lose_request(self, marker: bytes = b"") -> threading.Event:
        """Reset the connection instead of forwarding the next request that contains `marker`."""
        return self._set_trap(_Trap(marker, forwards=False))

    def close(self) -> None:
        """Stop for good; safe to call twice."""
        self._stopped.set()
        self.refuse()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _set_trap(self, trap: _Trap) -> threading.Event:
        with self._lock:
            self._traps.append(trap)
        return trap.sprung

    def _listen(self) -> None:
        if self._listener is not None:
            return
        listener = socket.create_server(self.address)
        self.address = ("127.0.0.1", listener.getsockname()[1])
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        self._acceptor.start()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None or self._acceptor is None:
            return
        listener.shutdown(socket.SHUT_RDWR)  # `close` alone would leave `accept` waiting
        self._acceptor.join()
        listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(client, server)
            with self._lock:
                self._open.add(connection)
            for pump in (self._pump_requests, self._pump_answers):
                threading.Thread(target=pump, args=(connection,), daemon=True).start()

    def _pump_requests(self, connection: _Connection) -> None:
        while chunk := self._receive(connection.client):
            trap = self._matching_trap(connection, chunk)
            if trap is not None and not trap.forwards:
                trap.sprung.set()  # first, so that whoever sees the reset also sees the event
                connection.reset()
                break
            if not self._forward(connection, chunk, connection.server):
                break
        self._end(connection, connection.server)

    def _pump_answers(self, connection: _Connection) -> None:
        while chunk := self._receive(connection.server):
            with self._lock:
                trap = connection.awaiting
            if trap is not None:
                trap.sprung.set()  # first, so that whoever sees the reset also sees the event
                connection.reset()
                break
            if not self._forward(connection, chunk, connection.client):
                break
        self._end(connection, connection.client)

    @staticmethod
    def _receive(source: socket.socket) -> bytes:
        try:
            return source.recv(CHUNK_BYTES)
        except OSError:
            return b""

    def _matching_trap(self, connection: _Connection, chunk: bytes) -> _Trap | None:
        with self._lock:
            text = connection.recent + chunk
            for trap in self._traps:
                if trap.marker in text and connection.awaiting is None:
                    self._traps.remove(trap)
                    if trap.forwards:
                        # Set before the chunk is forwarded: the answer cannot overtake it.
                        connection.awaiting = trap
                    connection.recent = b""
                    return trap
            longest = max((len(trap.marker) for trap in self._traps), default=1)
            connection.recent = text[max(0, len(text) - longest + 1) :]
            return None

    def _forward(self, connection: _Connection, chunk: bytes, target: socket.socket) -> bool:
        with self._lock:
            is_silent, delay = self._is_silent, self._delay
            if is_silent:
                connection.has_lost_bytes = True
        if is_silent:
            return True
        if delay:
            self._stopped.wait(delay)
        try:
            target.sendall(chunk)
        except OSError:
            return False
        return True

    def _end(self, connection: _Connection, target: socket.socket) -> None:
        """Pass the end of one direction on, and close both sides once both have ended."""
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        with self._lock:
            connection.ended_directions += 1
            has_ended = connection.ended_directions == 2
            if has_ended:
                self._open.discard(connection)
        if has_ended:
            connection.client.close()
            connection.server.close()
