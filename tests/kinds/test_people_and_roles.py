"""Users and grants: protected users, foreign objects, and the grants that can be removed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from reconciler.emulator.routes import invites
from reconciler.emulator.store import ORGANIZATION
from tests.conftest import Workspace
from tests.whole_examples import PROJECT

CLEO = "kind: User\nmetadata: {name: cleo}\nspec: {email: Cleo@Example.com}\n"
SUPPORT = "kind: Group\nmetadata: {name: support}\nspec: {name: Support}\n"
MEMBER = "kind: GroupMember\nmetadata: {name: it}\nspec: {group_id: '${Group/support}', user_id: '${User/cleo}'}\n"
READER = "kind: Role\nmetadata: {name: reader}\nspec: {role_name: Group reader, permissions: [api.groups.read]}\n"
INVITE = "kind: Invite\nmetadata: {name: fay}\nspec: {email: Fay@Example.com, role: reader}\n"


def grant(principal: str, role: str, project: str = "", name: str = "it") -> str:
    where = f", project: {project}" if project else ""
    return f"kind: RoleAssignment\nmetadata: {{name: {name}{where}}}\nspec: {{{principal}, role_id: '{role}'}}\n"


TO_CLEO, TO_SUPPORT = "user_id: '${User/cleo}'", "group_id: '${Group/support}'"


def person(admin: httpx.Client, name: str) -> dict[str, Any]:
    found = admin.get("/organization/users", params={"emails[]": f"{name}@example.com"}).json()[
        "data"
    ]
    return found[0]  # type: ignore[no-any-return]


def roles_of(admin: httpx.Client, path: str) -> list[str]:
    return [role["id"] for role in admin.get(f"{path}/roles").json()["data"]]


def writes(workspace: Workspace) -> list[str]:
    return [
        f"{one.method} {one.path}" for one in workspace.emulator.requests if one.method != "GET"
    ]


# --- users and groups


def test_the_last_owner_is_not_made_a_reader(workspace: Workspace, admin: httpx.Client) -> None:
    admin.post(f"/organization/users/{person(admin, 'ben')['id']}", json={"role": "reader"})
    workspace.declare(
        "kind: User\nmetadata: {name: ada}\nspec: {email: ada@example.com, role: reader}\n"
    )
    refused = workspace.run("apply", "--yes", expect=11)
    assert "it would leave no User with role owner" in refused.err
    assert person(admin, "ada")["role"] == "owner"


def test_one_of_two_owners_may_become_a_reader(workspace: Workspace, admin: httpx.Client) -> None:
    workspace.declare(
        "kind: User\nmetadata: {name: ada}\nspec: {email: ada@example.com, role: reader}\n"
    )
    workspace.apply()
    assert person(admin, "ada")["role"] == "reader"


ELI = "kind: User\nmetadata: {name: eli}\nspec: {email: eli@example.com, role: owner}\n"


def test_a_user_of_the_identity_provider_can_get_another_role(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(ELI).apply()
    assert person(admin, "eli")["role"] == "owner"
    assert workspace.plan().code == 0


def test_a_user_of_the_identity_provider_is_not_removed(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(ELI + "lifecycle: {on_remove: delete}\n").apply()
    workspace.declare(SUPPORT)
    refused = workspace.run("apply", "--yes", "--allow-delete", "User/eli", expect=11)
    assert "User/eli would be deleted, but it is managed by the identity provider" in refused.err
    assert person(admin, "eli")["role"] == "owner"


def test_a_user_has_a_technical_level_and_a_persona(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(
        CLEO.replace("com}", "com, technical_level: expert, developer_persona: data}")
    ).apply()
    found = person(admin, "cleo")
    assert (found["technical_level"], found["developer_persona"]) == ("expert", "data")
    assert workspace.plan().code == 0
    workspace.declare(CLEO).apply()
    assert person(admin, "cleo")["technical_level"] is None


def test_a_group_of_the_identity_provider_is_not_deleted(workspace: Workspace) -> None:
    workspace.declare(SUPPORT)
    workspace.apply()
    (group,) = workspace.emulator.store.collection("group", ORGANIZATION).ordered()
    group.body["is_scim_managed"] = True
    refused = workspace.run("destroy", "--yes", expect=11)
    assert (
        "Group/support would be deleted, but it is managed by the identity provider" in refused.err
    )


# --- invites


def test_a_member_is_not_invited_again(workspace: Workspace) -> None:
    workspace.declare(
        "kind: Invite\nmetadata: {name: cleo}\nspec: {email: CLEO@example.com, role: owner}\n"
    )
    workspace.apply()
    assert writes(workspace) == []
    assert workspace.plan().code == 0


def test_a_pending_invite_is_enough(workspace: Workspace, admin: httpx.Client) -> None:
    admin.post("/organization/invites", json={"email": "fay@example.com", "role": "reader"})
    workspace.emulator.clear_requests()
    workspace.declare(INVITE)
    workspace.apply()
    assert writes(workspace) == []


def test_an_invite_that_ran_out_is_sent_anew(workspace: Workspace, admin: httpx.Client) -> None:
    workspace.declare(INVITE)
    workspace.apply()
    (first,) = workspace.emulator.store.collection("invite", ORGANIZATION).ordered()
    first.body["expires_at"] = 1
    assert "it has expired" in workspace.plan().out
    workspace.apply()
    (second,) = admin.get("/organization/invites").json()["data"]
    assert (second["status"], second["id"] == first.id) == ("pending", False)


def test_an_accepted_invite_is_no_more_to_do_and_stays_when_it_is_undeclared(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(INVITE)
    workspace.apply()
    store = workspace.emulator.store
    (invite,) = store.collection("invite", ORGANIZATION).ordered()
    invites.accept(store, invite)
    assert workspace.plan().code == 0
    workspace.declare(CLEO)
    workspace.apply()
    assert workspace.run("state", "list", expect=0).out.split()[::2] == ["User/cleo"]
    assert person(admin, "fay")["role"] == "reader"


def test_who_left_after_accepting_is_invited_again(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(INVITE)
    workspace.apply()
    store = workspace.emulator.store
    (invite,) = store.collection("invite", ORGANIZATION).ordered()
    admin.delete(f"/organization/users/{invites.accept(store, invite).id}").raise_for_status()
    assert "it has ended, and the manifest still declares it" in workspace.plan().out
    workspace.apply()
    assert [one["status"] for one in admin.get("/organization/invites").json()["data"]] == [
        "accepted",
        "pending",
    ]


# --- roles and who has them


def test_a_role_of_a_project_is_not_one_of_the_organization(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(
        PROJECT, READER, READER.replace("name: reader", "name: reader, project: search")
    )
    workspace.apply()
    project = admin.get("/organization/projects").json()["data"][-1]["id"]
    for path in ("/organization", f"/projects/{project}"):
        names = [
            role["name"]
            for role in admin.get(f"{path}/roles").json()["data"]
            if not role["predefined_role"]
        ]
        assert names == ["Group reader"]


def test_a_predefined_role_is_not_changed(workspace: Workspace) -> None:
    workspace.declare(
        "kind: Role\nmetadata: {name: owner}\nspec: {role_name: owner, permissions: [api.all]}\n"
    )
    refused = workspace.run("apply", "--yes", "--adopt", expect=11)
    assert "Role/owner would be changed, but it is a predefined role" in refused.err


def test_a_predefined_role_is_not_called_unmanaged(
    workspace: Workspace, admin: httpx.Client
) -> None:
    workspace.declare(READER)
    workspace.apply()
    admin.post(
        "/organization/roles", json={"role_name": "Other", "permissions": []}
    ).raise_for_status()
    found = json.loads(workspace.run("drift", "--unmanaged", "--format", "json").out)
    unmanaged = found["reconciler"]["unmanaged"]
    assert [entry["label"] for entry in unmanaged if entry["kind"] == "Role"] == ["Other"]


@pytest.mark.parametrize("spelling", ["short", "long"])
def test_both_spellings_of_a_predefined_role_are_the_same(
    workspace: Workspace, admin: httpx.Client, spelling: str
) -> None:
    long = f"role-api-project-viewer__api-project__{workspace.emulator.project_id}"
    stack = f"kind: Stack\nspec: {{projects: {{main: {workspace.emulator.project_id}}}}}\nmetadata: {{name: it}}\n"
    workspace.write({"reconciler.yaml": stack})
    workspace.declare(
        CLEO, grant(TO_CLEO, "role-api-project-viewer" if spelling == "short" else long, "main")
    )
    workspace.apply()
    path = f"/projects/{workspace.emulator.project_id}/users/{person(admin, 'cleo')['id']}"
    assert roles_of(admin, path) == [long]
    other = long if spelling == "short" else "role-api-project-viewer"
    workspace.declare(CLEO, grant(TO_CLEO, other, "main"))
    assert workspace.plan().code == 0
    workspace.declare(CLEO)
    workspace.apply()
    assert roles_of(admin, path) == []


def test_an_inherited_grant_is_not_taken_for_one_of_the_user(
    workspace: Workspace, admin: httpx.Client
) -> None:
    everything = (CLEO, SUPPORT, MEMBER, READER, grant(TO_SUPPORT, "${Role/reader}", name="group"))
    workspace.declare(*everything)
    workspace.apply()
    path = f"/organization/users/{person(admin, 'cleo')['id']}"
    (inherited,) = roles_of(admin, path)
    workspace.declare(*everything, grant(TO_CLEO, "${Role/reader}", name="own"))
    assert "RoleAssignment/own   will be created" in workspace.plan().out
    workspace.apply()
    assert workspace.plan().code == 0
    workspace.declare(*everything)
    workspace.apply()
    assert roles_of(admin, path) == [inherited]


def test_an_inherited_grant_alone_does_not_count_as_there(
    workspace: Workspace, admin: httpx.Client
) -> None:
    everything = (CLEO, SUPPORT, MEMBER, READER, grant(TO_SUPPORT, "${Role/reader}", name="group"))
    workspace.declare(*everything, grant(TO_CLEO, "${Role/reader}", name="own"))
    workspace.apply()
    cleo = person(admin, "cleo")["id"]
    (role,) = roles_of(admin, f"/organization/users/{cleo}")
    admin.delete(f"/organization/users/{cleo}/roles/{role}").raise_for_status()
    assert roles_of(admin, f"/organization/users/{cleo}") == [role]
    assert "it was deleted outside" in workspace.plan().out


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("role_id: r", 'Missing "user_id" or "group_id"'),
        ("role_id: r, user_id: u, group_id: g", '"group_id" cannot be combined with "user_id"'),
    ],
)
def test_a_role_is_assigned_to_either_a_user_or_a_group(
    workspace: Workspace, spec: str, sentence: str
) -> None:
    workspace.declare(f"kind: RoleAssignment\nmetadata: {{name: it}}\nspec: {{{spec}}}\n")
    assert sentence in workspace.run("validate", expect=1).err
