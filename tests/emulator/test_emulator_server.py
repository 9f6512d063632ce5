"""The server is fast and silent, listens on this machine only, and ends when stopped."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from reconciler.emulator import Emulator, EmulatorOptions, create_app, serve

_SERVE = """
import sys
from reconciler.emulator import EmulatorOptions, serve
serve(EmulatorOptions(), port=0, on_ready=lambda url: print(url, flush=True))
"""


@contextmanager
def foreground() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_starts_and_stops_within_a_blink() -> None:
    started = time.monotonic()
    for _ in range(5):
        with Emulator() as emulator:
            assert emulator.base_url.startswith("http://127.0.0.1:")
    assert time.monotonic() - started < 1


def test_it_stops_although_a_client_is_connected_and_another_waits(
    connect: Callable[..., httpx.Client],
) -> None:
    with Emulator() as emulator, ThreadPoolExecutor() as pool:
        connect(emulator, emulator.api_key).get("/models")
        emulator.add_fault("do=hang:30000")
        waiting = pool.submit(connect(emulator, emulator.api_key).get, "/models")
        while not emulator.requests_in_flight:
            time.sleep(0.001)
        started = time.monotonic()
        emulator.stop()
        assert isinstance(waiting.exception(), httpx.TransportError)
        assert time.monotonic() - started < 1


def test_it_stops_cleanly_while_a_client_is_just_connecting() -> None:
    for _ in range(20):
        with Emulator() as emulator:
            port = int(emulator.base_url.split(":")[2].partition("/")[0])
            early = socket.create_connection(("127.0.0.1", port))
        with early:
            early.settimeout(1)
            assert is_closed(early)


def test_the_server_is_silent(
    capfd: pytest.CaptureFixture[str], connect: Callable[..., httpx.Client]
) -> None:
    with Emulator() as emulator:
        http = connect(emulator, emulator.api_key)
        http.get("/models")
        for fault in ("do=reset", "do=truncate"):
            emulator.add_fault(fault)
            with pytest.raises(httpx.TransportError):
                http.get("/models")
        with socket.create_connection(
            ("127.0.0.1", int(emulator.base_url.split(":")[2].partition("/")[0]))
        ) as raw:
            raw.sendall(b"rubbish\r\n\r\n")
            raw.recv(100)
    assert capfd.readouterr() == ("", "")


def test_it_leaves_signal_handlers_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Emulator():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_it_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with Emulator():
        pass
    assert threading.active_count() == before


def test_stopping_twice_does_nothing() -> None:
    with Emulator() as emulator:
        emulator.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(emulator.base_url)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_in_the_foreground_leaves_cleanly_on_a_signal(number: signal.Signals) -> None:
    with foreground() as (process, url):
        assert httpx.get(f"{url}/models").status_code == 401
        process.send_signal(number)
        output = process.communicate(timeout=5)
    assert (process.returncode, output) == (0, ("", ""))


def test_a_port_in_use_is_an_error() -> None:
    with Emulator() as emulator:
        port = int(emulator.base_url.split(":")[2].partition("/")[0])
        with pytest.raises(OSError, match="in use"):
            serve(EmulatorOptions(), port=port, on_ready=lambda _: None)
        with pytest.raises(OSError, match="in use"):
            Emulator(port=port).start()


@pytest.mark.parametrize("path", ["/v1/models", "/_emulator/state"])
@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "https://evil.example"}],
    ids=str,
)
def test_a_request_by_another_name_is_refused(
    emulator: Emulator, path: str, headers: dict[str, str]
) -> None:
    url = emulator.base_url.removesuffix("/v1") + path
    assert httpx.get(url, headers=headers).status_code == 421


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1234", "127.0.0.1", "[::1]:80", "LOCALHOST"]
)
def test_every_name_of_this_machine_is_accepted(emulator: Emulator, host: str) -> None:
    url = emulator.base_url.removesuffix("/v1") + "/_emulator/state"
    assert httpx.get(url, headers={"Host": host}).status_code == 200


def test_the_application_works_without_the_server() -> None:
    import asyncio

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(EmulatorOptions()))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/v1") as http:
            return await http.get("/models", headers={"Authorization": "Bearer sk-emulator"})

    assert asyncio.run(ask()).status_code == 200


def test_many_clients_at_once_each_get_their_own_object(
    emulator: Emulator, http: httpx.Client
) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(
                lambda n: http.post("/vector_stores", json={"name": str(n)}).json(), range(100)
            )
        )
    assert len({store["id"] for store in made}) == 100
    assert [store["name"] for store in made] == [str(n) for n in range(100)]


def test_a_request_that_breaks_off_has_no_effect(emulator: Emulator, http: httpx.Client) -> None:
    port = int(emulator.base_url.split(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as raw:
        head = f"POST /v1/vector_stores HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {emulator.api_key}\r\n"
        raw.sendall(f"{head}Content-Length: 100\r\n\r\n{{}}".encode())
        while not emulator.requests_in_flight:
            time.sleep(0.001)
    while emulator.requests_in_flight:
        time.sleep(0.001)
    assert http.get("/vector_stores").json()["data"] == []


def test_a_large_file_arrives_whole(http: httpx.Client) -> None:
    content = bytes(range(256)) * 20_000
    file = http.post(
        "/files", data={"purpose": "user_data"}, files={"file": ("big.bin", content)}
    ).json()
    assert file["bytes"] == len(content)
    assert http.get(f"/files/{file['id']}/content").content == content


def test_nothing_else_of_the_package_is_imported() -> None:
    code = (
        "import sys, reconciler.emulator as e\n"
        "with e.Emulator(): pass\n"
        "print([m for m in sys.modules if m.startswith('reconciler.') and not m.startswith('reconciler.emulator')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_web_framework_is_loaded_only_when_used() -> None:
    code = "import sys, reconciler.emulator; print({'starlette', 'uvicorn'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
