"""Different clocks and abandoned creates: later objects of others are theirs, and ours are found."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from tests.conftest import Workspace

GROUP = "kind: Group\nmetadata: {name: g}\nspec: {name: Finance}\n"
KEY = "kind: AdminKey\nmetadata: {name: ak}\nspec: {name: prod, key: {write_to: {file: secrets/ak.key}}}\n"
ROLE = (
    "kind: Role\nmetadata: {name: r}\nspec: {role_name: Reader, permissions: [api.groups.read]}\n"
)
PROJECT = "kind: Project\nmetadata: {name: p}\nspec: {name: P}\n"
FILE = "kind: File\nmetadata: {name: f}\nspec: {path: f.md, purpose: assistants}\n"
KEEP = "kind: VectorStore\nmetadata: {name: keep}\nspec: {name: Keep}\n"


class ShiftedClock:
    """The time of day of a server that is ahead of this machine."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_seconds


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def emulator(clock: ShiftedClock) -> Iterator[Emulator]:
    with Emulator(clock=clock) as running:
        yield running


@pytest.fixture
def admin(emulator: Emulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    with httpx.Client(base_url=emulator.base_url, headers=headers) as client:
        yield client


def ids(workspace: Workspace, kind: str) -> set[str]:
    with workspace.emulator.store.lock:
        return {record.id for record in workspace.emulator.store.all(kind)}


def by_hand(admin: httpx.Client) -> Mapping[str, str]:
    """What a person makes, by kind, with the names that the manifests have."""
    bodies: Mapping[str, tuple[str, Mapping[str, Any]]] = {
        "group": ("/organization/groups", {"name": "Finance"}),
        "admin_key": ("/organization/admin_api_keys", {"name": "prod"}),
    }
    return {
        kind: str(admin.post(path, json=body).json()["id"]) for kind, (path, body) in bodies.items()
    }


@pytest.fixture
def given_up(workspace: Workspace, clock: ShiftedClock) -> Workspace:
    """A stack whose creates were all refused by an outage, a minute ago."""
    workspace.declare(GROUP, KEY, KEEP)
    for path in ("/organization/groups", "/organization/admin_api_keys"):
        workspace.emulator.add_fault(f"on=POST:{path},do=error:503,times=0")
    workspace.run("apply", "--yes", expect=13)
    workspace.emulator.clear_faults()
    clock.ahead_seconds += 60
    return workspace


def test_an_object_created_by_hand_after_an_abandoned_create_is_a_conflict(
    given_up: Workspace, admin: httpx.Client
) -> None:
    theirs = by_hand(admin)
    assert "not managed here" in given_up.run("apply", "--yes", expect=1).err
    assert {kind: id in ids(given_up, kind) for kind, id in theirs.items()} == {
        "group": True,
        "admin_key": True,
    }


@pytest.mark.parametrize(
    "now_declared",
    [[KEEP], [KEEP, GROUP.replace("Finance", "Other"), KEY.replace("prod", "other")]],
)
def test_an_object_created_by_hand_after_an_abandoned_create_is_never_deleted(
    given_up: Workspace, admin: httpx.Client, now_declared: Sequence[str]
) -> None:
    theirs = by_hand(admin)
    given_up.declare(*now_declared).apply()
    assert {kind: id in ids(given_up, kind) for kind, id in theirs.items()} == {
        "group": True,
        "admin_key": True,
    }


def test_an_object_that_shows_no_age_is_a_conflict_once_the_attempt_is_hours_ago(
    workspace: Workspace, clock: ShiftedClock, admin: httpx.Client
) -> None:
    workspace.declare(ROLE, KEEP).emulator.add_fault(
        "on=POST:/organization/roles,do=error:503,times=0"
    )
    workspace.run("apply", "--yes", expect=13)
    workspace.emulator.clear_faults()
    clock.ahead_seconds += 3 * 3600
    admin.post(
        "/organization/roles", json={"role_name": "Reader", "permissions": []}
    ).raise_for_status()
    assert "not managed here" in workspace.run("plan", expect=1).err


@pytest.mark.parametrize("ahead", [-3600.0, -8.0, 8.0, 3600.0])
def test_a_clock_that_is_off_makes_nothing_twice(
    workspace: Workspace, clock: ShiftedClock, ahead: float
) -> None:
    clock.ahead_seconds = ahead
    workspace.variables = {"RECONCILER_SETTLE_SECONDS": "1"}
    workspace.write({"f.md": "text"}).declare(PROJECT, GROUP, FILE)
    for path in ("/organization/projects", "/organization/groups", "/files"):
        workspace.emulator.add_fault(f"on=POST:{path},do=reset,when=after")
    workspace.apply()
    assert [len(ids(workspace, kind)) for kind in ("project", "group", "file")] == [2, 1, 1]


@pytest.mark.parametrize("ahead", [-300.0, 300.0])
def test_objects_of_a_killed_run_are_found_with_a_wrong_clock(
    workspace: Workspace, clock: ShiftedClock, ahead: float
) -> None:
    clock.ahead_seconds = ahead
    before = ids(workspace, "admin_key")
    workspace.declare(KEY).emulator.add_fault(
        "on=POST:/organization/admin_api_keys,do=hang:100000,when=after"
    )
    process = subprocess.Popen(
        workspace.command("apply", "--yes"), cwd=workspace.folder, env=workspace.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and ids(workspace, "admin_key") == before:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    workspace.emulator.clear_faults()
    workspace.apply()
    assert len(ids(workspace, "admin_key") - before) == 1
    assert Path(workspace.folder, "secrets", "ak.key").exists()


def test_a_saved_plan_lists_each_scope_once_before_it_creates_there(workspace: Workspace) -> None:
    groups = [
        GROUP.replace("{name: g}", f"{{name: g{n}}}").replace("Finance", f"F{n}") for n in range(8)
    ]
    workspace.declare(*groups).run("plan", "--out", "plan.json", expect=0)
    workspace.emulator.clear_requests()
    workspace.run("apply", "plan.json", expect=0)
    calls = [f"{request.method} {request.path}" for request in workspace.emulator.requests]
    assert (calls[0], calls.count("GET /organization/groups")) == ("GET /organization/groups", 1)


def test_an_object_that_the_log_says_is_deleted_is_not_waited_for(
    workspace: Workspace, admin: httpx.Client
) -> None:
    """Whoever waits here ends by the time-out of the tests."""
    workspace.variables = {"RECONCILER_SETTLE_SECONDS": "90"}
    workspace.declare(GROUP).apply()
    (id,) = ids(workspace, "group")
    admin.delete(f"/organization/groups/{id}").raise_for_status()
    done = workspace.plan()
    assert (done.code, "created: it was deleted" in done.out) == (2, True)
