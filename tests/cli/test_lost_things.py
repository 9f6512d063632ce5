"""Keys, projects and objects out of reach do not cause a second create."""

from __future__ import annotations

import sqlite3

import pytest

from tests.cli.test_plan_and_apply import ASSISTANT, PROJECT, assistants, user, writes
from tests.conftest import Workspace

STACK = {
    "reconciler.yaml": """\
        kind: Stack
        metadata: {name: acme}
        spec:
          manifests: [m/]
          credentials: {projects: {search: "${file:secrets/search.key}"}}
          outputs: {store: "${VectorStore/search/docs}"}
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


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    workspace.write(STACK).apply()
    return workspace


def test_a_lost_key_file_is_one_error_that_says_how_to_go_on(applied: Workspace) -> None:
    (applied.folder / "secrets" / "search.key").unlink()
    done = applied.run("plan", expect=1)
    assert "reconciler rotate --now --keep-old ServiceAccount/search/ci" in done.err


def test_a_lost_key_file_is_not_taken_for_no_drift(applied: Workspace) -> None:
    (applied.folder / "secrets" / "search.key").unlink()
    assert "cannot be read" in applied.run("drift", expect=1).err


def test_a_lost_key_file_never_makes_a_second_object(applied: Workspace) -> None:
    (applied.folder / "secrets" / "search.key").unlink()
    applied.emulator.clear_requests()
    applied.run("apply", "--yes", "--replace", "ServiceAccount/search/ci", expect=13)
    assert all("/service_accounts" in path for _, path in writes(applied))
    assert counts(applied, "vector_store") == [1]


def test_a_new_key_can_be_made_and_everything_is_found_again(applied: Workspace) -> None:
    ids = applied.run("output", expect=0).out
    (applied.folder / "secrets" / "search.key").unlink()
    applied.apply("--target", "ServiceAccount/search/ci", "--replace", "ServiceAccount/search/ci")
    applied.apply()
    assert applied.plan().code == 0
    assert applied.run("output", expect=0).out == ids


def test_a_new_key_beside_the_lost_one_opens_the_project_again(applied: Workspace) -> None:
    (applied.folder / "secrets" / "search.key").unlink()
    account = ("ServiceAccount/search/ci",)
    applied.run("rotate", "--now", "--keep-old", *account, "--yes", expect=0)
    applied.apply()
    assert applied.plan().code == 0


def test_the_key_in_use_is_not_deleted_while_anything_stays_behind_it(applied: Workspace) -> None:
    (applied.folder / "m" / "s.yaml").unlink()
    done = applied.run("apply", "--yes", expect=11)
    assert "VectorStore/search/docs still needs it" in done.err


def test_drift_is_reported_although_another_resource_is_in_conflict(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    with user(workspace) as client:
        client.post(f"/assistants/{assistants(workspace)[0]['id']}", json={"temperature": 1.5})
        client.post("/assistants", json={"model": "gpt-4o", "name": "Theirs"})
    workspace.write(
        {"b.yaml": ASSISTANT.replace("{name: bot}", "{name: two}").replace("Bot", "Theirs")}
    )
    assert "0.5 → 1.5" in workspace.run("drift", expect=2).out


def test_outputs_keep_their_last_value_when_an_apply_fails_in_part(applied: Workspace) -> None:
    before = applied.run("output", "store", expect=0).out
    applied.write(
        {
            "m/b.yaml": "kind: VectorStore\nmetadata: {name: more, project: search}\nspec: {name: More}\n"
        }
    )
    applied.emulator.add_fault("on=POST:/vector_stores,do=error:400,times=0")
    applied.run("apply", "--yes")
    assert applied.run("output", "store", expect=0).out == before


def test_a_path_with_an_index_can_be_ignored(workspace: Workspace) -> None:
    agent = """\
    kind: Agent
    metadata: {name: a}
    spec: {model: m, tools: [{type: web_search, context_size: low}]}
    lifecycle: {ignore_changes: ["tools[0].context_size"]}
    """
    workspace.write({"a.yaml": agent}).apply()
    with user(workspace) as client:
        headers = {"OpenAI-Beta": "agents=v1"}
        id = client.get("/agents", headers=headers).json()["data"][0]["id"]
        tools = [{"type": "web_search", "context_size": "high"}]
        client.post(f"/agents/{id}", json={"tools": tools}, headers=headers).raise_for_status()
    assert workspace.plan().code == 0


def test_destroying_a_target_leaves_what_it_needs(applied: Workspace) -> None:
    applied.run("destroy", "--yes", "--target", "VectorStore/search/docs", expect=0)
    assert "ServiceAccount/search/ci" in applied.run("state", "list", expect=0).out
    assert "VectorStore/search/docs" not in applied.run("state", "list", expect=0).out


def test_destroying_a_target_destroys_what_needs_it(applied: Workspace) -> None:
    applied.run("destroy", "--yes", "--target", "ServiceAccount/search/ci", expect=0)
    assert applied.run("state", "list", expect=0).out.split()[0] == "Project/search"


def test_a_target_that_is_declared_no_more_is_deleted_and_not_taken_for_gone(
    applied: Workspace,
) -> None:
    (applied.folder / "m" / "v.yaml").unlink()
    stack = STACK["reconciler.yaml"].replace(
        'outputs: {store: "${VectorStore/search/docs}"}', "outputs: {}"
    )
    applied.write({"reconciler.yaml": stack})
    applied.apply(
        "--target", "VectorStore/search/docs", "--allow-delete", "VectorStore/search/docs"
    )
    assert list(applied.emulator.store.all("vector_store")) == []


STATE = ".reconciler/acme.default.db"


def test_the_state_can_be_lost_in_the_middle_and_one_adopt_goes_on(workspace: Workspace) -> None:
    workspace.write(STACK)
    workspace.emulator.add_fault("on=POST:/vector_stores,do=error:400,times=0")
    workspace.run("apply", "--yes", expect=13)
    workspace.emulator.clear_faults()
    (workspace.folder / STATE).unlink()
    conflicts = workspace.run("plan", expect=1)
    assert "run plan and apply with --adopt" in conflicts.err
    workspace.apply("--adopt")
    workspace.apply("--adopt")
    assert workspace.plan().code == 0
    assert counts(workspace, "project", "service_account", "vector_store") == [2, 1, 1]


def counts(workspace: Workspace, *kinds: str) -> list[int]:
    with workspace.emulator.store.lock:
        found = workspace.emulator.store.counts()
    return [found.get(kind, 0) for kind in kinds]


def test_two_keys_of_one_project_show_each_object_once(workspace: Workspace) -> None:
    stack = f"kind: Stack\nmetadata: {{name: acme}}\nspec: {{projects: {{mine: {workspace.emulator.project_id}}}}}\n"
    assistant = ASSISTANT.replace("{name: bot}", "{name: bot, project: mine}")
    workspace.write({"reconciler.yaml": stack, "a.yaml": assistant}).apply()
    (workspace.folder / STATE).unlink()
    assert workspace.plan().code == 0
    workspace.write(
        {"a.yaml": "kind: VectorStore\nmetadata: {name: docs, project: mine}\nspec: {name: Docs}\n"}
    )
    assert "1 to create, 0 to update, 1 to delete" in workspace.plan().out


@pytest.mark.parametrize(
    "content", [b"no database", b"SQLite format 3\x00" + b"\xff" * 4096], ids=len
)
def test_a_damaged_state_is_one_error_that_says_what_to_do(
    applied: Workspace, content: bytes
) -> None:
    (applied.folder / STATE).write_bytes(content)
    applied.emulator.clear_requests()
    done = applied.run("apply", "--yes")
    assert (done.code, STATE in done.err, "--adopt" in done.err) == (1, True, True)
    assert (writes(applied), "Traceback" in done.err) == ([], False)


def test_a_state_of_a_newer_version_names_the_version_that_reads_it(applied: Workspace) -> None:
    connection = sqlite3.connect(applied.folder / STATE)
    connection.execute("PRAGMA user_version = 999")
    connection.execute("UPDATE meta SET value = '9.9.9' WHERE name = 'program'")
    connection.commit()
    connection.close()
    for command in ("plan", "apply"):
        assert "use reconciler 9.9.9 or later" in applied.run(command, expect=1).err


THEIRS = """\
kind: Project
metadata: {name: theirs}
spec: {name: Theirs}
"""


def test_destroying_twice_is_nothing_to_do_the_second_time(workspace: Workspace) -> None:
    workspace.write({"a.yaml": THEIRS}).apply()
    workspace.run("destroy", "--yes", expect=0)
    workspace.run("destroy", "--yes", expect=0)


def test_destroy_does_not_take_over_what_is_only_declared(workspace: Workspace) -> None:
    with user(workspace) as client:
        client.post("/assistants", json={"model": "gpt-4o", "name": "Bot"})
    workspace.write({"a.yaml": ASSISTANT + "lifecycle: {adopt: true}\n"})
    workspace.run("destroy", "--yes", expect=0)
    assert [found["name"] for found in assistants(workspace)] == ["Bot"]


def test_an_account_that_follows_another_keeps_its_key(applied: Workspace) -> None:
    key = applied.folder / "secrets" / "search.key"
    before = key.read_text()
    applied.apply("--replace", "ServiceAccount/search/ci")
    assert key.read_text() != before
    assert applied.plan().code == 0
