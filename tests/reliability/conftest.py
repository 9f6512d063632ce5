"""Backends for trials, each behind a proxy of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.reliability.backends import (
    Backend,
    BucketBackend,
    EncryptedBackend,
    PostgresBackend,
    SharedBackend,
)
from tests.reliability.processes import Mortals
from tests.servers.object_stores import Place
from tests.servers.postgres import Database, PgBouncer
from tests.servers.proxy import Proxy
from tests.soak import BACKENDS

SHARED = ["postgres", "s3", *(["pgbouncer", "azure"] if BACKENDS else [])]


@pytest.fixture(scope="module")
def mortals() -> Iterator[Mortals]:
    with Mortals() as running:
        yield running


@pytest.fixture(scope="module")
def successors() -> Iterator[Mortals]:
    """Another machine."""
    with Mortals() as running:
        yield running


@pytest.fixture(params=["encrypted", *SHARED])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each backend but the plain file, which has tests of its own."""
    with ExitStack() as running:
        if request.param == "encrypted":
            yield EncryptedBackend.new(tmp_path)
        else:
            yield _shared(request.param, request, running)


@pytest.fixture(params=SHARED)
def shared_backend(request: pytest.FixtureRequest) -> Iterator[SharedBackend]:
    """Each backend that several machines share."""
    with ExitStack() as running:
        yield _shared(request.param, request, running)


@pytest.fixture(params=SHARED if BACKENDS else ["postgres"])
def some_backend(request: pytest.FixtureRequest) -> Iterator[SharedBackend]:
    """A shared backend, for what depends little on which one it is."""
    with ExitStack() as running:
        yield _shared(request.param, request, running)


def _shared(name: str, request: pytest.FixtureRequest, running: ExitStack) -> SharedBackend:
    if name in ("s3", "azure"):
        place: Place = request.getfixturevalue(f"{name}_place")
        netloc = urlsplit(place.endpoint)
        target = (str(netloc.hostname), int(netloc.port or 0))
        return BucketBackend(place, running.enter_context(Proxy(target)), name)
    database: Database = request.getfixturevalue("database")
    port = database.port
    if name == "pgbouncer":
        pooler: PgBouncer = request.getfixturevalue("pgbouncer")
        port = pooler.port
    return PostgresBackend(database, running.enter_context(Proxy(("127.0.0.1", port))), name)
