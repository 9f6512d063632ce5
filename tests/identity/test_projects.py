"""Claims about identity across projects: names are labels, and the id of a project says where an object is."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.cli.test_plan_and_apply import admin, project_id, writes
from tests.conftest import Workspace

GROUPS = "".join(
    f"---\nkind: Group\nmetadata: {{name: g{n}}}\nspec: {{name: G{n}}}\n" for n in range(9)
)
TEAM = """\
kind: Project
metadata: {name: team}
spec: {name: Team}
---
kind: RateLimit
metadata: {name: main, project: team}
spec: {model: gpt-4o, max_requests_per_1_minute: 77}
---
kind: ProjectUser
metadata: {name: dev, project: team}
spec: {email: dev@example.com, role: member}
---
kind: ServiceAccount
metadata: {name: bot, project: team}
spec: {name: bot, key: {write_to: {file: secrets/bot.key}}}
---
kind: SpendLimit
metadata: {name: cap, project: team}
spec: {threshold_amount: 5000}
"""
OTHER = "---\nkind: Project\nmetadata: {name: other}\nspec: {name: Other}\n"
RENAMED = TEAM.replace("project: team}", "project: crew}").replace(
    "metadata: {name: team}\nspec: {name: Team}",
    "metadata: {name: crew}\nspec: {name: Team}\nlifecycle: {renamed_from: Project/team}",
)
BOT = "metadata: {name: bot, project: team}\nspec: {name: bot, key: {write_to: {file: secrets/bot.key}}}\n"


def inside(workspace: Workspace, what: str, name: str = "Team") -> list[dict[str, Any]]:
    with admin(workspace) as client:
        path = f"/organization/projects/{project_id(client, name)}/{what}"
        found: list[dict[str, Any]] = client.get(path, params={"limit": 100}).json()["data"]
        return found


def limit(workspace: Workspace) -> int:
    rows = inside(workspace, "rate_limits")
    return next(int(row["max_requests_per_1_minute"]) for row in rows if row["model"] == "gpt-4o")


@pytest.fixture
def team(workspace: Workspace) -> Workspace:
    workspace.write({"groups.yaml": GROUPS, "team.yaml": TEAM}).apply()
    return workspace


# --- a project with a new address


def test_the_objects_of_a_project_move_with_its_renamed_address(team: Workspace) -> None:
    team.write({"team.yaml": RENAMED}).emulator.clear_requests()
    assert "0 to delete" in team.plan().out
    team.apply()
    assert writes(team) == []
    assert (limit(team), [row["email"] for row in inside(team, "users")]) == (
        77,
        ["dev@example.com"],
    )
    assert team.plan().code == 0
    assert "/team/" not in team.run("state", "list", expect=0).out


def test_an_object_removed_while_its_project_is_renamed_is_deleted(
    team: Workspace,
) -> None:
    without = RENAMED.replace(
        "---\nkind: ProjectUser\nmetadata: {name: dev, project: crew}\nspec: {email: dev@example.com, role: member}\n",
        "",
    )
    team.write({"team.yaml": without}).apply()
    assert inside(team, "users") == []
    assert team.plan().code == 0


def test_a_project_that_was_renamed_alone_takes_the_rest_along_with_the_next_apply(
    team: Workspace,
) -> None:
    team.write({"team.yaml": RENAMED}).apply("--target", "Project/crew")
    team.emulator.clear_requests()
    team.apply()
    assert writes(team) == []
    assert team.plan().code == 0


def test_a_name_of_the_stack_for_a_project_can_be_renamed_without_a_change(
    workspace: Workspace,
) -> None:
    account = "kind: ServiceAccount\nmetadata: {name: a, project: NAME}\nspec: {name: a}\n"
    stack = f"kind: Stack\nmetadata: {{name: s}}\nspec: {{projects: {{NAME: {workspace.emulator.project_id}}}}}\n"
    for name in ("legacy", "search"):
        files = {
            "reconciler.yaml": stack.replace("NAME", name),
            "a.yaml": account.replace("NAME", name),
        }
        workspace.write(files).emulator.clear_requests()
        workspace.apply()
    assert writes(workspace) == []
    assert workspace.plan().code == 0


def test_marks_name_the_new_address_after_the_project_was_renamed(workspace: Workspace) -> None:
    store = "kind: VectorStore\nmetadata: {name: docs, project: NAME}\nspec: {name: Docs}\n"
    stack = f"kind: Stack\nmetadata: {{name: s}}\nspec: {{projects: {{NAME: {workspace.emulator.project_id}}}}}\n"
    for name in ("legacy", "search"):
        files = {
            "reconciler.yaml": stack.replace("NAME", name),
            "a.yaml": store.replace("NAME", name),
        }
        workspace.write(files).apply()
    shutil.rmtree(workspace.folder / ".reconciler")
    assert workspace.plan().code == 0


def test_rolling_back_the_rename_of_a_project_takes_all_that_is_in_it_back(team: Workspace) -> None:
    team.write({"team.yaml": RENAMED}).apply()
    team.emulator.clear_requests()
    team.run("rollback", "2", "--yes", expect=0)
    assert writes(team) == []
    assert team.write({"team.yaml": TEAM}).plan().code == 0


def test_a_retained_project_is_not_made_a_second_time_under_a_new_address(team: Workspace) -> None:
    renamed = RENAMED.replace("\nlifecycle: {renamed_from: Project/team}", "")
    refused = team.write({"team.yaml": renamed}).run("apply", "--yes", expect=1)
    assert "renamed_from: Project/team" in refused.err


# --- another project


@pytest.mark.parametrize("lifecycle", ["", "lifecycle: {renamed_from: ServiceAccount/team/bot}\n"])
def test_an_account_that_moves_to_another_project_is_made_there_and_deleted_here(
    team: Workspace, lifecycle: str
) -> None:
    moved = TEAM.replace(BOT, BOT.replace("project: team", "project: other") + lifecycle)
    team.write({"team.yaml": moved + OTHER}).emulator.clear_requests()
    plan = team.plan().out
    assert ("1 to delete" in plan, "deleted outside" in plan) == (True, False)
    team.apply()
    assert [row["name"] for row in inside(team, "service_accounts")] == []
    assert [row["name"] for row in inside(team, "service_accounts", "Other")] == ["bot"]
    # Both keys go to one file, so the old one has to leave it before the new one comes.
    calls = [method for method, path in writes(team) if "service_accounts" in path]
    assert calls == ["DELETE", "POST"]
    assert (team.folder / "secrets/bot.key").exists()
    assert team.plan().code == 0


def test_the_plan_says_why_an_object_is_created_again_in_another_project(team: Workspace) -> None:
    lifecycle = "lifecycle: {renamed_from: ServiceAccount/team/bot}\n"
    moved = TEAM.replace(BOT, BOT.replace("project: team", "project: other") + lifecycle)
    plan = team.write({"team.yaml": moved + OTHER}).plan().out
    assert plan.count("objects cannot move between projects") == 2


def test_a_name_that_means_another_project_by_now_is_an_error_and_makes_nothing(
    workspace: Workspace,
) -> None:
    with admin(workspace) as client:
        other = client.post("/organization/projects", json={"name": "Other"}).json()["id"]
    account = "kind: ServiceAccount\nmetadata: {name: a, project: legacy}\nspec: {name: a}\n"
    stack = "kind: Stack\nmetadata: {name: s}\nspec: {projects: {legacy: ID}}\n"
    first = stack.replace("ID", workspace.emulator.project_id)
    workspace.write({"reconciler.yaml": first, "a.yaml": account}).apply()
    workspace.write({"reconciler.yaml": stack.replace("ID", other)}).emulator.clear_requests()
    refused = workspace.run("apply", "--yes", expect=1)
    assert workspace.emulator.project_id in refused.err
    assert other in refused.err
    assert writes(workspace) == []


def test_a_record_that_was_moved_to_another_project_by_hand_is_an_error(team: Workspace) -> None:
    team.write({"other.yaml": OTHER}).apply()
    team.run("state", "mv", "ServiceAccount/team/bot", "ServiceAccount/other/bot", expect=0)
    team.write({"team.yaml": TEAM.replace(BOT, BOT.replace("project: team", "project: other"))})
    assert "Project name reused" in team.run("apply", "--yes", expect=1).err


# --- two addresses


def test_a_declared_project_that_the_stack_names_too_is_an_error_with_both_places(
    workspace: Workspace,
) -> None:
    id = workspace.emulator.project_id
    with admin(workspace) as client:
        name = next(
            row["name"]
            for row in client.get("/organization/projects").json()["data"]
            if row["id"] == id
        )
    stack = f"kind: Stack\nmetadata: {{name: s}}\nspec: {{projects: {{legacy: {id}}}}}\n"
    project = f'kind: Project\nmetadata: {{name: search}}\nspec: {{name: "{name}"}}\nlifecycle: {{adopt: true}}\n'
    refused = workspace.write({"reconciler.yaml": stack, "p.yaml": project}).plan()
    assert refused.code == 1
    assert "p.yaml:1:1" in refused.err
    assert "spec.projects.legacy" in refused.err


def test_a_member_declared_by_address_and_by_id_is_one_object_under_two_addresses(
    team: Workspace,
) -> None:
    id = inside(team, "users")[0]["id"]
    again = f"kind: ProjectUser\nmetadata: {{name: again, project: team}}\nspec: {{user_id: {id}, role: owner}}\n"
    refused = team.write({"again.yaml": again}).plan()
    assert refused.code == 1
    assert "ProjectUser/team/dev" in refused.err
    assert "ProjectUser/team/again" in refused.err


def test_a_record_left_over_for_an_object_that_another_address_has_is_forgotten(
    team: Workspace,
) -> None:
    export = json.loads(team.run("state", "export", expect=0).out)
    (row,) = [row for row in export["resources"] if row["address"] == "RateLimit/team/main"]
    export["resources"].append({**row, "address": "RateLimit/team/old"})
    team.write({"s.json": json.dumps(export)}).run("state", "import", "s.json", expect=0)
    assert "will be forgotten: its object is now bound to another address" in team.plan().out
    team.apply()
    assert limit(team) == 77
    assert team.plan().code == 0


# --- retained projects


def test_the_objects_of_a_retained_project_are_retained_with_it(team: Workspace) -> None:
    (team.folder / "team.yaml").unlink()
    plan = team.plan().out
    assert plan.count("will be forgotten: its project is kept, with everything in it") == 4
    team.emulator.clear_requests()
    team.apply()
    assert (writes(team), limit(team)) == ([], 77)
    assert team.plan().code == 0


def test_an_object_with_on_remove_delete_is_deleted_from_a_retained_project(
    team: Workspace,
) -> None:
    team.write({"team.yaml": TEAM.replace(BOT, BOT + "lifecycle: {on_remove: delete}\n")}).apply()
    (team.folder / "team.yaml").unlink()
    team.apply()
    assert (inside(team, "service_accounts"), limit(team)) == ([], 77)


def test_an_object_removed_from_a_declared_project_is_deleted(team: Workspace) -> None:
    team.write({"team.yaml": TEAM.replace(f"---\nkind: ServiceAccount\n{BOT}", "")}).apply()
    assert inside(team, "service_accounts") == []


def test_a_retained_project_is_forgotten_only_after_its_objects(workspace: Workspace) -> None:
    store = "---\nkind: VectorStore\nmetadata: {name: docs, project: search}\nspec: {name: Docs}\n"
    project = "kind: Project\nmetadata: {name: search}\nspec: {name: Default project}\nlifecycle: {adopt: ID}\n"
    project = project.replace("ID", workspace.emulator.project_id)
    keep = "kind: Group\nmetadata: {name: keep}\nspec: {name: Keep}\n"
    workspace.write({"p.yaml": project + store, "k.yaml": keep}).apply()
    (workspace.folder / "p.yaml").unlink()
    workspace.emulator.add_fault("on=POST:/vector_stores/*,do=error:400")
    workspace.run("apply", "--yes", expect=1)
    assert "Project/search" in workspace.run("state", "list", expect=0).out
    workspace.apply()
    with workspace.emulator.store.lock:
        assert [live.body["metadata"] for live in workspace.emulator.store.all("vector_store")] == [
            {}
        ]


# --- a new address without `renamed_from`


def test_nothing_happens_to_a_project_whose_new_address_lacks_renamed_from(team: Workspace) -> None:
    team.write({"team.yaml": RENAMED.replace("\nlifecycle: {renamed_from: Project/team}", "")})
    assert "renamed_from: Project/team" in team.run("apply", "--yes", expect=1).err
    team.write({"team.yaml": RENAMED}).apply()
    assert (limit(team), [row["email"] for row in inside(team, "users")]) == (
        77,
        ["dev@example.com"],
    )


def test_a_limit_is_not_reset_while_another_address_declares_it(team: Workspace) -> None:
    team.write({"team.yaml": TEAM.replace("{name: main,", "{name: chat,")})
    result = team.run("apply", "--yes", expect=1)
    assert "renamed_from: RateLimit/team/main" in result.err
    assert limit(team) == 77


def test_a_member_is_not_removed_while_another_address_declares_it(team: Workspace) -> None:
    team.write({"team.yaml": TEAM.replace("{name: dev,", "{name: developer,")})
    team.run("apply", "--yes", expect=1)
    assert [row["email"] for row in inside(team, "users")] == ["dev@example.com"]
