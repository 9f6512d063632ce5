"""The control plane over plain HTTP, for changes by other people."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import Workspace

pytest.register_assert_rewrite("tests.properties.bench", "tests.properties.lifecycle")


@pytest.fixture
def admin(workspace: Workspace) -> Iterator[httpx.Client]:
    """A client with the admin key of the workspace's emulator."""
    emulator = workspace.emulator
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    # No request is encrypted, so the time it takes to load certificates is saved.
    with httpx.Client(base_url=emulator.base_url, headers=headers, verify=False) as client:
        yield client
