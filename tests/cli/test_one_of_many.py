"""If one resource cannot be read, found or bound, only that resource has an error."""

from __future__ import annotations

import json

import httpx
import pytest

from reconciler.emulator import Emulator
from tests.conftest import Workspace

PROJECT = "kind: Project\nmetadata: {name: p}\nspec: {name: P}\n"
STORE = "kind: VectorStore\nmetadata: {name: docs}\nspec: {name: Docs}\n"
AGENT = "kind: Agent\nmetadata: {name: helper}\nspec: {model: gpt-4.1}\n"
USING = "kind: Agent\nmetadata: {name: helper}\nspec: {model: gpt-4.1, metadata: {store: '${VectorStore/docs}'}}\n"
LEFT = "kind: User\nmetadata: {name: gone}\nspec: {email: gone@example.com, role: reader}\n"
CLEO = "kind: User\nmetadata: {name: cleo}\nspec: {email: cleo@example.com}\n"
GROUP = "kind: Group\nmetadata: {name: g}\nspec: {name: G}\n"
MEMBER = "kind: GroupMember\nmetadata: {name: m}\nspec: {group_id: '${Group/g}', user_id: '${User/gone}'}\n"
STATE = ".reconciler/stack.default.db"
INVITE = "kind: Invite\nmetadata: {name: ben}\nspec: {email: ben@example.com, role: owner}\n"


def refuse(workspace: Workspace, route: str, how: str = "error:404") -> None:
    workspace.emulator.add_fault(f"on={route},do={how},times=0")


def writes(workspace: Workspace) -> list[str]:
    return [
        item.path.split("/")[-1] for item in workspace.emulator.requests if item.method != "GET"
    ]


def statuses(workspace: Workspace, command: str, *, expect: int) -> dict[str, str]:
    done = workspace.run(command, "--yes", "--format", "json", expect=expect)
    return {
        item["address"]: item["status"] for item in json.loads(done.out)["reconciler"]["outcomes"]
    }


def count(workspace: Workspace, kind: str) -> int:
    with workspace.emulator.store.lock:
        return workspace.emulator.store.counts().get(kind, 0)


def recorded(workspace: Workspace) -> set[str]:
    return {line.split()[0] for line in workspace.run("state", "list", expect=0).out.splitlines()}


def leave(emulator: Emulator, email: str) -> None:
    with httpx.Client(
        base_url=emulator.base_url, headers={"authorization": f"Bearer {emulator.admin_key}"}
    ) as admin:
        users = admin.get("/organization/users").json()["data"]
        (id,) = [user["id"] for user in users if user["email"] == email]
        admin.delete(f"/organization/users/{id}").raise_for_status()


# --- what is only searched


@pytest.mark.parametrize("how", ["error:404", "error:400", "error:403", "not-json", "html:404"])
def test_a_kind_that_nobody_declares_may_answer_anything(workspace: Workspace, how: str) -> None:
    refuse(workspace, "GET:/agents", how)
    done = workspace.declare(STORE).run("apply", "--yes", expect=0)
    assert "  Agent: " in done.out
    assert "GET /agents" in done.out


def test_the_note_about_kinds_that_were_not_searched_is_one(workspace: Workspace) -> None:
    for route in ("GET:/agents", "GET:/assistants", "GET:/evals"):
        refuse(workspace, route)
    done = workspace.declare(STORE).run("plan", "--format", "json", expect=0)
    notes = [
        item
        for item in json.loads(done.out)["reconciler"]["diagnostics"]
        if "searched" in item["summary"]
    ]
    assert [item["severity"] for item in notes] == ["warning"]
    assert all(f"{name}: " in notes[0]["detail"] for name in ("Agent", "Assistant", "Eval"))
    assert "404" in notes[0]["detail"]


def test_a_server_without_a_kind_that_answers_500_is_asked_twice(workspace: Workspace) -> None:
    refuse(workspace, "GET:/agents", "error:500")
    done = workspace.declare(STORE).run("plan", expect=0)
    assert "Agent: GET /agents answered 500" in done.out
    assert [item.path for item in workspace.emulator.requests].count("/agents") == 2


def test_a_search_that_failed_temporarily_is_repeated(workspace: Workspace) -> None:
    workspace.declare(STORE, AGENT).apply()
    (workspace.folder / STATE).unlink()
    refuse(workspace, "GET:/agents", "html:502")
    workspace.declare(STORE).apply()
    workspace.emulator.clear_faults()
    assert "Agent/helper" in workspace.plan().out


# --- what is declared or recorded


