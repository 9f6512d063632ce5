"""Seen from an application: a month of nightly applies that rotate its key, and never a 401.

Nothing changes between two applies, so a reader that looks every second sees there what it sees every hour. While an
apply runs, readers look as often as they can.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from reconciler.emulator import Emulator
from tests.conftest import Workspace
from tests.secrets.beds import Bed, bed_named

pytestmark = pytest.mark.slow

DAYS = 31
HOUR = 3_600.0
ROTATE = {"every": "10d", "overlap": "3d", "revoke": {"when_unused_for": "24h"}}

Read = Callable[[], str]


class Application:
    """Calls the API with the key that it holds, and reads a new one every so many hours."""

    def __init__(self, emulator: Emulator, read: Read, *, keeps_hours: int = 0) -> None:
        self._client = httpx.Client(base_url=emulator.base_url, timeout=60.0)
        self._read = read
        self._keeps_hours = keeps_hours
        self._key = read()
        self.keys = [self._key]
        self.refused: list[str] = []
        self.calls = 0

    def look(self, hour: int) -> None:
        if self._keeps_hours == 0 or hour % self._keeps_hours == 0:
            self._key = self._read()
        if self._key != self.keys[-1]:
            self.keys.append(self._key)
        headers = {"Authorization": f"Bearer {self._key}"}
        status = self._client.get("/models", headers=headers).status_code
        self.calls += 1
        if status != 200:
            self.refused.append(f"hour {hour}: {status}")

    def close(self) -> None:
        self._client.close()


@contextmanager
def looking(application: Application, hour: int) -> Iterator[None]:
    """An application that looks without a pause meanwhile."""
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            application.look(hour)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def documents(write_to: object, **more: object) -> list[str]:
    key = json.dumps({"write_to": write_to, "rotate": ROTATE, **more})
    return [
        "kind: Project\nmetadata: {name: main}\nspec: {name: Main}\n",
        f"kind: ServiceAccount\nmetadata: {{name: app, project: main}}\nspec: {{key: {key}}}\n",
    ]


def a_month(workspace: Workspace, *applications: Application) -> None:
    for night in range(1, DAYS + 1):
        for hour in range(24 * (night - 1), 24 * night):
            workspace.emulator.state.advance(HOUR)
            for application in applications:
                application.look(hour)
        with looking(applications[0], 24 * night):
            workspace.apply()


def keys_at_the_api(workspace: Workspace) -> int:
    with workspace.emulator.store.lock:
        keys = list(workspace.emulator.store.all("api_key"))
    return sum(key.hidden["owner"]["type"] == "service_account" for key in keys)


def assert_served(workspace: Workspace, *applications: Application) -> None:
    """Nobody was refused, keys were rotated, and the old ones are gone."""
    assert [application.refused for application in applications] == [[]] * len(applications)
    assert all(application.calls >= 24 * DAYS for application in applications)
    assert all(len(application.keys) >= 4 for application in applications)
    assert keys_at_the_api(workspace) <= 2


def begun(workspace: Workspace, bed: Bed) -> Read:
    """A workspace after its first apply; what an application reads there."""
    workspace.variables.update(bed.env)
    workspace.declare(*documents(bed.target("app"))).apply()
    return lambda: bed.keys(workspace.folder)["app"]


@pytest.mark.parametrize("sink", ["file", "vault"])
def test_an_application_that_reads_its_key_every_second_is_never_refused(
    sink: str, workspace: Workspace
) -> None:
    with bed_named(sink) as bed:
        application = Application(workspace.emulator, begun(workspace, bed))
        a_month(workspace, application)
        assert_served(workspace, application)
        application.close()


def test_an_application_that_keeps_its_key_for_two_days_is_never_refused(
    workspace: Workspace,
) -> None:
    with bed_named("file") as bed:
        read = begun(workspace, bed)
        eager = Application(workspace.emulator, read)
        lazy = Application(workspace.emulator, read, keeps_hours=48)
        a_month(workspace, eager, lazy)
        assert_served(workspace, eager, lazy)
        eager.close()
        lazy.close()


def test_an_application_that_prefers_the_second_slot_is_never_refused(
    workspace: Workspace,
) -> None:
    slots = {"write_to": {"file": "keys/app.key"}, "previous_to": {"file": "keys/app.old.key"}}
    workspace.declare(*documents(**slots)).apply()

    def read() -> str:
        second = Path(workspace.folder / "keys/app.old.key")
        try:
            return second.read_text().strip()
        except FileNotFoundError:
            return (workspace.folder / "keys/app.key").read_text().strip()

    def current() -> str:
        return (workspace.folder / "keys/app.key").read_text().strip()

    eager, late = Application(workspace.emulator, current), Application(workspace.emulator, read)
    a_month(workspace, eager, late)
    # The second slot has the old key as long as it is used, so that this reader never moves on.
    assert [eager.refused, late.refused] == [[], []]
    assert len(eager.keys) >= 2
    eager.close()
    late.close()
