"""States behind every storage, for tests that hold for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.state import StateStore
from reconciler.state.encryption import NoEncryption
from reconciler.state.remote.embedded import EmbeddedStorage
from reconciler.state.remote.opening import open_log
from reconciler.state.remote.storage import LogStorage

Open = Callable[..., StateStore]
STACK, ENVIRONMENT = "acme", "prod"


@pytest.fixture(params=["file"])
def new_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], LogStorage]:
    """Makes storages of one and the same log."""
    assert request.param == "file"
    return lambda: EmbeddedStorage(tmp_path / "log.db")


@pytest.fixture
def open_state(new_storage: Callable[[], LogStorage]) -> Iterator[Open]:
    """Opens the state again and again, as runs on several machines would."""
    opened: list[StateStore] = []

    def open_one(
        *, lease_seconds: float = 30.0, clock: Callable[[], float] = time.time
    ) -> StateStore:
        store = open_log(
            new_storage(),
            NoEncryption(),
            stack=STACK,
            environment=ENVIRONMENT,
            lease_seconds=lease_seconds,
            clock=clock,
        )
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()