def test_a_declared_kind_that_cannot_be_read_fails_alone(workspace: Workspace) -> None:
    refuse(workspace, "GET:/agents*", "error:400")
    assert statuses(workspace.declare(STORE, AGENT), "apply", expect=13) == {
        "Agent/helper": "failed",
        "VectorStore/docs": "applied",
    }


def test_a_plan_with_an_error_shows_the_rest_and_exits_with_1(workspace: Workspace) -> None:
    refuse(workspace, "GET:/agents*", "error:400")
    done = workspace.declare(STORE, AGENT).run("plan", "--detailed-exitcode", expect=1)
    assert "GET /agents answered 400" in done.err
    assert "not planned: Agent objects could not be read" in done.out
    assert "1 to create, 0 to update, 0 to delete; 1 with errors" in done.out


def test_dependents_of_a_resource_with_an_error_are_skipped(workspace: Workspace) -> None:
    refuse(workspace, "GET:/vector_stores*", "error:400")
    found = statuses(workspace.declare(STORE, USING, PROJECT), "apply", expect=13)
    assert found == {
        "Agent/helper": "skipped",
        "Project/p": "applied",
        "VectorStore/docs": "failed",
    }


def test_what_refers_to_an_unreadable_object_and_is_in_order_shows_no_change(
    workspace: Workspace,
) -> None:
    workspace.declare(STORE, USING).apply()
    refuse(workspace, "GET:/vector_stores*", "error:400")
    done = workspace.run("plan", "--format", "json", expect=1)
    changes = {
        item["address"]: item["change"]["actions"]
        for item in json.loads(done.out)["resource_changes"]
    }
    assert changes["Agent/helper"] == ["no-op"]


def test_an_unreadable_object_keeps_its_record(workspace: Workspace) -> None:
    workspace.declare(STORE, AGENT).apply()
    refuse(workspace, "GET:/agents*", "error:400")
    workspace.declare(STORE).run("apply", "--yes", expect=1)
    workspace.emulator.clear_faults()
    assert "Agent/helper" in recorded(workspace)
    workspace.apply()
    assert count(workspace, "agent") == 0


def test_a_destroy_continues_without_unreadable_objects(workspace: Workspace) -> None:
    workspace.declare(STORE, AGENT).apply()
    refuse(workspace, "GET:/agents*", "error:400")
    found = statuses(workspace, "destroy", expect=13)
    assert found == {"Agent/helper": "failed", "VectorStore/docs": "applied"}


def test_drift_that_could_not_be_looked_for_is_an_error(workspace: Workspace) -> None:
    workspace.declare(STORE, AGENT).apply()
    refuse(workspace, "GET:/agents*", "error:400")
    assert "Agent objects could not be read" in workspace.run("drift", expect=1).err


def test_a_saved_plan_with_an_error_carries_out_the_rest(workspace: Workspace) -> None:
    refuse(workspace, "GET:/agents*", "error:400")
    workspace.declare(STORE, AGENT).run("plan", "--out", "p.json", expect=1)
    workspace.run("apply", "p.json", expect=13)
    assert count(workspace, "vector_store") == 1


def test_a_server_that_refuses_everything_is_reported_once(workspace: Workspace) -> None:
    refuse(workspace, "*:*", "error:403")
    done = workspace.declare(STORE, AGENT, GROUP).run("plan", expect=1)
    assert done.err.startswith("Error: GET ")
    assert done.err.count("403") == 1


# --- retired kinds


@pytest.mark.parametrize("how", ["agents", "agents:410", "agents:400"])
def test_a_retired_kind_that_nothing_declares_is_forgotten_with_a_warning(
    workspace: Workspace, how: str
) -> None:
    workspace.declare(STORE, AGENT).apply()
    workspace.emulator.set_options(retire=[how])
    done = workspace.declare(STORE).run("apply", "--yes", expect=0)
    assert "The server has no Agent objects any more" in done.out
    assert recorded(workspace) == {"VectorStore/docs"}


def test_a_declared_resource_of_a_retired_kind_fails_alone_and_says_the_way_out(
    workspace: Workspace,
) -> None:
    assistant = "kind: Assistant\nmetadata: {name: bot}\nspec: {model: gpt-4.1}\n"
    workspace.declare(assistant, STORE).apply()
    workspace.emulator.set_options(retire_assistants=True)
    done = workspace.declare(assistant, STORE, PROJECT).run("apply", "--yes", expect=13)
    assert "declare kind Agent instead, or remove the documents" in done.err
    assert count(workspace, "project") == 2


