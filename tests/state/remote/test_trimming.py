"""A log is shortened, and yet no run that was replaced finds its next number free."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import LeaseLostError
from reconciler.model.address import Address
from reconciler.state import StateStore
from reconciler.state.encryption import NoEncryption
from reconciler.state.remote.embedded import EmbeddedStorage
from reconciler.state.remote.opening import open_log

ADDRESS = Address.parse("Project/search")
WRITES_OF_A_LONG_RUN = 150


def open_at(path: Path) -> StateStore:
    return open_log(
        EmbeddedStorage(path),
        NoEncryption(),
        stack="acme",
        environment="prod",
        lease_seconds=30.0,
        clock=time.time,
    )


def numbers(path: Path) -> list[int]:
    return [segment.number for segment in EmbeddedStorage(path).tail(0).segments]


def write_much(path: Path) -> None:
    """Runs long enough to replace the first snapshot, and so to trim the log."""
    for _ in range(3):
        with open_at(path) as store, store.lock(command="apply", on_takeover=lambda _: None):
            for number in range(WRITES_OF_A_LONG_RUN):
                store.runs.journal(1).begin(ADDRESS, "create", {"number": number}, change=None)


def be_unlocked(path: Path, act: Callable[[], None]) -> None:
    """Hold the lock, lose it to somebody else, and act."""
    with (
        open_at(path) as store,
        open_at(path) as other,
        store.lock(command="apply", on_takeover=lambda _: None),
    ):
        other.unlock()
        act()
        store.remarks.put("name", "value")


def test_the_number_after_the_last_of_a_run_that_was_unlocked_stays_taken(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    taken: list[int] = []

    def go_on() -> None:
        taken.append(max(numbers(path)))
        write_much(path)

    with pytest.raises(LeaseLostError):
        be_unlocked(path, go_on)
    kept = numbers(path)
    assert (taken[0] in kept, taken[0] - 1 in kept, taken[0] + 1 in kept) == (True, False, False)
