"""A container cannot be changed, and an expired container is created again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.test_plan_and_apply import user
from tests.conftest import Workspace

CONTAINER = """\
kind: Container
metadata: {name: sandbox}
spec: {memory_limit: 4g, network_policy: {type: allowlist, allowed_domains: [pypi.org, example.com]}}
"""


@pytest.fixture
def sandbox(workspace: Workspace) -> Workspace:
    workspace.write({"c.yaml": CONTAINER}).apply()
    return workspace


def containers(workspace: Workspace) -> list[dict[str, Any]]:
    with user(workspace) as client:
        found: list[dict[str, Any]] = client.get("/containers").json()["data"]
        return found


def expire(workspace: Workspace) -> None:
    (one,) = workspace.emulator.store.all("container")
    one.body["last_active_at"] = 0


def test_an_expired_container_is_created_again_and_the_plan_says_why(sandbox: Workspace) -> None:
    (before,) = containers(sandbox)
    expire(sandbox)
    assert sandbox.plan().code == 2
    sandbox.apply()
    alive = [one for one in containers(sandbox) if one["status"] == "running"]
    assert [one["name"] for one in alive] == ["sandbox"]
    assert alive[0]["id"] != before["id"]
    assert sandbox.plan().code == 0


def test_an_expired_container_that_nobody_declares_is_forgotten_without_a_call(
    sandbox: Workspace,
) -> None:
    expire(sandbox)
    (sandbox.folder / "c.yaml").unlink()
    sandbox.write(
        {"f.yaml": "kind: VectorStore\nmetadata: {name: a}\nspec: {}\n"}
    ).emulator.clear_requests()
    sandbox.apply()
    assert "DELETE" not in {request.method for request in sandbox.emulator.requests}
    assert "Container" not in sandbox.run("state", "list", expect=0).out


def test_a_change_replaces_the_container(sandbox: Workspace) -> None:
    (before,) = containers(sandbox)
    sandbox.write({"c.yaml": CONTAINER.replace("4g", "16g")}).apply()
    (after,) = containers(sandbox)
    assert (after["memory_limit"], after["id"] == before["id"]) == ("16g", False)


def test_hosts_in_another_order_are_no_difference(sandbox: Workspace) -> None:
    sandbox.write({"c.yaml": CONTAINER.replace("pypi.org, example.com", "example.com, pypi.org")})
    assert sandbox.plan().code == 0


def test_a_delete_that_is_answered_with_nothing_is_done(sandbox: Workspace) -> None:
    sandbox.run("destroy", "--yes", expect=0)
    assert containers(sandbox) == []
