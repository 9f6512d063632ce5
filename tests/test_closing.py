"""What was opened is closed again if the next step of opening fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.transport.client import Client
from reconciler.app.session import Session
from reconciler.errors import StateError
from reconciler.manifests import Settings
from reconciler.state import StateStore
from reconciler.state.database import Database
from tests.conftest import Workspace


def failing(*_: Any, **__: Any) -> None:
    raise StateError("the disk is full")


def closings(monkeypatch: pytest.MonkeyPatch, type: Any) -> list[object]:
    """The objects of a type that are closed from now on."""
    closed: list[object] = []
    close: Callable[[Any], None] = type.close

    def noted(part: Any) -> None:
        closed.append(part)
        close(part)

    monkeypatch.setattr(type, "close", noted)
    return closed


@pytest.mark.parametrize("step", ["expect_declared", "follow_organization"])
def test_a_client_that_cannot_be_made_ready_is_closed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    closed = closings(monkeypatch, Client)
    monkeypatch.setattr(f"reconciler.app.api_access.{step}", failing)
    with Session(Settings(root=workspace.folder, env=workspace.environment)) as session:
        with pytest.raises(StateError):
            session.client.request("GET", "/files", key=session.keys.admin())
        assert len(closed) == 1


def test_a_state_file_that_cannot_be_begun_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = closings(monkeypatch, Database)
    monkeypatch.setattr("reconciler.state.identity.new_lineage", failing)
    with pytest.raises(StateError):
        StateStore.open(tmp_path, stack="search", environment="default")
    assert len(closed) == 1
