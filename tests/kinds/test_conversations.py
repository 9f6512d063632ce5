"""Conversations cannot be listed, so only the id in the state finds one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.test_plan_and_apply import user
from tests.conftest import Workspace

CONVERSATION = """\
kind: Conversation
metadata: {name: welcome}
spec:
  items: [{role: developer, content: Be brief.}, {role: assistant, content: Yes.}]
  metadata: {team: cx}
"""


@pytest.fixture
def talk(workspace: Workspace) -> Workspace:
    workspace.write({"c.yaml": CONVERSATION}).apply()
    return workspace


def get(workspace: Workspace, path: str = "", **sent: Any) -> dict[str, Any]:
    """The one conversation, or what is below it, after a change where one is sent."""
    (one,) = workspace.emulator.store.all("conversation")
    with user(workspace) as client:
        answer = (
            client.post(f"/conversations/{one.id}", json=sent)
            if sent
            else client.get(f"/conversations/{one.id}{path}")
        )
        found: dict[str, Any] = answer.json()
        return found


def test_a_conversation_begins_with_its_items(talk: Workspace) -> None:
    items = get(talk, "/items?order=asc")["data"]
    assert [(item["role"], item["content"][0]["text"]) for item in items] == [
        ("developer", "Be brief."),
        ("assistant", "Yes."),
    ]


def test_other_items_are_a_warning_and_no_other_conversation(talk: Workspace) -> None:
    talk.write({"c.yaml": CONVERSATION.replace("Be brief.", "Be long.")})
    done = talk.plan()
    assert done.code == 0
    assert "items can only be set at creation" in done.out + done.err


def test_a_label_that_somebody_changed_is_drift_and_is_put_back(talk: Workspace) -> None:
    get(talk, metadata={**get(talk)["metadata"], "team": "other"})
    assert 'team: "cx" → "other"' in talk.run("drift", expect=2).out
    talk.apply()
    assert get(talk)["metadata"]["team"] == "cx"


def test_a_conversation_that_was_deleted_outside_is_made_again(talk: Workspace) -> None:
    before = get(talk)["id"]
    with user(talk) as client:
        client.delete(f"/conversations/{before}")
    talk.apply()
    assert get(talk)["id"] != before
    assert talk.plan().code == 0
