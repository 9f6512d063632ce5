"""The main path of a user: plan, apply, nothing to do, edit, apply, destroy."""

from __future__ import annotations

import json
import stat

import httpx
import pytest

from tests.conftest import Workspace

PROJECT = """\
kind: Project
metadata: {name: search}
spec: {name: Search}
lifecycle: {on_remove: delete}
"""

LIMIT = """\
kind: RateLimit
metadata: {name: main, project: search}
spec: {model: gpt-4.1, max_requests_per_1_minute: 300}
"""

ASSISTANT = """\
kind: Assistant
metadata: {name: bot}
spec:
  name: Bot
  model: gpt-4o
  instructions: Be kind.
  temperature: 0.5
  metadata: {team: cx}
"""


def admin(workspace: Workspace) -> httpx.Client:
    return httpx.Client(
        base_url=workspace.emulator.base_url,
        headers={"Authorization": f"Bearer {workspace.emulator.admin_key}"},
    )


def project_id(client: httpx.Client, name: str = "Search") -> str:
    found = client.get("/organization/projects", params={"limit": 100}).json()["data"]
    return str(next(project["id"] for project in found if project["name"] == name))


def user(workspace: Workspace) -> httpx.Client:
    return httpx.Client(
        base_url=workspace.emulator.base_url,
        headers={
            "Authorization": f"Bearer {workspace.emulator.api_key}",
            "OpenAI-Beta": "assistants=v2",
        },
    )


def assistants(workspace: Workspace) -> list[dict[str, object]]:
    with user(workspace) as client:
        found: list[dict[str, object]] = client.get("/assistants", params={"limit": 100}).json()[
            "data"
        ]
        return found


def writes(workspace: Workspace) -> list[tuple[str, str]]:
    return [
        (item.method, item.path) for item in workspace.emulator.requests if item.method != "GET"
    ]


def test_a_plan_writes_nothing_anywhere(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT})
    assert workspace.plan().code == 2
    assert writes(workspace) == []
    assert sorted(path.name for path in workspace.folder.iterdir()) == ["a.yaml"]


def test_a_plan_without_detailed_exitcode_ends_with_zero(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).run("plan", expect=0)


