"""Announced notices are remembered in every storage of fleet histories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.errors import StateError
from reconciler.fleet.history import FleetHistory
from reconciler.fleet.notice_memory import StoredNoticeMemory
from reconciler.state.fleet_history import HistoryStorage, LocalHistory
from reconciler.state.remote.postgres.history import PostgresHistory

Open = Callable[[], HistoryStorage]


@pytest.fixture(params=["local", pytest.param("postgres", marks=pytest.mark.slow)])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the storage, as each run does."""
    opened: list[HistoryStorage] = []
    address = request.getfixturevalue("database").url() if request.param == "postgres" else ""

    def open_storage() -> HistoryStorage:
        opened.append(PostgresHistory(address) if address else LocalHistory(tmp_path))
        return opened[-1]

    yield open_storage
    for storage in opened:
        storage.close()


def test_it_remembers_across_runs(opening: Open) -> None:
    StoredNoticeMemory(opening()).announce("a", {"x": {"drift": "1"}, "y": {"failed": "2"}})
    StoredNoticeMemory(opening()).announce("a", {"y": {}})
    assert StoredNoticeMemory(opening()).announced("a") == {"x": {"drift": "1"}}
    assert StoredNoticeMemory(opening()).announced("b") == {}


def test_it_is_no_history_of_a_stack(opening: Open) -> None:
    storage = opening()
    StoredNoticeMemory(storage).announce("a", {"x": {"drift": "1"}})
    assert list(FleetHistory(storage).read()) == []


def test_runs_at_the_same_time_lose_nothing(opening: Open) -> None:
    def announce(number: int) -> None:
        StoredNoticeMemory(opening()).announce("a", {f"stack-{number}": {"drift": "1"}})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(announce, range(8)))
    assert len(StoredNoticeMemory(opening()).announced("a")) == 8


def test_a_damaged_memory_is_an_error(opening: Open) -> None:
    storage = opening()
    storage.update(".notices", "a", lambda _: b"{")
    with pytest.raises(StateError, match="cannot be read"):
        StoredNoticeMemory(storage).announced("a")
