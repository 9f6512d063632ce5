"""The bench, one for each module of properties."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.emulator import Emulator

pytest.register_assert_rewrite("tests.properties.bench")

from tests.properties.bench import Bench  # noqa: E402 - its asserts are rewritten only if that is asked for before


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Emulator() as emulator:
        shared = Bench(emulator, Path(tmp_path_factory.mktemp("stacks")))
        yield shared
        shared.client.close()
