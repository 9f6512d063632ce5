"""In strict mode, what somebody adds to fields that no manifest sets is drift, and apply takes it away."""

from __future__ import annotations

from collections.abc import Iterator

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


@pytest.mark.parametrize("name", ["Agent", "Assistant", "Automation", "Project", "Role", "Vault"])
def test_an_applied_example_is_at_its_defaults(workspace: Workspace, name: str) -> None:
    stack = FILES["reconciler.yaml"].replace("spec: {", "spec: {strict: true, ")
    workspace.write({**FILES, "reconciler.yaml": stack, "a.yaml": whole_example(KINDS[name])})
    workspace.apply()
    assert workspace.plan().code == 0
