"""Claims about members of a collection: none is removed by surprise."""

from __future__ import annotations

from tests.cli.test_plan_and_apply import user
from tests.conftest import Workspace

STORE = """\
kind: VectorStore
metadata: {name: handbook}
spec: {name: Handbook, files: [{path: "kb/*.md"%s}]}
"""
ALLOWED = STORE % ", allow_empty: true"


def with_pages(workspace: Workspace, count: int) -> Workspace:
    return workspace.write({f"kb/{number}.md": f"page {number}" for number in range(count)})


def without_pages(workspace: Workspace, count: int) -> Workspace:
    for number in range(count):
        (workspace.folder / f"kb/{number}.md").unlink()
    return workspace


def uploads(workspace: Workspace) -> int:
    with user(workspace) as client:
        return len(client.get("/files").json()["data"])


def test_a_folder_that_is_gone_is_an_error_and_deletes_nothing(workspace: Workspace) -> None:
    with_pages(workspace, 3).declare(STORE % "").apply()
    without_pages(workspace, 3)
    refused = workspace.run("apply", "--yes", expect=1)
    assert '"kb/*.md" matches no file' in refused.err
    assert uploads(workspace) == 3


def test_a_folder_that_may_be_empty_empties_the_store_only_by_address(workspace: Workspace) -> None:
    with_pages(workspace, 2).declare(ALLOWED).apply()
    without_pages(workspace, 2)
    refused = workspace.run("apply", "--yes", expect=11)
    assert "VectorStore/handbook: the plan removes all 2 members of files" in refused.err
    assert uploads(workspace) == 2
    workspace.apply("--allow-delete", "VectorStore/handbook")
    assert uploads(workspace) == 0


def test_more_members_than_may_be_deleted_are_refused(workspace: Workspace) -> None:
    with_pages(workspace, 60).declare(STORE % "").apply()
    without_pages(workspace, 11)
    refused = workspace.run("apply", "--yes", expect=11)
    assert (
        "removes 11 members (VectorStore/handbook), more than guards.max_deletes allows (10)"
        in refused.err
    )
    assert uploads(workspace) == 60


def test_a_few_removed_members_are_destructive_in_the_plan_and_pass(workspace: Workspace) -> None:
    with_pages(workspace, 8).declare(STORE % "").apply()
    without_pages(workspace, 2)
    shown = workspace.run("apply", "--yes", expect=0).out
    assert "destroys: removes 2 of 8 members of files (kb/0.md, kb/1.md)" in shown
    assert uploads(workspace) == 6


def test_pages_that_move_within_the_folder_are_not_removed(workspace: Workspace) -> None:
    with_pages(workspace, 20).declare(STORE % "").apply()
    for path in sorted((workspace.folder / "kb").iterdir()):
        path.rename(path.with_name(f"new-{path.name}"))
    assert "destroys" not in workspace.run("apply", "--yes", expect=0).out
    assert uploads(workspace) == 20