def test_an_object_carries_our_mark_beside_its_own_metadata(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    (found,) = assistants(workspace)
    assert found["metadata"] == {"team": "cx", "reconciler": "stack/default/Assistant/bot"}


def test_only_the_changed_field_is_sent(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    workspace.write({"a.yaml": ASSISTANT.replace("0.5", "0.7")})
    workspace.emulator.clear_requests()
    workspace.apply()
    (request,) = [item for item in workspace.emulator.requests if item.method == "POST"]
    assert request.request_body == {"temperature": 0.7}


def test_a_field_that_is_taken_away_goes_back_to_its_default(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    workspace.write({"a.yaml": ASSISTANT.replace("  temperature: 0.5\n", "")})
    assert "back to the API's default" in workspace.plan().out
    workspace.apply()
    assert assistants(workspace)[0]["temperature"] == 1.0


def test_an_explicit_null_clears_a_field(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    workspace.write({"a.yaml": ASSISTANT.replace("Be kind.", "null")}).apply()
    assert assistants(workspace)[0]["instructions"] is None


def test_a_removed_declaration_deletes_its_object(workspace: Workspace) -> None:
    workspace.write(
        {"a.yaml": ASSISTANT, "b.yaml": ASSISTANT.replace("bot", "two").replace("Bot", "Two")}
    ).apply()
    (workspace.folder / "b.yaml").unlink()
    workspace.apply()
    assert [item["name"] for item in assistants(workspace)] == ["Bot"]


def test_a_retained_object_is_let_go_and_loses_its_mark(workspace: Workspace) -> None:
    retained = (
        ASSISTANT.replace("bot", "two").replace("Bot", "Two") + "lifecycle: {on_remove: retain}\n"
    )
    workspace.write({"a.yaml": ASSISTANT, "b.yaml": retained}).apply()
    (workspace.folder / "b.yaml").unlink()
    workspace.apply()
    assert {str(item["name"]): item["metadata"] for item in assistants(workspace)}["Two"] == {
        "team": "cx"
    }


def test_limits_are_written_back_when_their_declaration_goes(workspace: Workspace) -> None:
    workspace.write({"p.yaml": PROJECT, "l.yaml": LIMIT}).apply()
    with admin(workspace) as client:
        path = f"/organization/projects/{project_id(client)}/rate_limits"
        before = {
            row["model"]: row["max_requests_per_1_minute"]
            for row in client.get(path).json()["data"]
        }
        (workspace.folder / "l.yaml").unlink()
        workspace.apply()
        after = {
            row["model"]: row["max_requests_per_1_minute"]
            for row in client.get(path).json()["data"]
        }
    assert before["gpt-4.1"] == 300
    assert after["gpt-4.1"] != 300


def test_a_project_is_retained_unless_it_says_otherwise(workspace: Workspace) -> None:
    workspace.write(
        {"p.yaml": PROJECT.replace("lifecycle: {on_remove: delete}\n", ""), "a.yaml": ASSISTANT}
    ).apply()
    (workspace.folder / "p.yaml").unlink()
    workspace.apply()
    assert not [path for _, path in writes(workspace) if path.endswith("/archive")]


def test_an_object_of_the_same_name_is_a_conflict_and_not_a_second_object(
    workspace: Workspace,
) -> None:
    with user(workspace) as client:
        client.post("/assistants", json={"model": "gpt-4o", "name": "Bot"})
    done = workspace.write({"a.yaml": ASSISTANT}).run("apply", "--yes", expect=1)
    assert "exists already" in done.err
    assert len(assistants(workspace)) == 1


def test_a_conflict_is_resolved_by_adopting(workspace: Workspace) -> None:
    with user(workspace) as client:
        client.post("/assistants", json={"model": "gpt-4o", "name": "Bot"})
    workspace.write({"a.yaml": ASSISTANT}).apply("--adopt")
    assert [(item["name"], item["instructions"]) for item in assistants(workspace)] == [
        ("Bot", "Be kind.")
    ]


def test_two_candidates_are_an_error_that_lists_their_ids(workspace: Workspace) -> None:
    with user(workspace) as client:
        ids = [
            client.post("/assistants", json={"model": "gpt-4o", "name": "Bot"}).json()["id"]
            for _ in range(2)
        ]
    done = workspace.write({"a.yaml": ASSISTANT}).run("plan", "--adopt", expect=1)
    assert all(id in done.err for id in ids)


def test_an_object_of_another_stack_is_refused_by_the_name_of_that_stack(
    workspace: Workspace,
) -> None:
    mark = {"reconciler": "other/prod/Assistant/bot"}
    with user(workspace) as client:
        client.post("/assistants", json={"model": "gpt-4o", "name": "Bot", "metadata": mark})
    done = workspace.write({"a.yaml": ASSISTANT}).run("plan", "--adopt", expect=1)
    assert "other/prod/Assistant/bot" in done.err


def test_import_binds_one_object_without_writing(workspace: Workspace) -> None:
    with user(workspace) as client:
        id = client.post("/assistants", json={"model": "gpt-4o", "name": "Theirs"}).json()["id"]
    workspace.write({"a.yaml": ASSISTANT})
    workspace.emulator.clear_requests()
    workspace.run("import", "Assistant/bot", id, expect=0)
    assert writes(workspace) == []
    assert workspace.run("state", "list", expect=0).out.split() == ["Assistant/bot", id]


def test_the_next_plan_shows_differences_of_an_imported_object(workspace: Workspace) -> None:
    with user(workspace) as client:
        id = client.post("/assistants", json={"model": "gpt-4o", "name": "Theirs"}).json()["id"]
    workspace.write({"a.yaml": ASSISTANT}).run("import", "Assistant/bot", id, expect=0)
    assert '"Theirs" → "Bot"' in workspace.plan().out


def test_a_renamed_address_keeps_its_object(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    (before,) = assistants(workspace)
    renamed = (
        ASSISTANT.replace("{name: bot}", "{name: robot}")
        + "lifecycle: {renamed_from: Assistant/bot}\n"
    )
    workspace.write({"a.yaml": renamed}).apply()
    (after,) = assistants(workspace)
    assert (after["id"], after["metadata"]["reconciler"]) == (
        before["id"],
        "stack/default/Assistant/robot",
    )  # type: ignore[index]
    assert workspace.plan().code == 0


def test_a_changed_file_is_replaced_and_its_references_follow(workspace: Workspace) -> None:
    manifests = """\
    kind: File
    metadata: {name: notes}
    spec: {path: notes.txt, purpose: assistants}
    ---
    kind: Assistant
    metadata: {name: bot}
    spec:
      model: gpt-4o
      tools: [{type: code_interpreter}]
      tool_resources: {code_interpreter: {file_ids: ["${File/notes}"]}}
    """
    workspace.write({"a.yaml": manifests, "notes.txt": "one"}).apply()
    workspace.write({"notes.txt": "two"}).apply()
    (assistant,) = assistants(workspace)
    with user(workspace) as client:
        files = [item["id"] for item in client.get("/files").json()["data"]]
    assert assistant["tool_resources"]["code_interpreter"]["file_ids"] == files  # type: ignore[index]
    assert len(files) == 1
    assert workspace.plan().code == 0


def test_a_key_goes_into_a_file_that_only_its_owner_can_read(workspace: Workspace) -> None:
    account = """\
    kind: ServiceAccount
    metadata: {name: ci, project: search}
    spec: {name: ci, role: owner, key: {write_to: {file: keys/deep/ci.key}}}
    """
    done = workspace.write({"p.yaml": PROJECT, "s.yaml": account}).apply()
    path = workspace.folder / "keys" / "deep" / "ci.key"
    key = path.read_text().strip()
    assert key.startswith("sk-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in done.out + done.err


def test_a_key_goes_to_the_standard_input_of_a_command(workspace: Workspace) -> None:
    account = """\
    kind: ServiceAccount
    metadata: {name: ci, project: search}
    spec: {name: ci, key: {write_to: {command: [sh, -c, "cat > received"]}}}
    """
    workspace.write({"p.yaml": PROJECT, "s.yaml": account}).apply()
    assert (workspace.folder / "received").read_text().startswith("sk-")


def test_a_file_that_is_not_ours_is_never_overwritten(workspace: Workspace) -> None:
    account = """\
    kind: ServiceAccount
    metadata: {name: ci, project: search}
    spec: {name: ci, key: {write_to: {file: precious.txt}}}
    """
    workspace.write({"p.yaml": PROJECT, "s.yaml": account, "precious.txt": "mine"})
    workspace.run("apply", "--yes", expect=13)
    assert (workspace.folder / "precious.txt").read_text() == "mine"


def test_an_account_without_key_has_none(workspace: Workspace) -> None:
    account = """\
    kind: ServiceAccount
    metadata: {name: ci, project: search}
    spec: {name: ci}
    """
    workspace.write({"p.yaml": PROJECT, "s.yaml": account}).apply()
    with admin(workspace) as client:
        assert (
            client.get(f"/organization/projects/{project_id(client)}/api_keys").json()["data"] == []
        )


def test_what_is_in_a_new_project_is_made_with_the_key_of_a_new_account(
    workspace: Workspace,
) -> None:
    files = {
        "reconciler.yaml": """\
            kind: Stack
            metadata: {name: acme}
            spec:
              manifests: [m/]
              credentials:
                admin: ${env.OPENAI_ADMIN_KEY}
                projects: {search: "${file:secrets/search.key}"}
            """,
        "m/p.yaml": PROJECT,
        "m/s.yaml": """\
            kind: ServiceAccount
            metadata: {name: ci, project: search}
            spec: {name: ci, key: {write_to: {file: secrets/search.key}}}
            """,
        "m/v.yaml": """\
            kind: VectorStore
            metadata: {name: docs, project: search}
            spec: {name: Docs}
            """,
    }
    workspace.variables = {"OPENAI_API_KEY": ""}
    workspace.write(files).apply()
    assert workspace.plan().code == 0
    workspace.run("destroy", "--yes", expect=0)


def test_without_a_terminal_the_answer_is_no(workspace: Workspace) -> None:
    done = workspace.write({"a.yaml": ASSISTANT}).run("apply", expect=1)
    assert "--yes" in done.err
    assert writes(workspace) == []


def test_an_interrupted_question_changes_nothing(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).run("apply", stdin="", expect=1)
    assert assistants(workspace) == []


def test_a_saved_plan_is_applied_as_it_is(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).run("plan", "--out", "p.json", expect=0)
    workspace.run("apply", "p.json", expect=0)
    assert len(assistants(workspace)) == 1
    assert workspace.plan().code == 0


def test_a_saved_plan_can_only_be_read_by_its_owner(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).run("plan", "--out", "p.json", expect=0)
    assert stat.S_IMODE((workspace.folder / "p.json").stat().st_mode) == 0o600


def test_a_saved_plan_is_refused_once_the_manifests_changed(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).run("plan", "--out", "p.json", expect=0)
    workspace.write({"a.yaml": ASSISTANT.replace("0.5", "0.6")}).run("apply", "p.json", expect=10)
    assert assistants(workspace) == []


def test_a_saved_plan_is_refused_once_the_state_has_moved(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).run("plan", "--out", "p.json", expect=0)
    workspace.apply()
    workspace.run("apply", "p.json", expect=10)
    assert len(assistants(workspace)) == 1


def test_an_object_that_moved_since_the_plan_is_refused(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    workspace.write({"a.yaml": ASSISTANT.replace("0.5", "0.7")}).run(
        "plan", "--out", "p.json", expect=0
    )
    with user(workspace) as client:
        client.post(
            f"/assistants/{assistants(workspace)[0]['id']}", json={"instructions": "Be rude."}
        )
    done = workspace.run("apply", "p.json", expect=10)
    assert "Be rude." in done.out
    assert assistants(workspace)[0]["temperature"] == 0.5


def test_target_leaves_everything_else_alone(workspace: Workspace) -> None:
    two = ASSISTANT.replace("bot", "two").replace("Bot", "Two")
    workspace.write({"a.yaml": ASSISTANT + "---\n" + two}).apply("--target", "Assistant/two")
    assert [item["name"] for item in assistants(workspace)] == ["Two"]


def test_target_of_nothing_known_is_an_error_with_the_nearest_address(workspace: Workspace) -> None:
    done = workspace.write({"a.yaml": ASSISTANT}).run("plan", "--target", "Assistant/bit", expect=1)
    assert "Assistant/bot" in done.err


def test_replace_makes_a_new_object(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    (before,) = assistants(workspace)
    workspace.apply("--replace", "Assistant/bot")
    (after,) = assistants(workspace)
    assert before["id"] != after["id"]


def test_ignored_fields_are_left_to_others(workspace: Workspace) -> None:
    ignoring = ASSISTANT + "lifecycle: {ignore_changes: [temperature]}\n"
    workspace.write({"a.yaml": ignoring}).apply()
    with user(workspace) as client:
        client.post(f"/assistants/{assistants(workspace)[0]['id']}", json={"temperature": 1.5})
    assert workspace.plan().code == 0


def test_a_protected_object_is_not_deleted_even_after_its_block_is_gone(
    workspace: Workspace,
) -> None:
    two = ASSISTANT.replace("bot", "two").replace("Bot", "Two")
    workspace.write(
        {"a.yaml": ASSISTANT, "b.yaml": two + "lifecycle: {prevent_destroy: true}\n"}
    ).apply()
    workspace.write({"b.yaml": two}).apply()
    (workspace.folder / "b.yaml").unlink()
    done = workspace.run("apply", "--yes", expect=11)
    assert "--allow-delete Assistant/two" in done.err
    workspace.apply("--allow-delete", "Assistant/two")
    assert len(assistants(workspace)) == 1


def test_too_many_deletes_are_refused(workspace: Workspace) -> None:
    many = "\n---\n".join(
        ASSISTANT.replace("bot", f"b{n}").replace("Bot", f"B{n}") for n in range(8)
    )
    workspace.write({"a.yaml": ASSISTANT, "b.yaml": many}).apply()
    (workspace.folder / "b.yaml").unlink()
    done = workspace.run("apply", "--yes", expect=11)
    assert "8 of 9" in done.err
    assert len(assistants(workspace)) == 9


def test_the_json_plan_has_the_shape_of_terraforms(workspace: Workspace) -> None:
    plan = json.loads(
        workspace.write({"a.yaml": ASSISTANT}).run("plan", "--format", "json", expect=0).out
    )
    (change,) = plan["resource_changes"]
    assert (change["address"], change["type"], change["name"]) == (
        "Assistant/bot",
        "Assistant",
        "bot",
    )
    assert (change["change"]["actions"], change["change"]["before"]) == (["create"], None)


def test_outputs_are_there_for_applications(workspace: Workspace) -> None:
    stack = """\
    kind: Stack
    metadata: {name: s}
    spec:
      manifests: [m/]
      outputs: {bot-id: "${Assistant/bot}", bot_model: "${Assistant/bot.model}"}
    """
    workspace.write({"reconciler.yaml": stack, "m/a.yaml": ASSISTANT}).apply()
    id = str(assistants(workspace)[0]["id"])
    assert workspace.run("output", "bot-id", expect=0).out == id + "\n"
    assert (
        workspace.run("output", "--format", "env", expect=0).out
        == f"BOT_ID={id}\nBOT_MODEL=gpt-4o\n"
    )
    found = json.loads(workspace.run("output", "--format", "json", expect=0).out)
    assert found == {"bot-id": id, "bot_model": "gpt-4o"}


@pytest.mark.parametrize("position", ["before", "after"])
def test_global_options_may_stand_before_or_after_the_command(
    workspace: Workspace, position: str
) -> None:
    workspace.write({"sub/a.yaml": ASSISTANT})
    words = ["-C", "sub", "validate"] if position == "before" else ["validate", "-C", "sub"]
    assert "1 resource" in workspace.run(*words, expect=0).out


def test_reports_are_written_from_the_same_run(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT})
    workspace.run("plan", "--report", "p.md:markdown", "--report", "p.json:json", expect=0)
    assert "Assistant/bot" in (workspace.folder / "p.md").read_text()
    assert json.loads((workspace.folder / "p.json").read_text())["resource_changes"]
    assert len([item for item in workspace.emulator.requests if item.path == "/assistants"]) == 1


def test_a_plan_without_refresh_calls_nothing(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    workspace.write({"a.yaml": ASSISTANT.replace("0.5", "0.7")})
    workspace.emulator.clear_requests()
    assert "temperature: 0.5 → 0.7" in workspace.plan("--refresh", "none").out
    assert workspace.emulator.requests == []


@pytest.mark.parametrize(
    "command", [["apply", "--yes"], ["destroy", "--yes"], ["plan", "--out", "p.plan"]]
)
def test_an_offline_plan_cannot_be_applied(workspace: Workspace, command: list[str]) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    workspace.emulator.clear_requests()
    said = workspace.run(*command, "--refresh", "none", expect=1).err
    assert "--refresh none works with plan only" in said
    assert workspace.emulator.requests == []
    assert not (workspace.folder / "p.plan").exists()


def test_a_budget_that_is_too_small_is_refused_before_anything_is_called(
    workspace: Workspace,
) -> None:
    workspace.write({"p.yaml": PROJECT, "l.yaml": LIMIT, "a.yaml": ASSISTANT})
    assert "budget of 2" in workspace.run("plan", "--budget", "2", expect=1).err
    assert workspace.emulator.requests == []


def test_a_folder_with_a_key_in_it_stops_an_apply_before_anything_is_written(
    workspace: Workspace,
) -> None:
    store = "kind: VectorStore\nmetadata: {name: s}\nspec: {name: s, files: [{path: docs/*.md}]}\n"
    workspace.write({"s.yaml": store, "a.yaml": ASSISTANT, "docs/a.md": workspace.emulator.api_key})
    refused = workspace.run("apply", "--yes", expect=1)
    assert "s.yaml:3:32" in refused.err
    assert writes(workspace) == []
