"""Strict mode: additions to fields that no manifest sets are drift, and apply removes them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from reconciler.kinds import KINDS
from tests.cli.test_accept import Live
from tests.conftest import Workspace
from tests.whole_examples import FILES, whole_example

BOT = "kind: Assistant\nmetadata: {name: bot}\nspec: {name: Bot, model: gpt-4o}\n"
STRICT = f"{BOT}lifecycle: {{strict: true}}\n"
BY_HAND = {"instructions": "Say yes to everything.", "tools": [{"type": "code_interpreter"}]}


@pytest.fixture
def live(workspace: Workspace) -> Iterator[Live]:
    hand = Live(workspace)
    yield hand
    hand.close()


def test_a_field_that_somebody_set_by_hand_is_drift_and_the_rule_is_named(
    workspace: Workspace, live: Live
) -> None:
    workspace.declare(STRICT).apply()
    assert workspace.run("drift").code == 0
    live.change("Assistant/bot", **BY_HAND)
    drift = workspace.run("drift", expect=2).out
    assert "Say yes to everything." in drift
    assert "code_interpreter" in drift
    assert "strict: no manifest sets it" in drift


def test_apply_puts_the_fields_back_and_nothing_is_left_to_do(
    workspace: Workspace, live: Live
) -> None:
    workspace.declare(STRICT).apply()
    live.change("Assistant/bot", **BY_HAND)
    workspace.apply()
    [assistant] = workspace.emulator.store.all("assistant")
    assert assistant.body["instructions"] is None
    assert assistant.body["tools"] == []
    assert assistant.body["metadata"]["reconciler"]
    assert workspace.plan().code == 0
    assert workspace.run("drift").code == 0


def test_without_strict_mode_such_a_field_is_the_apis_to_choose(
    workspace: Workspace, live: Live
) -> None:
    workspace.declare(BOT).apply()
    live.change("Assistant/bot", **BY_HAND)
    assert workspace.plan().code == 0
    assert workspace.run("drift").code == 0


def test_the_stack_makes_all_resources_strict_but_those_that_say_otherwise(
    workspace: Workspace, live: Live
) -> None:
    loose = f"{BOT}lifecycle: {{strict: false}}\n".replace("bot", "loose")
    workspace.write({"reconciler.yaml": "kind: Stack\nspec: {strict: true}\n"})
    workspace.declare(BOT, loose).apply()
    live.change("Assistant/bot", **BY_HAND)
    live.change("Assistant/loose", **BY_HAND)
    drift = workspace.run("drift", expect=2).out
    assert "Assistant/bot" in drift
    assert "Assistant/loose" not in drift


def test_ignored_fields_stay_ignored(workspace: Workspace, live: Live) -> None:
    manifest = f"{BOT}lifecycle: {{strict: true, ignore_changes: [instructions, tools]}}\n"
    workspace.declare(manifest).apply()
    live.change("Assistant/bot", **BY_HAND)
    assert workspace.plan().code == 0
    assert workspace.run("drift").code == 0


def test_metadata_of_others_goes_and_our_mark_stays(workspace: Workspace, live: Live) -> None:
    workspace.declare(STRICT).apply()
    live.change("Assistant/bot", metadata={"owner": "nobody"})
    workspace.apply()
    [assistant] = workspace.emulator.store.all("assistant")
    assert list(assistant.body["metadata"]) == ["reconciler"]


def test_what_strict_mode_finds_can_be_accepted(workspace: Workspace, live: Live) -> None:
    workspace.declare(STRICT).apply()
    live.change("Assistant/bot", instructions="Be kind.")
    workspace.run("accept", "--all", "--yes", expect=0)
    text = (workspace.folder / "manifests.yaml").read_text()
    assert "{name: Bot, model: gpt-4o, instructions: Be kind.}" in text
    assert workspace.plan().code == 0


LIMIT = """
kind: Project
metadata: {name: search}
spec: {name: Search}
---
kind: RateLimit
metadata: {name: chat, project: search}
spec: {model: gpt-5.4, max_requests_per_1_minute: 100}
lifecycle: {strict: true}
"""
SEARCHING = """
kind: Assistant
metadata: {name: bot}
spec: {name: Bot, model: gpt-5.4, tools: [{type: file_search}]}
lifecycle: {strict: true}
"""
WIDER = {"tools": [{"type": "file_search", "file_search": {"max_num_results": 50}}]}


def tokens(workspace: Workspace) -> int:
    emulator = workspace.emulator
    project = workspace.run("state", "show", "Project/search", "--format", "json").out
    path = f"/organization/projects/{json.loads(project)['id']}/rate_limits?limit=100"
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    listed = httpx.get(emulator.base_url + path, headers=headers).json()["data"]
    return next(int(row["max_tokens_per_1_minute"]) for row in listed if row["model"] == "gpt-5.4")


def test_a_field_without_a_default_that_moved_is_drift_and_goes_back(
    workspace: Workspace, live: Live
) -> None:
    workspace.declare(LIMIT).apply()
    before = tokens(workspace)
    live.change_limit("Project/search", "gpt-5.4", max_tokens_per_1_minute=7)
    drift = workspace.run("drift", expect=2).out
    assert "max_tokens_per_1_minute" in drift
    assert "strict: no manifest sets it, and it moved since the last apply" in drift
    workspace.apply()
    assert tokens(workspace) == before
    assert workspace.plan().code == 0
    assert workspace.run("drift").code == 0


def test_a_part_inside_a_declared_field_that_moved_is_drift_and_goes_back(
    workspace: Workspace, live: Live
) -> None:
    workspace.declare(SEARCHING).apply()
    assert workspace.plan().code == 0
    live.change("Assistant/bot", **WIDER)
    drift = workspace.run("drift", expect=2).out
    assert "max_num_results" in drift
    assert "strict: no manifest sets it, and it moved since the last apply" in drift
    workspace.apply()
    [assistant] = workspace.emulator.store.all("assistant")
    assert "max_num_results" not in assistant.body["tools"][0]["file_search"]
    assert workspace.plan().code == 0


def test_such_a_part_is_the_apis_to_choose_without_strict_mode(
    workspace: Workspace, live: Live
) -> None:
    workspace.declare(SEARCHING.replace("strict: true", "strict: false")).apply()
    live.change("Assistant/bot", **WIDER)
    assert workspace.plan().code == 0
    assert workspace.run("drift").code == 0


def test_an_ignored_part_stays_ignored(workspace: Workspace, live: Live) -> None:
    ignoring = "strict: true, ignore_changes: [tools]"
    workspace.declare(SEARCHING.replace("strict: true", ignoring)).apply()
    live.change("Assistant/bot", **WIDER)
    assert workspace.run("drift").code == 0


def test_strict_mode_begins_with_what_the_first_apply_sees(
    workspace: Workspace, live: Live
) -> None:
    workspace.declare(LIMIT.replace("strict: true", "strict: false")).apply()
    live.change_limit("Project/search", "gpt-5.4", max_tokens_per_1_minute=7)
    workspace.declare(LIMIT)
    assert workspace.plan().code == 0
    workspace.apply()
    live.change_limit("Project/search", "gpt-5.4", max_tokens_per_1_minute=8)
    workspace.apply()
    assert tokens(workspace) == 7


def test_a_moved_field_can_be_accepted(workspace: Workspace, live: Live) -> None:
    workspace.declare(LIMIT).apply()
    live.change_limit("Project/search", "gpt-5.4", max_tokens_per_1_minute=7)
    workspace.run("accept", "--all", "--yes", expect=0)
    assert "max_tokens_per_1_minute: 7" in (workspace.folder / "manifests.yaml").read_text()
    assert workspace.plan().code == 0
    assert workspace.run("drift").code == 0


def test_a_moved_part_can_be_accepted(workspace: Workspace, live: Live) -> None:
    workspace.declare(SEARCHING).apply()
    live.change("Assistant/bot", **WIDER)
    workspace.run("accept", "--all", "--yes", expect=0)
    assert "max_num_results: 50" in (workspace.folder / "manifests.yaml").read_text()
    assert workspace.plan().code == 0
    assert workspace.run("drift").code == 0


def test_a_saved_plan_puts_a_moved_field_back(workspace: Workspace, live: Live) -> None:
    workspace.declare(LIMIT).apply()
    before = tokens(workspace)
    live.change_limit("Project/search", "gpt-5.4", max_tokens_per_1_minute=7)
    workspace.run("plan", "--out", "saved.plan", expect=0)
    workspace.run("apply", "saved.plan", "--yes", expect=0)
    assert tokens(workspace) == before


@pytest.mark.parametrize(
    "name",
    [
        "Agent",
        "Assistant",
        "Automation",
        "EnvironmentTemplate",
        "FederationRule",
        "HostedTools",
        "Project",
        "RateLimit",
        "Role",
        "ServiceAccount",
        "ServiceTier",
        "Vault",
        "Webhook",
    ],
)
def test_an_applied_example_is_at_its_defaults(workspace: Workspace, name: str) -> None:
    stack = FILES["reconciler.yaml"].replace("spec: {", "spec: {strict: true, ")
    workspace.write({**FILES, "reconciler.yaml": stack, "a.yaml": whole_example(KINDS[name])})
    workspace.apply()
    assert workspace.plan().code == 0
