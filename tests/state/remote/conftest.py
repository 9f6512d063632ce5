"""States behind every storage, for tests that hold for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.state import StateStore
from reconciler.state.encryption import NoEncryption
from reconciler.state.remote.embedded import EmbeddedStorage
from reconciler.state.remote.objects.storage import ObjectStorage
from reconciler.state.remote.opening import open_log
from reconciler.state.remote.postgres.storage import PostgresStorage
from reconciler.state.remote.storage import LogStorage
from tests.servers.object_stores import Place
from tests.servers.postgres import Database, PgBouncer

Open = Callable[..., StateStore]
NewStorage = Callable[[], LogStorage]
STACK, ENVIRONMENT = "acme", "prod"
STORAGES = ("file", "postgres", "pgbouncer", "s3", "azure")


@pytest.fixture(params=STORAGES)
def new_storage(request: pytest.FixtureRequest, tmp_path: Path) -> NewStorage:
    """Makes storages of one and the same log."""
    if request.param == "file":
        return lambda: EmbeddedStorage(tmp_path / "log.db")
    if request.param in ("s3", "azure"):
        place: Place = request.getfixturevalue(f"{request.param}_place")
        return lambda: ObjectStorage(place.url, stack=STACK, environment=ENVIRONMENT, env=place.env)
    database: Database = request.getfixturevalue("database")
    port = 0
    if request.param == "pgbouncer":
        bouncer: PgBouncer = request.getfixturevalue("pgbouncer")
        port = bouncer.port
    url = database.url(port=port)
    return lambda: PostgresStorage(url, stack=STACK, environment=ENVIRONMENT)


@pytest.fixture
def open_state(new_storage: NewStorage) -> Iterator[Open]:
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
