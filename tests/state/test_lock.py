"""One run at a time: the lock is refused to others, and taken over from the dead alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from reconciler.errors import LockedError, StateError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import Holder, StateStore
from reconciler.state.process import Process
from tests.state.shared import open_reader

Python = Callable[[str], subprocess.Popen[str]]

HOLD = """
with StateStore.open(folder, stack="acme", environment="prod", clock=lambda: 1_700_000_000.0) as store:
    with store.lock(command="apply", on_takeover=print):
        print("held", flush=True)
        sys.stdin.readline()
"""


CI_JOB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_ACTOR": "octocat",
    "GITHUB_REPOSITORY": "acme/infra",
    "GITHUB_SHA": "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_RUN_ID": "1658821493",
}


def refuse_takeover(holder: Holder) -> None:
    raise AssertionError(f"{holder} was taken over")


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def other(python: Python) -> subprocess.Popen[str]:
    """Another process, which holds the lock."""
    process = python(HOLD)
    assert said(process) == "held"
    return process


def test_a_second_run_learns_who_holds_the_lock(
    other: subprocess.Popen[str], store: StateStore
) -> None:
    with (
        pytest.raises(LockedError) as caught,
        store.lock(command="apply", on_takeover=refuse_takeover),
    ):
        pass
    message = str(caught.value)
    assert message.startswith("another run holds the lock: ")
    assert (
        f"@{socket.gethostname()} (pid {other.pid}), running `apply` since 2023-11-14T22:13:20Z"
        in message
    )
    assert "reconciler state unlock" in caught.value.hint


def test_a_second_run_learns_which_ci_job_holds_the_lock(
    store: StateStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CI_JOB.items():
        monkeypatch.setenv(name, value)
    with (
        store.lock(command="apply", on_takeover=refuse_takeover),
        StateStore.open(folder, stack="acme", environment="prod") as second,
        pytest.raises(LockedError) as caught,
        second.lock(command="apply", on_takeover=refuse_takeover),
    ):
        pass
    assert str(caught.value) == (
        "another run holds the lock: octocat in acme/infra@1a2b3c4"
        " (https://github.com/acme/infra/actions/runs/1658821493),"
        " running `apply` since 2023-11-14T22:13:20Z"
    )


def test_a_holder_of_an_earlier_version_is_shown_with_its_account_and_machine(
    other: subprocess.Popen[str], folder: Path
) -> None:
    with closing(sqlite3.connect(folder / "acme.prod.db", isolation_level=None)) as raw:
        holder = json.loads(raw.execute("SELECT holder FROM lock").fetchone()[0])
        del holder["origin"]
        raw.execute("UPDATE lock SET holder = ?", (json.dumps({**holder, "user": "ada"}),))
    with open_reader(folder) as reader:
        shown = str(reader.holder())
    assert shown.startswith(f"ada@{socket.gethostname()} (pid {other.pid}), running `apply`")


def test_a_reader_sees_the_holder(other: subprocess.Popen[str], folder: Path) -> None:
    with open_reader(folder) as reader:
        holder = reader.holder()
    assert holder is not None
    assert (holder.pid, holder.command) == (other.pid, "apply")


def test_a_released_lock_is_free(other: subprocess.Popen[str], store: StateStore) -> None:
    other.communicate("\n")
    with store.lock(command="apply", on_takeover=refuse_takeover) as holder:
        assert holder.pid == os.getpid()
    assert store.holder() is None


def test_a_killed_holder_is_taken_over_with_a_notice(
    other: subprocess.Popen[str], store: StateStore
) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    notices: list[Holder] = []
    with store.lock(command="plan", on_takeover=notices.append):
        assert [holder.pid for holder in notices] == [other.pid]


def test_a_killed_holder_whose_parent_did_not_notice_is_taken_over(
    other: subprocess.Popen[str], store: StateStore
) -> None:
    other.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead for certain, and still a zombie
    notices: list[Holder] = []
    with store.lock(command="plan", on_takeover=notices.append):
        assert [holder.pid for holder in notices] == [other.pid]


def as_in_another_container(folder: Path, **changes: object) -> None:
    """Make the holder of the lock one of another container of this host."""
    with closing(sqlite3.connect(folder / "acme.prod.db", isolation_level=None)) as raw:
        holder = json.loads(raw.execute("SELECT holder FROM lock").fetchone()[0])
        process = {
            **holder["process"],
            "host": "another-container",
            "namespace": "pid:[1]",
            "pid": 1,
        }
        raw.execute(
            "UPDATE lock SET holder = ?", (json.dumps({**holder, "process": process, **changes}),)
        )


def test_a_holder_that_was_killed_in_another_container_is_taken_over(
    other: subprocess.Popen[str], store: StateStore, folder: Path
) -> None:
    other.kill()
    other.wait()
    as_in_another_container(folder)
    dead: list[Holder] = []
    with store.lock(command="apply", on_takeover=dead.append):
        assert [holder.host for holder in dead] == ["another-container"]


def test_a_holder_that_lives_in_another_container_is_not_taken_over(
    other: subprocess.Popen[str], store: StateStore, folder: Path
) -> None:
    as_in_another_container(folder)
    with (
        pytest.raises(LockedError, match="another-container"),
        store.lock(command="apply", on_takeover=refuse_takeover),
    ):
        pass


def test_a_holder_without_a_kernel_lock_does_not_count_as_dead_without_it(
    other: subprocess.Popen[str], store: StateStore, folder: Path
) -> None:
    other.kill()
    other.wait()
    as_in_another_container(folder, has_file_lock=False)
    with (
        pytest.raises(LockedError, match="another-container"),
        store.lock(command="apply", on_takeover=refuse_takeover),
    ):
        pass


def test_the_lock_is_released_after_an_error(store: StateStore) -> None:
    with pytest.raises(ZeroDivisionError), store.lock(command="apply", on_takeover=refuse_takeover):
        raise ZeroDivisionError
    assert store.holder() is None


def test_the_same_process_cannot_hold_it_twice(store: StateStore, folder: Path) -> None:
    with (
        StateStore.open(folder, stack="acme", environment="prod") as second,
        store.lock(command="apply", on_takeover=refuse_takeover),
        pytest.raises(LockedError),
        second.lock(command="apply", on_takeover=refuse_takeover),
    ):
        pass


def test_environments_are_locked_apart(store: StateStore, folder: Path) -> None:
    with (
        StateStore.open(folder, stack="acme", environment="dev") as second,
        store.lock(command="apply", on_takeover=refuse_takeover),
        second.lock(command="apply", on_takeover=refuse_takeover) as holder,
    ):
        assert holder.command == "apply"


def test_unlocking_returns_the_holder(other: subprocess.Popen[str], store: StateStore) -> None:
    holder = store.unlock()
    assert holder is not None
    assert holder.pid == other.pid
    assert store.unlock() is None


def test_a_run_whose_lock_was_released_by_force_cannot_write(
    store: StateStore, folder: Path
) -> None:
    record = Record(Address.parse("Project/search"), "proj_1")
    with store.lock(command="apply", on_takeover=refuse_takeover):
        store.put(record)
        with StateStore.open(folder, stack="acme", environment="prod") as operator:
            operator.unlock()
        with pytest.raises(StateError, match="has lost the lock"):
            store.remove(record.address)
    assert list(store.records()) == [record.address]


def test_a_run_whose_lock_was_released_by_force_does_not_release_that_of_its_successor(
    store: StateStore, folder: Path
) -> None:
    with StateStore.open(folder, stack="acme", environment="prod") as successor:
        with store.lock(command="apply", on_takeover=refuse_takeover):
            successor.unlock()
            held = successor.lock(command="plan", on_takeover=refuse_takeover)
            held.__enter__()
        assert store.holder() is not None
        held.__exit__(None, None, None)


HERE = Process.current()
NOBODY = 2**22 + 1  # above the largest pid that Linux gives


def test_a_living_process_is_not_dead() -> None:
    assert not HERE.proves_dead(HERE)


def test_a_pid_that_nobody_has_is_dead() -> None:
    assert HERE.proves_dead(replace(HERE, pid=NOBODY))


def test_a_pid_that_was_used_again_is_dead() -> None:
    assert HERE.proves_dead(replace(HERE, started="1"))


@pytest.mark.parametrize(
    "change",
    [
        {"host": "elsewhere"},
        {"boot": ""},
        {"namespace": "pid:[1]"},
        {"boot": "other", "machine": "other"},
        {"boot": "other", "machine": ""},
        {"boot": "other", "namespace": "pid:[1]"},
    ],
    ids=str,
)
def test_a_process_that_cannot_be_examined_is_not_dead(change: dict[str, str]) -> None:
    assert not HERE.proves_dead(replace(HERE, pid=NOBODY, **change))


def test_a_process_of_the_same_machine_before_it_was_restarted_is_dead() -> None:
    here = replace(HERE, machine="m", boot="2", namespace="pid:[4026531836]")
    assert here.proves_dead(replace(here, boot="1"))


def test_a_process_whose_start_is_unknown_is_not_dead() -> None:
    assert not HERE.proves_dead(replace(HERE, started=""))
