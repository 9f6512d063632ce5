"""Unmanaged objects are listed on request, in every format of plan and drift."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.cli.test_plan_and_apply import ASSISTANT
from tests.conftest import Workspace

BETA = {"OpenAI-Beta": "assistants=v2"}


@pytest.fixture
def with_a_stray(workspace: Workspace) -> tuple[Workspace, str]:
    """A stack that was applied, and the id of an assistant that somebody made by hand."""
    workspace.declare(ASSISTANT).apply()
    headers = {"Authorization": f"Bearer {workspace.emulator.api_key}", **BETA}
    made = httpx.post(
        f"{workspace.emulator.base_url}/assistants",
        json={"model": "gpt-4o", "name": "Stray"},
        headers=headers,
    )
    return workspace, made.json()["id"]


@pytest.mark.parametrize("name", ["text", "markdown", "json"])
@pytest.mark.parametrize("command", ["plan", "drift"])
def test_an_object_that_nobody_declares_is_listed(
    with_a_stray: tuple[Workspace, str], command: str, name: str
) -> None:
    workspace, id = with_a_stray
    done = workspace.run(command, "--unmanaged", "--format", name)
    assert id in done.out
    assert "Stray" in done.out
    assert id not in workspace.run(command, "--format", name).out


@pytest.mark.parametrize("name", ["text", "markdown", "json"])
def test_unmanaged_objects_are_in_a_shown_saved_plan(
    with_a_stray: tuple[Workspace, str], name: str
) -> None:
    workspace, id = with_a_stray
    workspace.run("plan", "--unmanaged", "--out", "p.json", expect=0)
    assert id in workspace.run("show", "p.json", "--format", name, expect=0).out


def test_a_plan_that_reads_nothing_lists_nothing_and_says_so(workspace: Workspace) -> None:
    workspace.declare(ASSISTANT)
    refused = workspace.run("plan", "--unmanaged", "--refresh", "none", expect=1).err
    assert "--refresh none reads nothing" in refused


def test_a_plan_of_targets_cannot_list_everything(workspace: Workspace) -> None:
    workspace.declare(ASSISTANT)
    refused = workspace.run("plan", "--unmanaged", "--target", "Assistant/bot", expect=1).err
    assert "--target plans a part" in refused


def test_unmanaged_objects_are_no_change(with_a_stray: tuple[Workspace, str]) -> None:
    workspace, _ = with_a_stray
    done = workspace.run(
        "plan", "--unmanaged", "--detailed-exitcode", "--report", "r.json:json", expect=0
    )
    assert "No changes." in done.out
    unmanaged = json.loads((workspace.folder / "r.json").read_text())["reconciler"]["unmanaged"]
    assert [item["label"] for item in unmanaged if item["kind"] == "Assistant"] == ["Stray"]
