"""Files that the API refuses: named, left out, remembered, and no reason to stop the rest."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Workspace

STORE = 'kind: VectorStore\nmetadata: {name: docs}\nspec: {name: Docs, files: [{path: "kb/*"}]}\n'
ASSISTANT = """\
kind: Assistant
metadata: {name: bot}
spec:
  model: gpt-4.1
  tools: [{type: file_search}]
  tool_resources: {file_search: {vector_store_ids: ["${VectorStore/docs}"]}}
"""


@pytest.fixture
def folder(workspace: Workspace) -> Workspace:
    """A folder with two good files, an empty one and a picture."""
    good = {"kb/a.md": "a", "kb/b.md": "b"}
    return workspace.write({**good, "kb/empty.md": "", "kb/logo.png": "png"}).declare(
        STORE, ASSISTANT
    )


def count(workspace: Workspace, kind: str) -> int:
    with workspace.emulator.store.lock:
        return workspace.emulator.store.counts().get(kind, 0)


def uploads(workspace: Workspace) -> int:
    return sum(
        (item.method, item.path) == ("POST", "/files") for item in workspace.emulator.requests
    )


def test_refused_files_are_named_and_the_rest_is_applied_with_what_depends_on_it(
    folder: Workspace,
) -> None:
    done = folder.run("apply", "--yes", expect=13)
    assert (
        "✗ kb/empty.md was refused at upload: POST /files answered 400, param file: File is empty."
        in done.out
    )
    assert "✗ kb/logo.png was refused when it was attached" in done.out
    assert [count(folder, kind) for kind in ("file", "vector_store_file", "assistant")] == [2, 2, 1]


def test_a_file_that_cannot_be_indexed_makes_an_apply_incomplete(workspace: Workspace) -> None:
    workspace.write({"kb/a.md": "a", "kb/unindexable.md": "b"}).declare(STORE)
    done = workspace.run("apply", "--yes", expect=13)
    assert "✗ kb/unindexable.md could not be indexed" in done.out
    assert "Apply incomplete: 1 applied, 1 file refused" in done.out


def test_the_report_for_programs_lists_refused_files(folder: Workspace) -> None:
    done = folder.run("apply", "--yes", "--format", "json", expect=13)
    outcomes = {item["address"]: item for item in json.loads(done.out)["reconciler"]["outcomes"]}
    assert outcomes["VectorStore/docs"]["status"] == "applied"
    assert [text.split(" ")[0] for text in outcomes["VectorStore/docs"]["refused"]] == [
        "kb/empty.md",
        "kb/logo.png",
    ]


def test_a_file_that_was_refused_is_named_in_each_plan_and_not_sent_again(
    folder: Workspace,
) -> None:
    folder.run("apply", "--yes", expect=13)
    folder.emulator.clear_requests()
    plan = folder.plan()
    assert plan.code == 0
    assert "✗ kb/empty.md is left out: the API refused it at upload" in plan.out
    folder.apply()
    assert uploads(folder) == 0


def test_a_refused_file_is_no_drift(folder: Workspace) -> None:
    folder.run("apply", "--yes", expect=13)
    folder.run("drift", expect=0)


def test_a_refused_file_is_not_sent_with_the_next_change_of_the_store(folder: Workspace) -> None:
    folder.run("apply", "--yes", expect=13)
    folder.emulator.clear_requests()
    folder.write({"kb/c.md": "c"}).apply()
    assert uploads(folder) == 1
    assert "kb/empty.md is left out" in folder.plan().out


def test_a_refused_file_is_sent_again_once_its_content_has_changed(folder: Workspace) -> None:
    folder.run("apply", "--yes", expect=13)
    folder.write({"kb/empty.md": "no longer"}).apply()
    assert count(folder, "vector_store_file") == 3
    assert "kb/empty.md" not in folder.plan().out


def test_a_refused_file_is_tried_again_in_a_new_store(folder: Workspace) -> None:
    folder.run("apply", "--yes", expect=13)
    folder.emulator.clear_requests()
    folder.run("apply", "--yes", "--replace", "VectorStore/docs", expect=13)
    assert uploads(folder) == 4


def test_a_refused_file_that_leaves_the_folder_leaves_nothing_to_do(folder: Workspace) -> None:
    folder.run("apply", "--yes", expect=13)
    (folder.folder / "kb" / "empty.md").unlink()
    (folder.folder / "kb" / "logo.png").unlink()
    plan = folder.plan()
    assert (plan.code, "✗" in plan.out) == (0, False)


def test_validate_names_what_the_api_is_known_to_refuse_with_its_place(folder: Workspace) -> None:
    done = folder.run("validate", expect=0)
    assert (
        'Warning: Empty file\n  manifests.yaml:3:35  VectorStore/docs\n  "kb/empty.md": the API rejects'
        in done.err
    )
    assert '"kb/logo.png": the API accepts only files with the extensions' in done.err


def test_validate_names_an_empty_upload(workspace: Workspace) -> None:
    file = "kind: File\nmetadata: {name: f}\nspec: {path: empty.jsonl, purpose: batch}\n"
    done = workspace.write({"empty.jsonl": ""}).declare(file).run("validate", expect=0)
    assert "Warning: Empty file\n  manifests.yaml:3:14  File/f" in done.err
