"""A kill at any point leaves an intact state that knows what was in progress."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import StateStore
from tests.state.conftest import REPOSITORY
from tests.state.shared import open_reader

Python = Callable[[str], subprocess.Popen[str]]
SEARCH = Address.parse("Project/search")


def test_a_kill_at_any_call_loses_no_object(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, Path(__file__).with_name("dying_apply.py"), tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert int(ended.stdout) > 50


WRITE_WITH_TEN_THREADS = """
import os, threading
from concurrent.futures import ThreadPoolExecutor
from reconciler.model.address import Address
from reconciler.model.resource import Record
store = StateStore.open(folder, stack="acme", environment="prod")
journal = store.runs.journal(store.runs.begin(command="apply", user="ada", host="laptop", pid=1, plan_digest="d"))
def work(number):
    address = Address("File", f"f{number}")
    with journal.change(address, "create") as change:
        change.finish(Record(address, "x"))
    os.write(1, f"{address}\\n".encode())
with ThreadPoolExecutor(10) as pool:
    list(pool.map(work, range(100_000)))
"""


@pytest.mark.parametrize("acknowledged", [1, 20, 60])
def test_acknowledged_writes_survive_a_kill(
    python: Python, folder: Path, acknowledged: int
) -> None:
    process = python(WRITE_WITH_TEN_THREADS)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(acknowledged)]
    process.kill()
    lines += process.stdout.readlines()
    with open_reader(folder) as store:
        assert {Address.parse(line.strip()) for line in lines} <= set(store.records())
        assert store.serial == len(store.records())


HALF_A_COMMIT = """
import os, sqlite3
raw = sqlite3.connect(folder / "acme.prod.db", isolation_level=None)
raw.execute("PRAGMA cache_size = 2")  # pages go to the file before the commit
raw.execute("BEGIN IMMEDIATE")
raw.execute("DELETE FROM resources")
for number in range(500):
    raw.execute("INSERT INTO meta VALUES (?, ?)", (str(number), "x" * 500))
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def half_committed(python: Python, store: StateStore, folder: Path) -> Path:
    """A state whose writer died with half of its pages in the file."""
    store.put(Record(SEARCH, "proj_1"))
    store.close()
    python(HALF_A_COMMIT).wait()
    assert (folder / "acme.prod.db-journal").stat().st_size > 0
    return folder


def test_a_reader_sees_the_state_before_an_interrupted_commit_and_repairs_nothing(
    half_committed: Path,
) -> None:
    before = {path.name: path.read_bytes() for path in half_committed.iterdir()}
    with open_reader(half_committed) as reader:
        assert list(reader.records()) == [SEARCH]
    assert {path.name: path.read_bytes() for path in half_committed.iterdir()} == before


def test_a_writer_rolls_an_interrupted_commit_back(half_committed: Path) -> None:
    with StateStore.open(half_committed, stack="acme", environment="prod") as store:
        assert list(store.records()) == [SEARCH]
    assert not (half_committed / "acme.prod.db-journal").exists()


def test_an_interrupted_commit_leaves_an_intact_file(half_committed: Path) -> None:
    StateStore.open(half_committed, stack="acme", environment="prod").close()
    raw = sqlite3.connect(half_committed / "acme.prod.db")
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
