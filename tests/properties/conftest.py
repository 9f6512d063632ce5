"""The bench, one for each module of properties."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.emulator import Emulator
from tests.properties.bench import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Emulator() as emulator:
        shared = Bench(emulator, Path(tmp_path_factory.mktemp("stacks")))
        yield shared
        shared.client.close()
