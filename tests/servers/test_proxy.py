"""The proxy does to connections what tests of storages rely on."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.servers.proxy import Proxy


class Echo:
    """A server that answers each chunk with itself and keeps what it received."""

    def __init__(self) -> None:
        self.received: queue.Queue[bytes] = queue.Queue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer:
            try:
                while chunk := peer.recv(1024):
                    self.received.put(chunk)
                    peer.sendall(chunk)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.address) as running:
        yield running


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(proxy.address, timeout=10) as connection:
        yield connection


def exchange(client: socket.socket, request: bytes) -> bytes:
    client.sendall(request)
    return client.recv(1024)


def test_bytes_pass_in_both_directions(client: socket.socket) -> None:
    assert exchange(client, b"hello") == b"hello"


def test_a_lost_answer_belongs_to_a_request_that_the_server_received(
    client: socket.socket, proxy: Proxy, echo: Echo
) -> None:
    lost = proxy.lose_answer(b"marker")
    assert exchange(client, b"other") == b"other"
    with pytest.raises(ConnectionError):
        exchange(client, b"a marker")
    assert lost.wait(10)
    assert [echo.received.get(timeout=10), echo.received.get(timeout=10)] == [b"other", b"a marker"]


def test_a_marker_may_span_two_chunks(client: socket.socket, proxy: Proxy) -> None:
    lost = proxy.lose_answer(b"marker")
    assert exchange(client, b"mar") == b"mar"
    with pytest.raises(ConnectionError):
        exchange(client, b"ker")
    assert lost.wait(10)


def test_a_lost_request_does_not_reach_the_server(
    client: socket.socket, proxy: Proxy, echo: Echo
) -> None:
    lost = proxy.lose_request(b"marker")
    with pytest.raises(ConnectionError):
        exchange(client, b"a marker")
    assert lost.wait(10)
    with socket.create_connection(proxy.address, timeout=10) as second:
        assert exchange(second, b"later") == b"later"
    assert echo.received.get(timeout=10) == b"later"


def test_a_silent_proxy_drops_bytes_and_keeps_the_connection(
    client: socket.socket, proxy: Proxy
) -> None:
    assert exchange(client, b"hello") == b"hello"
    proxy.silence()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        exchange(client, b"lost")


def test_restoring_resets_a_connection_that_lost_bytes(client: socket.socket, proxy: Proxy) -> None:
    assert exchange(client, b"hello") == b"hello"
    proxy.silence()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        exchange(client, b"lost")
    client.settimeout(10)
    proxy.restore()
    with pytest.raises(ConnectionError):
        exchange(client, b"more")


def test_a_refusing_proxy_has_its_port_back_once_restored(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionError):
        socket.create_connection(proxy.address, timeout=10)
    proxy.restore()
    with socket.create_connection(proxy.address, timeout=10) as client:
        assert exchange(client, b"hello") == b"hello"


def test_cutting_resets_open_connections_alone(client: socket.socket, proxy: Proxy) -> None:
    assert exchange(client, b"hello") == b"hello"
    proxy.cut()
    with pytest.raises(ConnectionError):
        exchange(client, b"hello")
    with socket.create_connection(proxy.address, timeout=10) as second:
        assert exchange(second, b"hello") == b"hello"
