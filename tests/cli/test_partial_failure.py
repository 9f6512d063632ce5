"""Partial failures: the rest goes on, the report says why, and the next apply does only the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.test_plan_and_apply import writes
from tests.conftest import Workspace

STACK = {
    "m.yaml": """\
        kind: Project
        metadata: {name: search}
        spec: {name: Search}
        ---
        kind: VectorStore
        metadata: {name: docs}
        spec: {name: Docs, files: [{path: "docs/*.md"}]}
        ---
        kind: Assistant
        metadata: {name: bot}
        spec:
          model: gpt-4.1
          tools: [{type: file_search}]
          tool_resources: {file_search: {vector_store_ids: ["${VectorStore/docs}"]}}
        ---
        kind: Assistant
        metadata: {name: second}
        spec: {model: gpt-4.1, metadata: {next: "${Assistant/bot}"}}
        ---
        kind: Agent
        metadata: {name: agent}
        spec: {model: gpt-4.1}
        """,
    "docs/a.md": "a",
}
STATUSES = {
    "Project/search": "applied",
    "VectorStore/docs": "failed",
    "Assistant/bot": "skipped",
    "Assistant/second": "skipped",
    "Agent/agent": "applied",
}


@pytest.fixture
def broken(workspace: Workspace) -> Workspace:
    """A stack of which one object is refused."""
    workspace.write(STACK).emulator.add_fault("on=POST:/vector_stores,do=error:400,times=0")
    return workspace


def outcomes(workspace: Workspace, *, expect: int) -> dict[str, dict[str, Any]]:
    done = workspace.run("apply", "--yes", "--format", "json", expect=expect)
    return {
        outcome["address"]: outcome for outcome in json.loads(done.out)["reconciler"]["outcomes"]
    }


def test_independent_changes_continue_and_dependents_are_skipped(
    broken: Workspace,
) -> None:
    found = outcomes(broken, expect=13)
    assert {address: outcome["status"] for address, outcome in found.items()} == STATUSES
    assert found["Assistant/second"]["message"] == "VectorStore/docs did not go through"


def test_a_failure_has_the_message_and_the_request_id_of_the_api(broken: Workspace) -> None:
    failed = outcomes(broken, expect=13)["VectorStore/docs"]
    assert "answered 400: The server had an error" in failed["message"]
    assert failed["request_id"].startswith("req_")
    assert failed["request_id"] in failed["message"]


def test_the_report_for_people_lists_done_failed_and_skipped(broken: Workspace) -> None:
    report = broken.run("apply", "--yes", expect=13).out
    assert "Agent/agent        created" in report
    assert "[request req_" in report
    assert "skipped: VectorStore/docs did not go through" in report
    assert "2 applied, 1 failed, 2 skipped" in report


def test_the_next_apply_makes_only_the_remaining_changes(broken: Workspace) -> None:
    broken.run("apply", "--yes", expect=13)
    broken.emulator.clear_faults()
    broken.emulator.clear_requests()
    broken.apply()
    made = [path.split("/")[1] for _, path in writes(broken)]
    assert sorted(made) == ["assistants", "assistants", "files", "vector_stores", "vector_stores"]
    assert broken.plan().code == 0


def test_a_folder_that_was_filled_in_part_goes_on_where_it_was(workspace: Workspace) -> None:
    workspace.write({**STACK, **{f"docs/{number}.md": str(number) for number in range(5)}})
    workspace.emulator.add_fault("on=POST:/files,do=error:400,skip=3,times=0")
    workspace.run("apply", "--yes", "--parallelism", "1", expect=13)
    workspace.emulator.clear_faults()
    workspace.emulator.clear_requests()
    workspace.apply()
    assert writes(workspace).count(("POST", "/files")) == 3
    with workspace.emulator.store.lock:
        assert workspace.emulator.store.counts()["file"] == 6
