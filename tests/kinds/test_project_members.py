"""Claims about who is in a project: people by id or address, and groups by a role that is never shown again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.test_plan_and_apply import PROJECT, admin, project_id
from tests.conftest import Workspace

MEMBER = """\
kind: ProjectUser
metadata: {name: ada, project: search}
spec: {email: Ada@example.com, role: member}
"""
GROUP = """\
kind: Group
metadata: {name: support}
spec: {name: Support}
---
kind: ProjectGroup
metadata: {name: support, project: search}
spec: {group_id: "${Group/support}", role: role-api-project-member}
"""


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    return workspace.write({"p.yaml": PROJECT})


def members(workspace: Workspace, what: str = "users") -> list[dict[str, Any]]:
    with admin(workspace) as client:
        found: list[dict[str, Any]] = client.get(
            f"/organization/projects/{project_id(client)}/{what}"
        ).json()["data"]
        return found


def writes(workspace: Workspace) -> list[str]:
    return [
        f"{one.method} {one.path.rpartition('/')[2]}"
        for one in workspace.emulator.requests
        if one.method != "GET"
    ]


def test_a_person_who_is_in_the_project_already_is_bound_and_only_the_role_is_changed(
    project: Workspace,
) -> None:
    project.apply()
    with admin(project) as client:
        place = f"/organization/projects/{project_id(client)}/users"
        id = client.post(place, json={"email": "ada@example.com", "role": "owner"}).json()["id"]
    project.write({"m.yaml": MEMBER}).emulator.clear_requests()
    project.apply()
    assert writes(project) == [f"POST {id}"]
    assert [(one["id"], one["role"]) for one in members(project)] == [(id, "member")]


def test_a_person_may_be_named_by_id_instead_of_address_without_a_change(
    project: Workspace,
) -> None:
    project.write({"m.yaml": MEMBER}).apply()
    id = members(project)[0]["id"]
    project.write({"m.yaml": MEMBER.replace("email: Ada@example.com", f"user_id: {id}")})
    assert project.plan().code == 0


def test_an_answer_that_was_lost_adds_nobody_twice(project: Workspace) -> None:
    project.apply()
    project.write({"m.yaml": MEMBER}).emulator.add_fault("on=POST:*/users,do=reset,when=after")
    project.apply()
    assert [one["email"] for one in members(project)] == ["ada@example.com"]
    assert project.plan().code == 0


def test_a_person_has_to_be_named(project: Workspace) -> None:
    text = MEMBER.replace("{email: Ada@example.com, role: member}", "{role: member}")
    refused = project.write({"m.yaml": text}).run("validate", expect=1).err
    assert 'Missing "user_id" or "email"' in refused


def test_another_role_adds_a_group_anew(project: Workspace) -> None:
    project.write({"g.yaml": GROUP}).apply()
    project.write(
        {"g.yaml": GROUP.replace("project-member", "project-owner")}
    ).emulator.clear_requests()
    project.apply("--allow-delete", "ProjectGroup/search/support")
    id = members(project, "groups")[0]["group_id"]
    assert writes(project) == [f"DELETE {id}", "POST groups"]


def test_both_spellings_of_a_predefined_role_are_equal(project: Workspace) -> None:
    project.write({"g.yaml": GROUP}).apply()
    with admin(project) as client:
        long = f"role-api-project-member__api-project__{project_id(client)}"
    project.write({"g.yaml": GROUP.replace("role-api-project-member", long)})
    assert project.plan().code == 0


def test_a_group_that_is_in_the_project_already_is_not_added_again(project: Workspace) -> None:
    project.write({"g.yaml": GROUP}).apply()
    project.run("state", "rm", "ProjectGroup/search/support", expect=0)
    project.emulator.clear_requests()
    project.apply()
    assert writes(project) == []
    assert "ProjectGroup/search/support" in project.run("state", "list", expect=0).out
