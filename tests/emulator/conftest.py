"""A running emulator, a clock of the test, and clients with either type of key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from reconciler.emulator import Emulator, EmulatorOptions

ASSISTANTS = {"OpenAI-Beta": "assistants=v2"}


class Clock:
    """The time of day, which passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(clock: Clock) -> Iterator[Callable[..., Emulator]]:
    """Start an emulator with the given options; it stops with the test."""
    running: list[Emulator] = []

    def start_one(**options: Any) -> Emulator:
        running.append(Emulator(EmulatorOptions(**options), clock=clock))
        running[-1].start()
        return running[-1]

    yield start_one
    for emulator in running:
        emulator.stop()


@pytest.fixture
def emulator(start: Callable[..., Emulator]) -> Emulator:
    return start()


@pytest.fixture
def connect() -> Iterator[Callable[..., httpx.Client]]:
    """Open a plain HTTP client to an emulator, with a key and the beta header of assistants."""
    clients: list[httpx.Client] = []

    def connect_one(emulator: Emulator, key: str | None = None, **headers: str) -> httpx.Client:
        authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        # No request is encrypted, so the time it takes to load certificates is saved.
        clients.append(
            httpx.Client(
                base_url=emulator.base_url,
                headers={**ASSISTANTS, **authorization, **named},
                timeout=5,
                verify=False,
            )
        )
        return clients[-1]

    yield connect_one
    for client in clients:
        client.close()


@pytest.fixture
def http(emulator: Emulator, connect: Callable[..., httpx.Client]) -> httpx.Client:
    """The data plane, over plain HTTP."""
    return connect(emulator, emulator.api_key)


@pytest.fixture
def admin(emulator: Emulator, connect: Callable[..., httpx.Client]) -> httpx.Client:
    """The control plane, over plain HTTP."""
    return connect(emulator, emulator.admin_key)


@pytest.fixture
def client(emulator: Emulator) -> Iterator[openai.OpenAI]:
    """The official client, unchanged."""
    with openai.OpenAI(
        base_url=emulator.base_url,
        api_key=emulator.api_key,
        admin_api_key=emulator.admin_key,
        max_retries=0,
    ) as opened:
        yield opened


@pytest.fixture
def upload(http: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Upload a file and return it."""

    def upload_one(
        name: str = "notes.md", content: bytes = b"some notes", purpose: str = "assistants"
    ) -> dict[str, Any]:
        answer = http.post("/files", data={"purpose": purpose}, files={"file": (name, content)})
        answer.raise_for_status()
        return answer.json()  # type: ignore[no-any-return]

    return upload_one


@pytest.fixture
def project(admin: httpx.Client) -> dict[str, Any]:
    """A project beside the default one."""
    return admin.post("/organization/projects", json={"name": "Search"}).json()  # type: ignore[no-any-return]
