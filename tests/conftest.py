"""Shared fixtures: an emulator, and a workspace that uses it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from reconciler.emulator import Emulator
from reconciler.model.ci import CI_SYSTEMS
from tests import fork_server
from tests.coverage.witnesses import pytest_runtest_call
from tests.servers.object_stores import azure_place, azurite, s3_place, s3_server
from tests.servers.postgres import database, pgbouncer, postgres_server

__all__ = [
    "azure_place",
    "azurite",
    "database",
    "pgbouncer",
    "postgres_server",
    "pytest_runtest_call",
    "s3_place",
    "s3_server",
]

SLOW_SERVERS = {"azure", "azure_place", "azurite", "pgbouncer", "s3", "s3_place", "s3_server"}
"""Fixtures and parameters that start a server which takes seconds."""
SERVER_MODULES = {
    "test_object_store.py",
    "test_pace_between_runs.py",
    "test_postgres.py",
    "test_postgres_pace.py",
    "test_proof.py",
    "test_races.py",
    "test_restored_state.py",
    "test_shared_clocks.py",
    "test_shared_kills.py",
    "test_shared_origin.py",
    "test_state_page.py",
    "test_zombies.py",
}
MEMORY = Path("/dev/shm")
ROOM_BYTES = 1 << 30


def pytest_configure() -> None:
    """Prepare the environment of all tests."""
    # Where tests run in CI, their runs would otherwise be runs of that CI job.
    for system in CI_SYSTEMS:
        os.environ.pop(system.marker, None)
    # No test asserts a time: a busy machine must not make a property fail.
    settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("untimed")
    _keep_files_in_memory()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test` leaves to `make test-backends`.

    A local PostgreSQL and an encrypted file stand for the shared states there; the other servers take long to start.
    """
    for item in items:
        callspec = getattr(item, "callspec", None)
        parameters = set() if callspec is None else set(map(str, callspec.params.values()))
        fixtures = set(getattr(item, "fixturenames", ()))
        if item.path.name in SERVER_MODULES or (fixtures | parameters) & SLOW_SERVERS:
            item.add_marker(pytest.mark.backends)


def _keep_files_in_memory() -> None:
    """Keep what tests write in memory where there is room: a disk takes its time to have each line of a journal."""
    if (
        not MEMORY.is_dir()
        or not os.access(MEMORY, os.W_OK)
        or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    ):
        return
    if shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ.setdefault("TMPDIR", str(MEMORY))
        tempfile.tempdir = None  # it may have been looked up before


@dataclass
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


@dataclass
class Workspace:
    """A folder with manifests, and the command line run in it as a user would."""

    folder: Path
    emulator: Emulator
    variables: dict[str, str] = field(default_factory=dict)

    def write(self, files: dict[str, str]) -> Workspace:
        """Write files, dedented; their folders are made."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return self

    def declare(self, *documents: str) -> Workspace:
        """Declare these documents, and nothing else."""
        return self.write({"manifests.yaml": "---\n".join(documents)})

    @property
    def environment(self) -> dict[str, str]:
        """What the process of a command sees."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OPENAI_", "RECONCILER_BACKEND"))
        }
        return {
            **kept,
            "OPENAI_BASE_URL": self.emulator.base_url,
            "OPENAI_ADMIN_KEY": self.emulator.admin_key,
            "OPENAI_API_KEY": self.emulator.api_key,
            # The emulator's lists do not lag unless a test wants them to, so lost objects are hardly waited for.
            "RECONCILER_SETTLE_SECONDS": "0.1",
            **self.variables,
        }

    def command(self, *arguments: str) -> Sequence[str]:
        """The words that start the real command line."""
        return [sys.executable, "-m", "reconciler", *arguments]

    def run(self, *arguments: str, expect: int | None = None, stdin: str = "") -> Finished:
        """Run a command in a process of its own; with `expect`, insist on the exit code."""
        finished = Finished(
            *fork_server.run(
                arguments, folder=self.folder, environment=self.environment, stdin=stdin
            )
        )
        if expect is not None:
            assert finished.code == expect, (
                f"exit code {finished.code}\n{finished.out}\n{finished.err}{self._defects()}"
            )
        return finished

    def _defects(self) -> str:
        """The tracebacks of requests that the emulator could not serve, such as an unknown prefix of ids."""
        defects = [request.error for request in self.emulator.requests if request.error]
        return "".join(
            f"\nA defect of the emulator:\n{defect}" for defect in dict.fromkeys(defects)
        )

    def apply(self, *arguments: str) -> Finished:
        """Apply without asking, and insist that it went through."""
        return self.run("apply", "--yes", *arguments, expect=0)

    def plan(self, *arguments: str) -> Finished:
        """Plan; exit code 0 says that nothing is to be done, 2 that something is."""
        return self.run("plan", "--detailed-exitcode", *arguments)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A fresh emulator on a free port."""
    with Emulator() as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, emulator: Emulator) -> Workspace:
    """An empty folder and an emulator of its own."""
    folder = tmp_path / "stack"
    folder.mkdir()
    return Workspace(folder, emulator)