def test_a_stack_with_a_retired_kind_can_be_destroyed(workspace: Workspace) -> None:
    workspace.declare(STORE, AGENT).apply()
    workspace.emulator.set_options(retire=["agents"])
    workspace.run("destroy", "--yes", expect=0)
    assert recorded(workspace) == set()


def test_a_server_error_of_a_list_is_no_retirement(workspace: Workspace) -> None:
    workspace.declare(STORE, AGENT).apply()
    workspace.emulator.set_options(retire=["agents:422"])
    workspace.declare(STORE).run("apply", "--yes", expect=1)
    assert "Agent/helper" in recorded(workspace)


# --- what cannot be created


def test_a_person_who_is_no_member_fails_alone_and_the_message_says_invite(
    workspace: Workspace,
) -> None:
    done = workspace.declare(LEFT, GROUP, MEMBER).run("apply", "--yes", expect=13)
    assert "declare kind Invite" in done.err
    assert count(workspace, "group") == 1
    assert "GroupMember/m" in done.out


def test_a_person_who_left_stops_no_destroy(workspace: Workspace) -> None:
    workspace.declare(CLEO, GROUP).apply()
    leave(workspace.emulator, "cleo@example.com")
    workspace.run("plan", expect=1)
    workspace.run("destroy", "--yes", expect=0)
    assert count(workspace, "group") == 0


def test_an_organization_whose_list_is_empty_lacks_the_person_too(workspace: Workspace) -> None:
    key = "kind: ProjectKey\nmetadata: {name: k, project: p}\nspec: {name: Laptop, owner: ada@example.com}\n"
    workspace.declare(PROJECT).apply()
    done = workspace.declare(PROJECT, key).run("plan", expect=1)
    assert "Only its owner can create such a key" in done.err


def test_a_limit_for_an_unknown_model_says_which_one_may_be_meant(workspace: Workspace) -> None:
    limit = "kind: RateLimit\nmetadata: {name: l, project: p}\nspec: {model: gpt-4.11, max_requests_per_1_minute: 5}\n"
    workspace.declare(PROJECT).apply()
    done = workspace.declare(PROJECT, limit).run("plan", expect=1)
    assert 'Did you mean "gpt-4.1"?' in done.err


def test_a_conflict_refuses_its_own_resource_and_no_other(workspace: Workspace) -> None:
    with httpx.Client(
        base_url=workspace.emulator.base_url,
        headers={"authorization": f"Bearer {workspace.emulator.api_key}"},
    ) as http:
        http.post(
            "/vector_stores", json={"name": "Docs"}, headers={"OpenAI-Beta": "assistants=v2"}
        ).raise_for_status()
    found = statuses(workspace.declare(STORE, PROJECT), "apply", expect=13)
    assert found == {"Project/p": "applied", "VectorStore/docs": "failed"}
    assert count(workspace, "vector_store") == 1


# --- readings that a decision needs


def test_a_member_is_not_invited_although_the_log_shows_no_change_of_members(
    workspace: Workspace,
) -> None:
    workspace.declare(INVITE, CLEO, PROJECT).apply()
    assert workspace.plan().code == 0


def test_a_field_that_only_the_server_sets_is_read_although_the_log_shows_no_change(
    workspace: Workspace,
) -> None:
    agent = "kind: Agent\nmetadata: {name: a}\nspec: {model: gpt-4.1, metadata: {role: '${User/cleo.role}'}}\n"
    workspace.declare(PROJECT, CLEO, agent).apply()
    assert workspace.plan().code == 0


def test_an_invite_fails_alone_where_members_cannot_be_read(workspace: Workspace) -> None:
    refuse(workspace, "GET:/organization/users", "error:400")
    found = statuses(workspace.declare(INVITE, PROJECT), "apply", expect=13)
    assert found == {"Invite/ben": "failed", "Project/p": "applied"}
    assert count(workspace, "invite") == 0


def test_an_apply_whose_resources_all_have_errors_ends_with_these_alone(
    workspace: Workspace,
) -> None:
    workspace.declare(GROUP).apply()
    with httpx.Client(
        base_url=workspace.emulator.base_url,
        headers={"authorization": f"Bearer {workspace.emulator.admin_key}"},
    ) as admin:
        admin.post("/organization/groups", json={"name": "H"}).raise_for_status()
    other = "kind: Group\nmetadata: {name: h}\nspec: {name: H}\n"
    done = workspace.declare(f"{GROUP}---\n{other}").run("apply", "--yes", expect=1)
    assert "An object like this exists already" in done.err
    assert "unexpected" not in done.err
