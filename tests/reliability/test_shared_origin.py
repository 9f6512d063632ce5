"""A shared state is used with the organization that its objects live in, and with no other."""

from __future__ import annotations

import pytest

from reconciler.emulator import Emulator, EmulatorOptions
from tests.conftest import Workspace
from tests.reliability.backends import SharedBackend
from tests.reliability.scenarios import document


@pytest.mark.parametrize("command", [("plan",), ("apply", "--yes"), ("destroy", "--yes")])
def test_a_shared_state_is_refused_in_another_organization(
    workspace: Workspace, some_backend: SharedBackend, command: tuple[str, ...]
) -> None:
    workspace.variables.update(some_backend.variables())
    workspace.declare(document("Assistant", "bot", "name: Bot, model: gpt-4.1")).apply()
    with Emulator(EmulatorOptions(organization="org-rival")) as rival:
        refused = workspace.run(*command, "--base-url", rival.base_url, expect=1).err
        assert "the state belongs to the organization org-emulator" in refused
        assert "the keys in use are of the organization org-rival" in refused
        assert [call.path for call in rival.requests if call.method != "GET"] == []
