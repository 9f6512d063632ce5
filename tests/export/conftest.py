"""An organization made by hand, restored for each test, and a folder without a stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator import Emulator
from tests.conftest import Workspace
from tests.export.organization import Api, made_by_hand


@pytest.fixture(scope="session")
def handmade() -> Iterator[tuple[Api, Any]]:
    """The organization on a server that all tests share, and a snapshot of it."""
    with Emulator() as running:
        api = made_by_hand(running)
        yield api, running.snapshot()


@pytest.fixture
def organization(handmade: tuple[Api, Any]) -> Api:
    """The organization as it was made, whatever an earlier test did to it."""
    api, snapshot = handmade
    api.emulator.restore(snapshot)
    api.emulator.clear_faults()
    api.emulator.clear_requests()
    return api


@pytest.fixture
def folder(tmp_path: Path, organization: Api) -> Workspace:
    """An empty folder, and the keys of the organization."""
    root = tmp_path / "acme"
    root.mkdir()
    return Workspace(root, organization.emulator)
