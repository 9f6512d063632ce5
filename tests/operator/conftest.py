"""A bed for tests of the operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.emulator import Emulator
from tests.operator.bed import Bed
from tests.servers.fake_cluster import FakeCluster


@pytest.fixture
def fake_cluster() -> Iterator[FakeCluster]:
    """An empty cluster."""
    with FakeCluster() as cluster:
        yield cluster


@pytest.fixture
def bed(tmp_path: Path, fake_cluster: FakeCluster, emulator: Emulator) -> Iterator[Bed]:
    """An operator on an empty cluster, with a manifest of one project and no Stack."""
    bed = Bed(tmp_path, fake_cluster, emulator)
    bed.declare()
    yield bed
    bed.kube.close()
