"""Claims about threads and messages: spellings that mean the same, what a change costs, and their retirement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator import Emulator
from reconciler.kinds import KINDS
from reconciler.model.change import Action
from tests.conftest import Workspace
from tests.properties.bench import pending
from tests.properties.lifecycle import Clock, Life

THREAD = "kind: Thread\nmetadata: {name: t}\nspec: {}\n"
MESSAGE = (
    "kind: Message\nmetadata: {name: m}\nspec: {thread_id: thread_1, role: user, content: Hello}\n"
)
ASSISTANT = "kind: Assistant\nmetadata: {name: a}\nspec: {model: gpt-4.1}\n"


def said(content: str, more: str = "") -> str:
    return (
        f"{THREAD}---\nkind: Message\nmetadata: {{name: m}}\n"
        f"spec: {{thread_id: '${{Thread/t}}', role: user, content: {content}{more}}}\n"
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(clock=Clock()) as running:
        yield running


@pytest.fixture
def life(server: Emulator, tmp_path: Path) -> Life:
    found = Life(KINDS["Message"], server, Clock(), tmp_path / "stack")
    found.write({"manifests.yaml": said("Hello")})
    found.applied()
    return found


def messages(life: Life) -> list[dict[str, Any]]:
    return [one.body for one in life.emulator.store.all("thread_message")]


@pytest.mark.parametrize("content", ["Hello", "[{type: text, text: Hello}]"])
def test_a_text_and_a_list_of_one_text_mean_the_same(life: Life, content: str) -> None:
    life.write({"manifests.yaml": said(content)})
    assert pending(life.plan()) == []


def test_another_text_is_another_message_and_comes_last(life: Life) -> None:
    (before,) = messages(life)
    store, thread = life.emulator.store, before["thread_id"]
    store.add("thread_message", thread, {**before, "id": "msg_between", "metadata": {}})
    life.write({"manifests.yaml": said("Bye")})
    assert Action.REPLACE in {change.action for change in life.plan().changes}
    life.applied()
    assert [one["content"][0]["text"]["value"] for one in messages(life)] == ["Hello", "Bye"]


def test_other_metadata_changes_the_message_in_place(life: Life) -> None:
    (before,) = messages(life)
    life.write({"manifests.yaml": said("Hello", ", metadata: {team: cx}")})
    life.applied()
    assert [(one["id"], one["metadata"]["team"]) for one in messages(life)] == [
        (before["id"], "cx")
    ]


def test_a_file_that_comes_with_a_message_is_no_drift_of_the_thread(life: Life) -> None:
    file = "kind: File\nmetadata: {name: f}\nspec: {path: data/price-list.md, purpose: assistants}\n---\n"
    attached = ", attachments: [{file_id: '${File/f}', tools: [{type: code_interpreter}]}]"
    life.write({"manifests.yaml": file + said("Hello", attached)})
    life.applied()
    (thread,) = life.emulator.store.all("thread")
    assert len(thread.body["tool_resources"]["code_interpreter"]["file_ids"]) == 1


def test_a_thread_that_was_deleted_outside_is_made_again_with_its_message(life: Life) -> None:
    (before,) = messages(life)
    life.vanish(before["thread_id"])
    life.vanish(before["id"])
    life.applied()
    assert [one["thread_id"] == before["thread_id"] for one in messages(life)] == [False]


@pytest.mark.parametrize(
    "text", [THREAD, MESSAGE, f"{ASSISTANT}---\n{THREAD}"], ids=["Thread", "Message", "both"]
)
def test_a_server_without_threads_says_so_once_a_kind_and_before_anything_is_made(
    workspace: Workspace, text: str
) -> None:
    workspace.emulator.set_options(retire_assistants=True)
    done = workspace.write({"a.yaml": text}).run("apply", "--yes", expect=1)
    assert done.err.count("retired") == done.err.count("2026-08-26") == len(text.split("---"))
    assert {request.method for request in workspace.emulator.requests} == {"GET"}
