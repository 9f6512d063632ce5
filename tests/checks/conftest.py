"""Checks in this process: a real client against an emulator or a fake transport."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from reconciler.api.keys import Key, KeyRing
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.objects.uploads import Uploader
from reconciler.api.transport.client import Client
from reconciler.checks import CheckTools, run_checks
from reconciler.checks.budget import Budgets
from reconciler.emulator import Emulator
from reconciler.manifests import Credential
from reconciler.model.address import Address
from reconciler.model.checking import CheckOutcome
from reconciler.model.rule import Rule
from reconciler.model.secret import Redactor, Secret
from reconciler.rules import CHECK

KEY = Credential("a test", Secret("sk-emulator"))
ADMIN = Credential("a test", Secret("sk-admin-emulator"))


@dataclass
class Checking:
    """Carries out checks, given as specs."""

    client: Client
    tools: CheckTools
    redactor: Redactor
    stop: threading.Event = field(default_factory=threading.Event)
    stops_at_pause: threading.Event = field(default_factory=threading.Event)
    """Set it to stop the run at its next pause."""

    def __call__(
        self, spec: dict[str, Any], *, project: str | None = None, **changes: Any
    ) -> CheckOutcome:
        rule = Rule(Address("Check", "it", project), CHECK, spec)
        [outcome] = run_checks([rule], replace(self.tools, **changes))
        return outcome


def checking(base_url: str, root: Path, transport: httpx.BaseTransport | None = None) -> Checking:
    stop, stops_at_pause, redactor = threading.Event(), threading.Event(), Redactor()

    def sleep(_: float) -> None:
        """Take no time: the emulator moves on with each request."""
        if stops_at_pause.is_set():
            stop.set()

    client = Client(base_url, redactor=redactor, stop=stop, sleep=sleep, transport=transport)
    keys = KeyRing(admin=ADMIN, default=KEY, projects={}, root=root)
    tools = CheckTools(
        client=client,
        keys=keys,
        redactor=redactor,
        uploader=Uploader(root),
        budgets=Budgets(client, keys, today=lambda: date(2026, 11, 22)),
        client_for=lambda _: ScopedClient(client, Key(Secret("sk-emulator"), "a test")),
        project_id={"search": "proj_1"}.get,
        lookup=lambda reference: reference,
    )
    return Checking(client, tools, redactor, stop, stops_at_pause)


@pytest.fixture
def check(emulator: Emulator, tmp_path: Path) -> Iterator[Checking]:
    """Checks against an emulator; files are in the test's folder."""
    checks = checking(emulator.base_url, tmp_path)
    yield checks
    checks.client.close()


Answering = Callable[[httpx.Request], Any]


@pytest.fixture
def over_wire(tmp_path: Path) -> Iterator[Callable[[Answering], Checking]]:
    """Checks against a function that answers each request: with JSON, or with a whole answer."""
    opened: list[Checking] = []

    def over(answer: Answering) -> Checking:
        def handle(request: httpx.Request) -> httpx.Response:
            content = answer(request)
            if isinstance(content, httpx.Response):
                return content
            return httpx.Response(200, json=content)

        checks = checking("http://127.0.0.1:1/v1", tmp_path, httpx.MockTransport(handle))
        opened.append(checks)
        return checks

    yield over
    for checks in opened:
        checks.client.close()
