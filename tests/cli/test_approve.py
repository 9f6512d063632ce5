"""`apply --approve DIGEST` applies the reviewed plan, and no other."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.test_plan_and_apply import ASSISTANT
from tests.conftest import Workspace

SECOND = ASSISTANT.replace("name: bot", "name: second")


def digest_of(workspace: Workspace, *arguments: str) -> str:
    view = json.loads(workspace.run("plan", "--format", "json", *arguments, expect=0).out)
    return str(view["reconciler"]["plan_digest"])


def test_a_reviewed_plan_is_applied_without_asking(workspace: Workspace) -> None:
    digest = digest_of(workspace.declare(ASSISTANT))
    done = workspace.run("apply", "--approve", digest, expect=0)
    assert "1 created" in done.out
    assert workspace.plan().code == 0


def test_the_digest_of_an_unchanged_world_stays_the_same(workspace: Workspace) -> None:
    workspace.declare(ASSISTANT, SECOND)
    assert digest_of(workspace) == digest_of(workspace, "--refresh", "full")
    workspace.apply()
    workspace.declare(ASSISTANT.replace("gpt-4o", "gpt-4.1"))
    assert digest_of(workspace) == digest_of(workspace)


def test_moving_a_document_in_its_file_is_no_difference(workspace: Workspace) -> None:
    before = digest_of(workspace.declare(ASSISTANT, SECOND))
    assert digest_of(workspace.declare("# a comment\n" + SECOND, ASSISTANT)) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("gpt-4o", "gpt-4.1"),
        lambda text: text.replace("name: bot", "name: bot2"),
        lambda text: text + "lifecycle: {prevent_destroy: true}\n",
    ],
    ids=["value", "address", "protection"],
)
def test_another_manifest_is_refused_and_nothing_is_done(workspace: Workspace, change) -> None:
    digest = digest_of(workspace.declare(ASSISTANT))
    done = workspace.declare(change(ASSISTANT)).run("apply", "--approve", digest, expect=10)
    assert "is not the one that was approved" in done.err
    assert "will be created" in done.err
    assert list(workspace.emulator.store.all("assistant")) == []


def test_a_live_object_that_changed_since_the_review_is_refused(workspace: Workspace) -> None:
    workspace.declare(ASSISTANT).apply()
    digest = digest_of(workspace.declare(ASSISTANT.replace("gpt-4o", "gpt-4.1")))
    store = workspace.emulator.store
    with store.lock:
        [record] = store.all("assistant")
        record.body["name"] = "Renamed"
    workspace.run("apply", "--approve", digest, expect=10)


def test_what_differs_from_a_saved_plan_is_named(workspace: Workspace) -> None:
    workspace.declare(ASSISTANT, SECOND).run("plan", "--out", "reviewed.json", expect=0)
    digest = json.loads((workspace.folder / "reviewed.json").read_text())["reconciler"][
        "plan_digest"
    ]
    third = ASSISTANT.replace("name: bot", "name: third")
    workspace.declare(ASSISTANT.replace("gpt-4o", "gpt-4.1"), third)
    said = workspace.run("apply", "--approve", digest, expect=10).err
    assert "not approved: Assistant/third will be created" in said
    assert "no longer planned: Assistant/second will be created" in said
    assert "Assistant/bot: other values of model" in said


def test_a_plan_file_is_applied_only_with_its_own_digest(workspace: Workspace) -> None:
    digest = digest_of(workspace.declare(ASSISTANT), "--out", "p.json")
    workspace.run("apply", "p.json", "--approve", "0" * 64, expect=10)
    workspace.run("apply", "p.json", "--approve", digest, expect=0)


@pytest.mark.parametrize("given", ["", "abc", "0" * 63, "g" * 64, "sha256:" + "0" * 64])
def test_anything_but_a_whole_digest_is_refused(workspace: Workspace, given: str) -> None:
    done = workspace.declare(ASSISTANT).run("apply", "--approve", given, expect=1)
    assert "64 hexadecimal digits" in done.err


def test_a_refused_approval_is_in_the_report_with_the_present_plan(workspace: Workspace) -> None:
    workspace.declare(ASSISTANT).run(
        "apply", "--approve", "0" * 64, "--report", "r.json:json", expect=10
    )
    view = json.loads((workspace.folder / "r.json").read_text())
    assert view["applyable"] is False
    assert [change["address"] for change in view["resource_changes"]] == ["Assistant/bot"]
    assert "was approved" in json.dumps(view["reconciler"]["diagnostics"])


@pytest.mark.parametrize("format", ["text", "markdown", "json", "html", "junit", "sarif"])
def test_the_digest_is_in_every_report_that_people_read(workspace: Workspace, format: str) -> None:
    digest = digest_of(workspace.declare(ASSISTANT))
    assert digest in workspace.run("plan", "--format", format, expect=0).out
    workspace.apply("--report", "r:" + format)
    assert digest in (workspace.folder / "r").read_text()


def test_the_history_names_the_digest_that_was_approved(workspace: Workspace) -> None:
    digest = digest_of(workspace.declare(ASSISTANT))
    workspace.run("apply", "--approve", digest, expect=0)
    assert re.search(digest[:12], workspace.run("history", expect=0).out)
