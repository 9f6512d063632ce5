"""A project's key that a command takes and an environment variable brings back: the variable is unset at first."""

from __future__ import annotations

import pytest

from tests.conftest import Workspace

STACK = """\
kind: Stack
metadata: {name: acme}
spec:
  credentials:
    projects: {search: "${env.SEARCH_API_KEY}"}
"""
PROJECT = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
ACCOUNT = """\
kind: ServiceAccount
metadata: {name: ci, project: search}
spec: {name: ci, key: {write_to: {command: [sh, -c, "cat > ../taken"]}}}
"""
STORE = "kind: VectorStore\nmetadata: {name: docs, project: search}\nspec: {name: Docs}\n"
OTHER = "kind: Project\nmetadata: {name: other}\nspec: {name: Other}\n"


@pytest.fixture
def stack(workspace: Workspace) -> Workspace:
    return workspace.write({"reconciler.yaml": STACK})


def bring_back(stack: Workspace) -> None:
    stack.variables["SEARCH_API_KEY"] = (stack.folder.parent / "taken").read_text().strip()


def test_one_apply_makes_the_project_its_account_and_what_needs_the_key(stack: Workspace) -> None:
    stack.declare(PROJECT, ACCOUNT, STORE).apply()
    bring_back(stack)
    assert stack.plan().code == 0


def test_an_unset_variable_without_an_account_that_delivers_the_key_is_an_error(
    stack: Workspace,
) -> None:
    done = stack.declare(PROJECT, STORE).run("plan", expect=1)
    assert "set SEARCH_API_KEY" in done.err


def test_a_variable_that_was_not_brought_back_stops_its_own_project_alone(stack: Workspace) -> None:
    stack.declare(PROJECT, ACCOUNT, STORE).apply()
    done = stack.declare(PROJECT, ACCOUNT, STORE, OTHER).run("apply", "--yes", expect=13)
    assert "credentials.projects.search" in done.err
    assert "Project/other" in stack.run("state", "list", expect=0).out
    made = [item.path for item in stack.emulator.requests if item.method == "POST"]
    assert made.count("/vector_stores") == 1


def test_what_needs_the_key_is_made_after_it(stack: Workspace) -> None:
    stack.declare(PROJECT, ACCOUNT, STORE).apply()
    paths = [
        item.path.rpartition("/")[2] for item in stack.emulator.requests if item.method == "POST"
    ]
    assert paths == ["projects", "service_accounts", "vector_stores"]
