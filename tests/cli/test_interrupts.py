"""Ctrl-C and SIGTERM with real signals: the first finishes calls in flight, the second ends at once.

Calls of the emulator hang for a hundred seconds here, so a process that waits for them fails by time-out.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from reconciler.state import StateStore
from tests.conftest import Workspace

pytestmark = pytest.mark.slow

AGES_MS = 100_000
PATIENCE_SECONDS = 30

STORE = "kind: VectorStore\nmetadata: {{name: {0}}}\nspec: {{name: {0}}}\n"
STORES = "---\n".join(STORE.format(f"s{number}") for number in range(6))
PROJECT = """\
kind: Project
metadata: {name: search}
spec: {name: Search}
"""
AGENT = """\
kind: Agent
metadata: {name: agent}
spec: {model: gpt-4.1}
"""
ACCOUNT = """\
kind: ServiceAccount
metadata: {name: ci, project: search}
spec: {name: ci, key: {write_to: {command: [./take]}}}
"""
FOLDER = """\
kind: VectorStore
metadata: {name: docs}
spec: {name: Docs, files: [{path: "docs/*.md"}]}
"""
POSTED = "POST /vector_stores"

Process = subprocess.Popen[str]


def start(workspace: Workspace, *arguments: str) -> Process:
    """A command under way."""
    return subprocess.Popen(
        workspace.command(*arguments),
        cwd=workspace.folder, env=workspace.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(process: Process, arrived: Callable[[], bool]) -> None:
    """Wait for something to happen while the process runs."""
    while process.poll() is None and not arrived():
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def ended(process: Process, *signals: signal.Signals) -> tuple[int, str, str]:
    """Send signals, and see how the process ends."""
    for number in signals:
        process.send_signal(number)
        time.sleep(0.2)  # two signals that are pending together are one
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert "Traceback" not in err
    return process.returncode, out, err


def begun(workspace: Workspace, count: int = 1) -> Callable[[], bool]:
    """Whether so many changes are under way, and requests in flight for them."""

    def look() -> bool:
        with StateStore.open_for_reading(
            workspace.folder / ".reconciler", stack="stack", environment="default"
        ) as at:
            return (
                len(at.runs.unfinished()) >= count
                and workspace.emulator.requests_in_flight >= count
            )

    return look


def seen(workspace: Workspace, *calls: str) -> Callable[[], bool]:
    """Whether the emulator has answered these calls, in this order."""

    def look() -> bool:
        rest = list(calls)
        for request in workspace.emulator.requests:
            if rest and f"{request.method} {request.path}" == rest[0]:
                rest.pop(0)
        return not rest

    return look


def goes_on(workspace: Workspace) -> None:
    """The next apply does the rest, unasked, and leaves nothing to plan."""
    workspace.emulator.clear_faults()
    workspace.emulator.set_options(latency_ms=0, index_delay_ms=0)
    workspace.apply()
    assert workspace.plan().code == 0


def stores(workspace: Workspace) -> int:
    with workspace.emulator.store.lock:
        return len(list(workspace.emulator.store.all("vector_store")))


def test_calls_in_flight_finish_and_what_was_not_done_is_listed(workspace: Workspace) -> None:
    workspace.write({"s.yaml": STORES}).emulator.add_fault(
        "on=POST:/vector_stores,do=hang:1500,times=2,when=after"
    )
    process = start(workspace, "apply", "--yes", "--parallelism", "2")
    until(process, begun(workspace, 2))
    code, out, err = ended(process, signal.SIGINT)
    assert code == 130
    assert "finishing the calls in flight" in err
    assert out.count("created") >= 2
    assert out.count("the run was interrupted") == 4
    assert stores(workspace) == 2
    goes_on(workspace)
    assert stores(workspace) == 6


def test_an_interrupted_apply_has_recorded_what_was_in_flight_and_released_the_lock(
    workspace: Workspace,
) -> None:
    workspace.write({"s.yaml": STORES}).emulator.add_fault(
        "on=POST:/vector_stores,do=hang:1000,times=2,when=after"
    )
    process = start(workspace, "apply", "--yes", "--parallelism", "2")
    until(process, begun(workspace, 2))
    ended(process, signal.SIGTERM)
    with StateStore.open_for_reading(
        workspace.folder / ".reconciler", stack="stack", environment="default"
    ) as state:
        assert (len(state.records()), state.runs.unfinished(), state.holder()) == (2, [], None)


WAITS = {
    "for its turn": ("on=POST:/vector_stores,do=retry-after:100,times=0", [POSTED]),
    "before trying again": (
        "on=GET:/vector_stores,do=error:503,times=0,skip=1",
        [POSTED, "GET /vector_stores"],
    ),
    "until a lost object can be found": (
        "on=POST:/vector_stores,do=reset",
        [POSTED, "GET /vector_stores"],
    ),
}


@pytest.mark.parametrize(("fault", "calls"), WAITS.values(), ids=WAITS.keys())
def test_an_apply_that_waits_wakes_up_at_once(
    workspace: Workspace, fault: str, calls: list[str]
) -> None:
    workspace.variables["RECONCILER_SETTLE_SECONDS"] = "100"
    workspace.write({"s.yaml": STORE.format("s")}).emulator.add_fault(fault)
    workspace.emulator.add_fault("on=POST:/vector_stores,do=reset")
    process = start(workspace, "apply", "--yes")
    until(process, seen(workspace, *calls))
    assert ended(process, signal.SIGINT)[0] == 130
    workspace.variables["RECONCILER_SETTLE_SECONDS"] = "1"
    goes_on(workspace)
    assert stores(workspace) == 1


def test_an_apply_that_waits_for_indexing_wakes_up_at_once(workspace: Workspace) -> None:
    workspace.write({"s.yaml": FOLDER, "docs/a.md": "a"}).emulator.set_options(
        index_delay_ms=AGES_MS
    )
    process = start(workspace, "apply", "--yes")
    until(
        process,
        lambda: any(r.method == "GET" and "/files/" in r.path for r in workspace.emulator.requests),
    )
    code, out, _ = ended(process, signal.SIGINT)
    assert (code, "interrupted while it was under way" in " ".join(out.split())) == (130, True)
    goes_on(workspace)
    assert stores(workspace) == 1


@pytest.mark.parametrize(
    ("command", "number"),
    [("plan", signal.SIGINT), ("apply", signal.SIGTERM)],
    ids=["plan", "apply"],
)
def test_reading_is_given_up_at_once(
    workspace: Workspace, command: str, number: signal.Signals
) -> None:
    workspace.write({"s.yaml": STORES, "p.yaml": PROJECT, "a.yaml": AGENT})
    workspace.emulator.add_fault(f"on=GET:*,do=hang:{AGES_MS},times=0,skip=1")
    process = start(workspace, command)
    until(
        process,
        lambda: len(workspace.emulator.requests) + workspace.emulator.requests_in_flight >= 3,
    )
    code, out, err = ended(process, number)
    assert (code, out) == (130, "")
    assert "Interrupted" in err
    workspace.emulator.clear_faults()
    assert "taken over" not in workspace.apply().err


TAKE = """\
#!/bin/sh
cat > taken.$$
touch begun
sleep {seconds}
"""


def taking(workspace: Workspace, seconds: int) -> Process:
    """An apply whose key is being taken by a command."""
    workspace.write({"a.yaml": PROJECT, "b.yaml": ACCOUNT, "take": TAKE.format(seconds=seconds)})
    (workspace.folder / "take").chmod(0o700)
    process = start(workspace, "apply", "--yes")
    until(process, (workspace.folder / "begun").exists)
    return process


def keys(workspace: Workspace) -> int:
    """How many keys there are, that of the default project not counted."""
    with workspace.emulator.store.lock:
        return len(list(workspace.emulator.store.all("api_key"))) - 1


def test_a_command_that_takes_a_key_may_end(workspace: Workspace) -> None:
    code, out, _ = ended(taking(workspace, 1), signal.SIGINT)
    assert (code, "interrupted while" in out) == (130, False)
    assert workspace.plan().code == 0
    assert keys(workspace) == 1


def test_a_command_that_does_not_end_is_ended_and_its_key_replaced(workspace: Workspace) -> None:
    code, out, _ = ended(taking(workspace, 100), signal.SIGINT)
    assert (code, "interrupted while it was under way" in " ".join(out.split())) == (130, True)
    workspace.write({"take": TAKE.format(seconds=0)})
    goes_on(workspace)
    assert keys(workspace) == 1


def test_a_second_signal_leaves_at_once_although_connections_hang(workspace: Workspace) -> None:
    workspace.write({"s.yaml": STORES})
    workspace.emulator.add_fault(f"on=POST:/vector_stores,do=hang:{AGES_MS},times=0,when=after")
    process = start(workspace, "apply", "--yes")
    until(process, begun(workspace, 6))
    code, out, err = ended(process, signal.SIGINT, signal.SIGTERM)
    assert (code, "Apply" in out) == (130, False)
    assert "Run the same command again" in err
    workspace.emulator.clear_faults()
    assert "Taking over the lock" in workspace.apply().err
    assert (stores(workspace), workspace.plan().code) == (6, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_the_search_after_a_lost_answer_while_the_server_is_gone(
    workspace: Workspace, number: signal.Signals
) -> None:
    workspace.write({"a.yaml": AGENT}).emulator.add_fault(
        "on=POST:/agents,do=reset,when=after,then=100000"
    )
    process = start(workspace, "apply", "--yes")
    until(process, lost(workspace, 3))
    code, out, _ = ended(process, number)
    assert (code, "interrupted" in out) == (130, True)
    goes_on(workspace)


def lost(workspace: Workspace, count: int) -> Callable[[], bool]:
    """Whether so many requests have had no answer."""
    return lambda: (
        len([request for request in workspace.emulator.requests if request.status == 0]) >= count
    )
