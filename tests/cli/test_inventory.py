"""`inventory` reads every object, with and without manifests, and counts unreadable lists as unknown."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from reconciler.model.inventory import Inventory, InventoryObject, ObjectRelation
from reconciler.render.inventory import as_markdown
from tests.conftest import Workspace

HANDBOOK = """
kind: Project
metadata: {name: search}
spec: {name: Search}
"""
STORE = """
kind: VectorStore
metadata: {name: handbook}
spec: {name: Handbook}
"""


def post(workspace: Workspace, path: str, *, admin: bool = False, **body: Any) -> dict[str, Any]:
    """What somebody creates by hand."""
    key = workspace.emulator.admin_key if admin else workspace.emulator.api_key
    project = body.pop("in_project", None)
    headers = {"Authorization": f"Bearer {key}"}
    if project:
        headers["OpenAI-Project"] = project
    if body.pop("beta", False):
        headers["OpenAI-Beta"] = "assistants=v2"
    if "files" in body:
        answer = httpx.post(
            workspace.emulator.base_url + path,
            headers=headers,
            data=body["data"],
            files=body["files"],
        )
    else:
        answer = httpx.post(workspace.emulator.base_url + path, headers=headers, json=body)
    answer.raise_for_status()
    return dict(answer.json())


def upload(workspace: Workspace, name: str, **rest: Any) -> dict[str, Any]:
    return post(
        workspace,
        "/files",
        data={"purpose": "assistants"},
        files={"file": (name, b"text")},
        **rest,
    )


def inventory(workspace: Workspace, *arguments: str) -> dict[str, Any]:
    done = workspace.run("inventory", "--format", "json", *arguments, expect=0)
    return dict(json.loads(done.out))


def standings(report: dict[str, Any], kind: str) -> dict[str, str]:
    return {
        entry["name"]: entry["standing"] for entry in report["objects"] if entry["kind"] == kind
    }


def refuse(workspace: Workspace, path: str) -> None:
    workspace.emulator.add_fault(f"on=GET:{path},do=error:403,times=0")


def ignoring(workspace: Workspace, *patterns: str) -> None:
    """Write a stack file that ignores these patterns."""
    listed = json.dumps(list(patterns))
    workspace.write({"reconciler.yaml": f"kind: Stack\nspec: {{ignore: {listed}}}\n"})


def test_an_empty_folder_with_keys_in_the_environment_has_an_inventory(
    workspace: Workspace,
) -> None:
    upload(workspace, "a.txt")
    report = inventory(workspace)
    assert standings(report, "File") == {"a.txt": "unmanaged"}
    assert standings(report, "Project") == {"Default project": "unmanaged"}


def test_a_plan_still_needs_manifests(workspace: Workspace) -> None:
    assert "No manifests" in workspace.run("plan", expect=1).err


def test_coverage_is_the_managed_share_of_what_can_be_managed(workspace: Workspace) -> None:
    ignoring(workspace, "User", "Project", "ProjectUser", "ProjectKey")
    workspace.declare(STORE).apply()
    post(workspace, "/vector_stores", name="By hand")
    post(workspace, "/vector_stores", name="Another")
    report = inventory(workspace)
    assert report["coverage_percent"] == 33.3
    assert report["counts"]["managed"] == 1
    assert report["counts"]["unmanaged"] == 2
    assert report["counts"]["ignored"] > 2


def test_a_managed_object_has_its_address(workspace: Workspace) -> None:
    workspace.declare(STORE).apply()
    [store] = [entry for entry in inventory(workspace)["objects"] if entry["kind"] == "VectorStore"]
    assert store["address"] == "VectorStore/handbook"


def test_objects_of_a_project_that_nothing_names_are_found_under_its_name(
    workspace: Workspace,
) -> None:
    project = post(workspace, "/organization/projects", admin=True, name="Legacy search")
    upload(workspace, "old.txt", in_project=project["id"])
    post(
        workspace,
        f"/organization/projects/{project['id']}/service_accounts",
        admin=True,
        name="bot",
    )
    report = inventory(workspace)
    places = {
        (entry["kind"], entry["project"], entry["project_id"])
        for entry in report["objects"]
        if entry["name"] in ("old.txt", "bot")
    }
    assert places == {
        ("File", "Legacy search", project["id"]),
        ("ServiceAccount", "Legacy search", project["id"]),
    }


def test_an_object_that_two_names_of_its_project_show_counts_once(workspace: Workspace) -> None:
    workspace.declare(STORE).apply()
    report = inventory(workspace)
    assert standings(report, "VectorStore") == {"Handbook": "managed"}
    assert sum(entry["kind"] == "VectorStore" for entry in report["objects"]) == 1


def test_objects_inside_others_are_found(workspace: Workspace) -> None:
    group = post(workspace, "/organization/groups", admin=True, name="Support")
    users = httpx.get(
        f"{workspace.emulator.base_url}/organization/users",
        headers={"Authorization": f"Bearer {workspace.emulator.admin_key}"},
    ).json()["data"]
    member = next(user for user in users if user["email"].startswith("cleo"))
    post(workspace, f"/organization/groups/{group['id']}/users", admin=True, user_id=member["id"])
    assert standings(inventory(workspace), "GroupMember") == {
        f"Support/{member['email']}": "unmanaged"
    }


def test_without_a_key_of_a_project_its_data_is_unknown_and_the_reason_is_named(
    workspace: Workspace,
) -> None:
    workspace.variables = {"OPENAI_API_KEY": ""}
    report = inventory(workspace)
    reasons = {entry["reason"] for entry in report["unread"] if entry["kind"] == "File"}
    assert reasons == {'no key of the project "Default project"'}
    assert report["complete"] is False


def test_without_an_admin_key_the_data_of_the_default_project_is_read(workspace: Workspace) -> None:
    workspace.variables = {"OPENAI_ADMIN_KEY": ""}
    upload(workspace, "a.txt")
    report = inventory(workspace)
    assert standings(report, "File") == {"a.txt": "unmanaged"}
    assert "No admin key" in next(
        entry["reason"] for entry in report["unread"] if entry["kind"] == "Project"
    )


def test_a_key_of_one_project_leaves_the_others_unknown(workspace: Workspace) -> None:
    project = post(workspace, "/organization/projects", admin=True, name="Legacy")
    account = post(
        workspace,
        f"/organization/projects/{project['id']}/service_accounts",
        admin=True,
        name="bot",
    )
    workspace.variables = {"OPENAI_API_KEY": account["api_key"]["value"]}
    upload(workspace, "a.txt")
    report = inventory(workspace)
    unread = {entry["project"] for entry in report["unread"] if entry["kind"] == "VectorStore"}
    assert unread == {"Default project"}
    refused = [request for request in workspace.emulator.requests if request.status == 401]
    assert len(refused) == 1


def test_a_refused_list_is_unknown_and_no_zero(workspace: Workspace) -> None:
    refuse(workspace, "/organization/groups")
    report = inventory(workspace)
    [group] = [entry for entry in report["unread"] if entry["kind"] == "Group"]
    assert "403" in group["reason"]
    assert "Group" not in {entry["kind"] for entry in report["groups"]}
    assert "Unknown" in workspace.run("inventory", expect=0).out


def test_a_retired_kind_is_unknown_with_its_reason(workspace: Workspace) -> None:
    workspace.emulator.set_options(retire_assistants=True)
    report = inventory(workspace)
    [assistants] = [entry for entry in report["unread"] if entry["kind"] == "Assistant"]
    assert "2026-08-26" in assistants["reason"]


def test_a_refused_list_of_a_declared_kind_does_not_end_the_inventory(workspace: Workspace) -> None:
    workspace.declare(STORE).apply()
    upload(workspace, "a.txt")
    refuse(workspace, "/vector_stores")
    report = inventory(workspace)
    assert standings(report, "File") == {"a.txt": "unmanaged"}
    assert "VectorStore" in {entry["kind"] for entry in report["unread"]}


def test_without_any_key_the_error_says_which_to_set(workspace: Workspace) -> None:
    workspace.variables = {"OPENAI_ADMIN_KEY": "", "OPENAI_API_KEY": ""}
    assert "Set OPENAI_ADMIN_KEY" in workspace.run("inventory", expect=1).err


@pytest.mark.parametrize("name", ["text", "json", "markdown", "html"])
def test_every_format_lists_what_is_unmanaged(workspace: Workspace, name: str) -> None:
    file = upload(workspace, "stray.txt")
    workspace.run("inventory", "--format", name, "--report", f"report:{name}", expect=0)
    report = (workspace.folder / "report").read_text()
    assert file["id"] in report
    assert "stray.txt" in report


def test_a_hostile_name_is_no_markup_in_the_page(workspace: Workspace) -> None:
    post(workspace, "/vector_stores", name="<script>alert(1)</script>")
    page = workspace.run("inventory", "--format", "html", expect=0).out
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


def test_a_long_inventory_fits_into_a_comment_and_says_what_it_lacks() -> None:
    objects = [
        InventoryObject("File", f"file-{at}", "a", ObjectRelation.UNMANAGED, f"project {at:04}")
        for at in range(2000)
    ]
    comment = as_markdown(Inventory(objects), limit=5000)
    assert len(comment) <= 5000
    assert "2,000 unmanaged" in comment
    assert re.search(r"1,\d\d\d of 2,000 rows .* not shown", comment)


def test_the_calls_are_counted(workspace: Workspace) -> None:
    report = inventory(workspace)
    assert report["calls"] == len(workspace.emulator.requests)


@pytest.mark.parametrize(
    "pattern",
    ["File", "File/*", "File/docs/*.txt", "*a.txt", "File/ID", "ID"],
)
def test_what_the_stack_ignores_is_ignored(workspace: Workspace, pattern: str) -> None:
    file = upload(workspace, "docs/a.txt")
    ignoring(workspace, pattern.replace("ID", file["id"]))
    assert standings(inventory(workspace), "File") == {"docs/a.txt": "ignored"}


def test_what_no_pattern_matches_is_not_ignored(workspace: Workspace) -> None:
    upload(workspace, "b.txt")
    ignoring(
        workspace, "File/a*", "VectorStore/*", "b", "[b].txt", "x|b.txt", "File/Default project/a*"
    )
    assert standings(inventory(workspace), "File") == {"b.txt": "unmanaged"}


def test_an_ignored_object_that_is_managed_stays_managed(workspace: Workspace) -> None:
    ignoring(workspace, "VectorStore")
    workspace.declare(STORE).apply()
    assert standings(inventory(workspace), "VectorStore") == {"Handbook": "managed"}


def test_a_misspelled_kind_in_ignore_is_an_error_with_its_place(workspace: Workspace) -> None:
    workspace.write({"reconciler.yaml": "kind: Stack\nspec:\n  ignore:\n    - Files/*\n"})
    error = workspace.run("inventory", expect=1).err
    assert "reconciler.yaml:4:7" in error
    assert re.search(r'"Files" is not a kind.*File', error)


@pytest.mark.parametrize("name", ["text", "json", "markdown"])
@pytest.mark.parametrize("command", ["plan", "drift"])
def test_unmanaged_objects_of_kinds_that_nothing_declares_are_listed(
    workspace: Workspace, command: str, name: str
) -> None:
    workspace.declare(HANDBOOK).apply()
    file = upload(workspace, "unseen.txt")
    done = workspace.run(command, "--unmanaged", "--format", name)
    assert file["id"] in done.out
    assert "unseen.txt" in done.out


def test_drift_names_the_lists_that_it_could_not_read(workspace: Workspace) -> None:
    workspace.declare(HANDBOOK).apply()
    refuse(workspace, "/organization/groups")
    done = workspace.run("drift", "--unmanaged")
    assert "their contents are unknown" in done.out
    assert "Group: " in done.out


@pytest.mark.parametrize("command", ["plan", "drift"])
def test_plan_and_drift_leave_out_what_is_ignored(workspace: Workspace, command: str) -> None:
    file = upload(workspace, "unseen.txt")
    ignoring(workspace, "File/unseen*")
    workspace.declare(HANDBOOK).apply()
    assert file["id"] not in workspace.run(command, "--unmanaged").out


def test_drift_is_clean_once_everything_is_managed_or_ignored(workspace: Workspace) -> None:
    ignoring(workspace, "Project/Default project", "User", "ProjectUser", "ProjectKey")
    workspace.declare(STORE).apply()
    workspace.run("drift", "--unmanaged", expect=0)


def test_a_plan_without_unmanaged_reads_no_more_than_before(workspace: Workspace) -> None:
    workspace.declare(STORE).apply()
    plain = workspace.run("plan", "--refresh", "full", "--format", "json", expect=0).out
    assert json.loads(plain)["reconciler"]["calls"] == 1


def paths(workspace: Workspace) -> list[str]:
    return [request.path for request in workspace.emulator.requests if request.method == "GET"]


def test_an_archived_project_is_listed_as_ended(workspace: Workspace) -> None:
    old = post(workspace, "/organization/projects", admin=True, name="Old")["id"]
    post(workspace, f"/organization/projects/{old}/archive", admin=True)
    assert standings(inventory(workspace), "Project")["Old"] == "ended"
    assert not [path for path in paths(workspace) if f"/projects/{old}/" in path and "GET" in path]


def test_a_list_that_two_kinds_are_in_is_read_once(workspace: Workspace) -> None:
    inventory(workspace)
    read = [path for path in paths(workspace) if path.endswith("/api_keys")]
    assert len(read) == len(set(read)) == 1


def test_roles_of_users_are_read_only_where_somebody_made_a_role(workspace: Workspace) -> None:
    def of_users() -> list[str]:
        return [path for path in paths(workspace) if "/users/" in path and "roles" in path]

    inventory(workspace)
    assert of_users() == []
    post(
        workspace,
        "/organization/roles",
        admin=True,
        role_name="auditor",
        permissions=["api.groups.read"],
    )
    inventory(workspace)
    assert of_users()


def test_settings_of_a_project_are_counted_without_a_call(workspace: Workspace) -> None:
    report = inventory(workspace)
    assert standings(report, "HostedTools") == {"hosted_tool_permissions": "built-in"}
    assert not [path for path in paths(workspace) if "hosted_tool" in path]
