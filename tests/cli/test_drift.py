"""Claims about drift: live changes, told apart from changes of the manifests."""

from __future__ import annotations

import json

from tests.cli.test_plan_and_apply import (
    ASSISTANT,
    LIMIT,
    PROJECT,
    admin,
    assistants,
    project_id,
    user,
)
from tests.conftest import Workspace


def change(workspace: Workspace, **fields: object) -> None:
    with user(workspace) as client:
        client.post(f"/assistants/{assistants(workspace)[0]['id']}", json=fields).raise_for_status()


def test_no_drift_ends_with_zero(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    assert workspace.run("drift").code == 0


def test_a_change_outside_is_shown_field_by_field_and_ends_with_two(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    change(workspace, temperature=1.5)
    done = workspace.run("drift", expect=2)
    assert "temperature: 0.5 → 1.5" in done.out


def test_a_change_of_the_manifest_is_no_drift(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    workspace.write({"a.yaml": ASSISTANT.replace("0.5", "0.7")})
    assert workspace.run("drift").code == 0


def test_a_deleted_object_is_drift(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    with user(workspace) as client:
        client.delete(f"/assistants/{assistants(workspace)[0]['id']}")
    assert "deleted" in workspace.run("drift", expect=2).out


def test_apply_repairs_drift(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    change(workspace, temperature=1.5, instructions="Be rude.")
    workspace.apply()
    (found,) = assistants(workspace)
    assert (found["temperature"], found["instructions"]) == (0.5, "Be kind.")
    assert workspace.run("drift").code == 0


def test_drift_is_found_for_marked_objects_when_the_state_is_lost(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    change(workspace, temperature=1.5)
    for path in (workspace.folder / ".reconciler").iterdir():
        path.unlink()
    assert "temperature" in workspace.run("drift", expect=2).out


def test_unmanaged_objects_are_listed_when_asked(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    with user(workspace) as client:
        client.post("/assistants", json={"model": "gpt-4o", "name": "Stray"})
    assert workspace.run("drift").code == 0
    assert "Stray" in workspace.run("drift", "--unmanaged", expect=2).out


def test_blame_names_who_did_it(workspace: Workspace) -> None:
    workspace.write({"p.yaml": PROJECT, "l.yaml": LIMIT}).apply()
    with admin(workspace) as client:
        client.post(
            f"/organization/projects/{project_id(client)}/rate_limits/rl-gpt-4.1",
            json={"max_requests_per_1_minute": 7},
        ).raise_for_status()
    workspace.emulator.clear_requests()
    told = workspace.run("drift", "--blame", expect=2).out
    assert "rate_limit.updated by " in told
    assert f"{len(workspace.emulator.requests)} API calls in" in told


MEMBER = """\
kind: ProjectUser
metadata: {name: cleo, project: search}
spec: {email: cleo@example.com, role: member}
"""
ACCOUNT = """\
kind: ServiceAccount
metadata: {name: ci, project: search}
spec: {name: ci}
"""


def blamed(workspace: Workspace, address: str) -> str:
    view = json.loads(workspace.run("drift", "--blame", "--format", "json", expect=2).out)
    [found] = [item for item in view["resource_drift"] if item["address"] == address]
    return str(found["reconciler"]["blame"])


def test_a_member_that_left_the_organization_is_blamed_on_the_leaving(workspace: Workspace) -> None:
    workspace.declare(PROJECT, MEMBER).apply()
    with admin(workspace) as client:
        users = client.get("/organization/users").json()["data"]
        [cleo] = [item["id"] for item in users if item["email"] == "cleo@example.com"]
        client.delete(f"/organization/users/{cleo}").raise_for_status()
    assert blamed(workspace, "ProjectUser/search/cleo").startswith("user.deleted by ")


def test_a_change_is_not_blamed_on_the_entry_of_when_the_object_was_made(
    workspace: Workspace,
) -> None:
    workspace.declare(PROJECT, ACCOUNT).apply()
    store = workspace.emulator.store
    with store.lock:
        [account] = store.all("service_account")
        account.body["name"] = "renamed without an entry"
    assert blamed(workspace, "ServiceAccount/search/ci") == "the audit log has no entry about it"


def test_a_project_that_is_archived_is_blamed_on_who_archived_it(workspace: Workspace) -> None:
    workspace.declare(PROJECT, ACCOUNT).apply()
    with admin(workspace) as client:
        client.post(f"/organization/projects/{project_id(client)}/archive").raise_for_status()
    assert blamed(workspace, "Project/search").startswith("project.archived by ")


def test_json_drift_is_in_resource_drift(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    change(workspace, temperature=1.5)
    found = json.loads(workspace.run("drift", "--format", "json", expect=2).out)
    assert [item["address"] for item in found["resource_drift"]] == ["Assistant/bot"]
