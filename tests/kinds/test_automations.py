"""Automations pause by a call of their own, and some changes replace them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import Workspace

PERIODIC = "type: periodic, expression: 0 8 * * 1, timezone: UTC"
ONCE = "type: once, run_at: 4000000000"
SESSION = "{type: existing_session, session_id: s, instructions: Wake up.}"
AGENT = "kind: Agent\nmetadata: {name: a}\nspec: {model: gpt-5.1}\n"
NEW = "{type: new_session, agent_id: '${Agent/a}', environment: {type: none}, input: []}"


def declare(
    workspace: Workspace, when: str = PERIODIC, target: str = SESSION, **more: str
) -> Workspace:
    fields = "".join(f", {name}: {value}" for name, value in more.items())
    spec = f"{{{when}, target: {target}{fields}}}"
    return workspace.write(
        {"a.yaml": f"{AGENT}---\nkind: Automation\nmetadata: {{name: it}}\nspec: {spec}\n"}
    )


def only(workspace: Workspace) -> dict[str, Any]:
    (found,) = workspace.emulator.store.all("automation")
    return found.body


def calls(workspace: Workspace) -> list[str]:
    """The writes since the last look, by the last word of their paths."""
    found = [
        item.path.rpartition("/")[2]
        for item in workspace.emulator.requests
        if item.method == "POST"
    ]
    workspace.emulator.clear_requests()
    return found


def test_an_automation_is_paused_and_resumed_by_calls_that_say_nothing_else(
    workspace: Workspace,
) -> None:
    declare(workspace, status="paused").apply()
    assert (only(workspace)["status"], set(calls(workspace))) == (
        "paused",
        {"agents", "automations", "pause"},
    )
    declare(workspace).apply()
    assert (only(workspace)["status"], calls(workspace)) == ("active", ["resume"])
    with httpx.Client(base_url=workspace.emulator.base_url, verify=False) as client:
        headers = {
            "Authorization": f"Bearer {workspace.emulator.api_key}",
            "OpenAI-Beta": "agents=v1",
        }
        client.post(f"/agents/automations/{only(workspace)['id']}/pause", headers=headers)
    declare(workspace, status="active", name="Other").apply()
    assert (only(workspace)["status"], only(workspace)["name"]) == ("active", "Other")
    assert workspace.plan().code == 0


@pytest.mark.parametrize(
    ("when", "target"), [(ONCE, SESSION), (PERIODIC, NEW)], ids=["type", "type of the target"]
)
def test_another_type_takes_another_automation(
    workspace: Workspace, when: str, target: str
) -> None:
    declare(workspace).apply()
    before = only(workspace)["id"]
    declare(workspace, when, target).apply()
    assert only(workspace)["id"] != before
    assert workspace.plan().code == 0


def test_a_completed_one_time_automation_is_no_difference(workspace: Workspace) -> None:
    declare(workspace, ONCE, status="active").apply()
    only(workspace)["status"] = "completed"
    assert workspace.plan().code == 0
