"""Claims about `rollback`: the changes of a run are undone, and nothing else changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest

from reconciler.emulator import Emulator
from reconciler.emulator.models import MODELS
from reconciler.model.address import Address
from reconciler.state import PreImage, StateStore
from reconciler.state.runs import RUNS_WITH_PRE_IMAGES
from tests.cli.test_lost_things import STACK as LOST
from tests.cli.test_plan_and_apply import ASSISTANT, LIMIT, PROJECT, admin, assistants, user, writes
from tests.conftest import Workspace

BOT = Address.parse("Assistant/bot")
NEWLINE = b"\n"
LOST_WITHOUT_OUTPUTS = LOST["reconciler.yaml"].replace(
    '  outputs: {store: "${VectorStore/search/docs}"}\n', ""
)

# --- all kinds and actions in one run --------------------------------------------------------------------------------

STACK = """\
kind: Stack
metadata: {name: acme}
spec:
  manifests: [m/]
  guards: {max_delete_percent: 100, max_deletes: 100}
  outputs: {bystander: "${Agent/bystander}"}
"""

STACK_OF_B = STACK.replace("outputs: {", 'outputs: {account: "${ServiceAccount/keep/created}", ')

COMMON = """\
kind: Project
metadata: {name: keep}
spec: {name: Keep}
---
kind: Agent
metadata: {name: bystander}
spec: {name: Bystander, model: gpt-5.1}
---
kind: User
metadata: {name: one}
spec: {email: ben@example.com}
"""

A = """\
kind: User
metadata: {name: updated}
spec: {email: cleo@example.com, role: reader}
---
kind: Group
metadata: {name: updated}
spec: {name: Before}
---
kind: Group
metadata: {name: deleted}
spec: {name: Deleted}
---
kind: GroupMember
metadata: {name: deleted}
spec: {group_id: "${Group/deleted}", user_id: "${User/one}"}
---
kind: GroupMember
metadata: {name: replaced}
spec: {group_id: "${Group/deleted}", user_id: "${User/updated}"}
---
kind: SpendLimit
metadata: {name: updated, project: keep}
spec: {threshold_amount: 500}
---
kind: SpendLimit
metadata: {name: deleted}
spec: {threshold_amount: 900}
---
kind: Project
metadata: {name: updated}
spec: {name: Before}
---
kind: Project
metadata: {name: forgotten}
spec: {name: Forgotten}
---
kind: RateLimit
metadata: {name: updated, project: keep}
spec: {model: gpt-4.1, max_requests_per_1_minute: 300}
---
kind: RateLimit
metadata: {name: deleted, project: keep}
spec: {model: gpt-4o, max_requests_per_1_minute: 200}
---
kind: ServiceAccount
metadata: {name: updated, project: keep}
spec: {name: updated, role: member}
---
kind: ServiceAccount
metadata: {name: deleted, project: keep}
spec: {name: deleted, key: {write_to: {file: keys/deleted}}}
---
kind: ServiceAccount
metadata: {name: unkeyed, project: keep}
spec: {name: unkeyed, key: {write_to: {file: keys/unkeyed}}}
---
kind: File
metadata: {name: replaced}
spec: {path: data/replaced.md, purpose: assistants}
---
kind: File
metadata: {name: deleted}
spec: {path: data/deleted.md, purpose: assistants}
---
kind: VectorStore
metadata: {name: updated}
spec:
  name: Before
  metadata: {team: cx}
  files: [{path: docs/*.md, attributes: {tier: gold}}, {file_id: "${File/replaced}"}]
---
kind: VectorStore
metadata: {name: deleted}
spec:
  name: Deleted
  expires_after: {anchor: last_active_at, days: 30}
  files: [{path: docs/*.md}, {file_id: "${File/deleted}"}]
---
kind: VectorStore
metadata: {name: forgotten}
spec: {name: Forgotten}
lifecycle: {on_remove: retain}
---
kind: Assistant
metadata: {name: updated}
spec:
  name: Before
  model: gpt-4o
  temperature: 0.5
  metadata: {store: "the store ${VectorStore/deleted}"}
  tools: [{type: file_search}]
  tool_resources: {file_search: {vector_store_ids: ["${VectorStore/deleted}"]}}
---
kind: Assistant
metadata: {name: deleted}
spec: {name: Deleted, model: gpt-4o, instructions: Be kind., metadata: {of: "${Assistant/updated}"}}
---
kind: Agent
metadata: {name: updated}
spec: {name: Before, model: gpt-5.1, experimental: {time_awareness: true}}
---
kind: Agent
metadata: {name: deleted}
spec: {name: Deleted, model: gpt-5.1, tools: [{type: web_search}]}
---
kind: Agent
metadata: {name: renamed}
spec: {name: Renamed, model: gpt-5.1}
"""

B = """\
kind: User
metadata: {name: updated}
spec: {email: cleo@example.com, role: owner}
---
kind: User
metadata: {name: created}
spec: {email: dev@example.com, role: owner}
---
kind: Group
metadata: {name: updated}
spec: {name: After}
---
kind: Group
metadata: {name: created}
spec: {name: Created}
---
kind: GroupMember
metadata: {name: created}
spec: {group_id: "${Group/created}", user_id: "${User/one}"}
---
kind: GroupMember
metadata: {name: replaced}
spec: {group_id: "${Group/updated}", user_id: "${User/updated}"}
---
kind: SpendLimit
metadata: {name: updated, project: keep}
spec: {threshold_amount: 600}
---
kind: Project
metadata: {name: updated}
spec: {name: After}
---
kind: RateLimit
metadata: {name: updated, project: keep}
spec: {model: gpt-4.1, max_requests_per_1_minute: 400, max_tokens_per_1_minute: 1000}
---
kind: RateLimit
metadata: {name: created, project: keep}
spec: {model: gpt-4o-mini, max_requests_per_1_minute: 100}
---
kind: ServiceAccount
metadata: {name: updated, project: keep}
spec: {name: updated, role: owner, key: {write_to: {file: keys/updated}}}
---
kind: ServiceAccount
metadata: {name: unkeyed, project: keep}
spec: {name: unkeyed}
---
kind: ServiceAccount
metadata: {name: created, project: keep}
spec: {name: created, key: {write_to: {file: keys/created}}}
---
kind: File
metadata: {name: replaced}
spec: {path: data/replaced.md, purpose: user_data}
---
kind: File
metadata: {name: created}
spec: {path: data/created.md, purpose: assistants}
---
kind: VectorStore
metadata: {name: updated}
spec:
  name: After
  files: [{path: docs/a.md, attributes: {tier: iron}}, {path: docs/more/*.md}]
---
kind: VectorStore
metadata: {name: created}
spec: {name: Created, files: [{path: docs/*.md}]}
---
kind: Assistant
metadata: {name: updated}
spec: {name: After, model: gpt-4o-mini, description: New}
---
kind: Assistant
metadata: {name: created}
spec: {name: Created, model: gpt-4o}
---
kind: Assistant
metadata: {name: adopted}
spec: {name: Theirs, model: gpt-4o-mini, instructions: Ours now.}
lifecycle: {adopt: true}
---
kind: VectorStore
metadata: {name: adopted}
spec: {name: Theirs}
lifecycle: {adopt: true}
---
kind: Agent
metadata: {name: updated}
spec: {name: After, model: gpt-5.1, reasoning: {effort: low}}
---
kind: Agent
metadata: {name: created}
spec: {name: Created, model: gpt-5.1}
---
kind: Agent
metadata: {name: new-name}
spec: {name: Renamed, model: gpt-5.1, instructions: New.}
lifecycle: {renamed_from: Agent/renamed}
"""

CONTENTS = {
    "data/replaced.md": "r\n",
    "data/deleted.md": "d\n",
    "data/created.md": "c\n",
    "docs/a.md": "# A\n",
    "docs/b.md": "# B\n",
    "docs/more/c.md": "# C\n",
}

OF_THEIR_TIME = {
    "id",
    "created_at",
    "last_active_at",
    "expires_at",
    "last_used_at",
    "archived_at",
    "updated_at",
}


class Story:
    """A is applied, then B, then B is rolled back; what was live after each."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace.write(
            {"reconciler.yaml": STACK, "m/common.yaml": COMMON, "m/a.yaml": A, **CONTENTS}
        )
        workspace.apply()
        with user(workspace) as client:
            theirs = {"model": "gpt-4o", "name": "Theirs", "instructions": "Made by hand."}
            client.post("/assistants", json=theirs).raise_for_status()
            client.post("/vector_stores", json={"name": "Theirs"}).raise_for_status()
        self.first = live(workspace.emulator)
        unkeyed = ("--allow-delete", "ServiceAccount/keep/unkeyed")
        workspace.write({"m/a.yaml": B, "reconciler.yaml": STACK_OF_B}).apply(*unkeyed)
        self.second = live(workspace.emulator)
        self.outputs = json.loads(workspace.run("output", "--format", "json").out)
        workspace.emulator.clear_requests()
        keyed = ("--allow-delete", "ServiceAccount/keep/updated")
        self.rollback = workspace.run("rollback", "2", "--yes", *keyed, expect=0)
        self.calls = writes(workspace)
        self.third = live(workspace.emulator)
        self.outputs_after = json.loads(workspace.run("output", "--format", "json").out)
        workspace.write({"m/a.yaml": A, "reconciler.yaml": STACK})
        self.plan = workspace.plan()


def live(emulator: Emulator) -> dict[str, Any]:
    """Every object by kind and name, without what belongs to its moment; ids are told by whose they are."""
    store = emulator.store
    kinds = (
        "project",
        "user",
        "group",
        "spend_limit",
        "service_account",
        "file",
        "vector_store",
        "assistant",
        "agent",
    )
    found = [(f"{kind} {_name(item.body)}", item) for kind in kinds for item in store.all(kind)]
    names = {item.id: name for name, item in found}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key not in OF_THEIR_TIME}
        if isinstance(value, list):
            return [plain(item) for item in value]
        for id, name in names.items() if isinstance(value, str) else ():
            value = value.replace(id, f"<{name}>")
        return value

    seen = {name: plain(item.body) for name, item in found}
    for body in seen.values():
        # No files for a tool that is not there, and no word about it, are the same to the API.
        body.get("tool_resources", {}).pop("code_interpreter", None)
    for name, item in found:
        if item.kind == "project":
            set_to = item.hidden["limits"]
            seen[f"limits of {name}"] = {
                model.id: {**model.limits, **set_to.get(model.id, {})} for model in MODELS
            }
        if item.kind == "service_account":
            seen[f"keys of {name}"] = sum(
                item.id in json.dumps(key.hidden) for key in store.all("api_key")
            )
        if item.kind == "group":
            seen[f"members of {name}"] = sorted(
                names[one.id] for one in store.collection("group_user", item.id).ordered()
            )
        if item.kind == "vector_store":
            members = (plain({**member.body, "file_id": member.id}) for member in store.collection(
                "vector_store_file", item.id
            ).ordered())  # fmt: skip
            seen[f"content of {name}"] = sorted(
                members, key=lambda member: json.dumps(member, sort_keys=True)
            )
    return seen


def _name(body: dict[str, Any]) -> str:
    return str(
        body.get("filename") or body.get("email") or body.get("name") or body["threshold_amount"]
    ) + (f" for {body['purpose']}" if "purpose" in body else "")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Emulator() as emulator:
        yield Story(Workspace(tmp_path_factory.mktemp("stack"), emulator))


def test_after_a_rollback_everything_is_live_as_it_was_before(story: Story) -> None:
    assert {name for name in story.second if story.second[name] != story.first.get(name)}
    assert story.third == story.first


def test_after_a_rollback_the_plan_of_the_former_manifests_is_empty(story: Story) -> None:
    assert story.plan.code == 0, story.plan.out


@pytest.mark.parametrize(
    ("address", "how"),
    [
        ("Project/updated", "updated"),
        ("Project/forgotten", "adopted"),
        ("User/created", "forgotten"),
        ("User/updated", "updated"),
        ("Group/created", "deleted"),
        ("Group/deleted", "created"),
        ("Group/updated", "updated"),
        ("GroupMember/created", "deleted"),
        ("GroupMember/deleted", "created"),
        ("GroupMember/replaced", "replaced"),
        ("SpendLimit/deleted", "created"),
        ("SpendLimit/keep/updated", "updated"),
        ("RateLimit/keep/created", "restored"),
        ("RateLimit/keep/deleted", "updated"),
        ("RateLimit/keep/updated", "updated"),
        ("ServiceAccount/keep/created", "deleted"),
        ("ServiceAccount/keep/deleted", "created"),
        ("ServiceAccount/keep/updated", "updated"),
        ("File/created", "deleted"),
        ("File/deleted", "created"),
        ("File/replaced", "replaced"),
        ("VectorStore/created", "deleted"),
        ("VectorStore/deleted", "created"),
        ("VectorStore/updated", "updated"),
        ("VectorStore/adopted", "forgotten"),
        ("VectorStore/forgotten", "adopted"),
        ("Assistant/created", "deleted"),
        ("Assistant/deleted", "created"),
        ("Assistant/updated", "updated"),
        ("Assistant/adopted", "forgotten"),
        ("Agent/created", "deleted"),
        ("Agent/deleted", "created"),
        ("Agent/updated", "updated"),
        ("Agent/renamed", "updated"),
    ],
)
def test_each_action_has_its_inverse(story: Story, address: str, how: str) -> None:
    assert re.search(rf"^  . {address} +will be {how}", story.rollback.out, re.MULTILINE)


def test_objects_that_the_run_did_not_change_are_not_written(story: Story) -> None:
    assert "bystander" not in story.rollback.out.split("Outputs")[0]
    ids = [
        item.id
        for item in story.workspace.emulator.store.all("agent")
        if item.body["name"] == "Bystander"
    ]
    assert not [path for _, path in story.calls if ids[0] in path]


@pytest.mark.parametrize("name", ["deleted", "unkeyed"])
def test_a_key_that_the_run_deleted_is_made_again_and_goes_to_its_sink(
    story: Story, name: str
) -> None:
    key = (story.workspace.folder / "keys" / name).read_text(encoding="utf-8").strip()
    found = story.workspace.emulator.store.key_record(key)
    assert found is not None


@pytest.mark.parametrize("name", ["created", "updated"])
def test_a_key_that_the_run_delivered_is_withdrawn(story: Story, name: str) -> None:
    assert not (story.workspace.folder / "keys" / name).exists()


def test_an_output_of_what_is_gone_again_is_gone_too(story: Story) -> None:
    assert set(story.outputs) == {"account", "bystander"}
    assert set(story.outputs_after) == {"bystander"}


def test_the_last_line_says_that_the_manifests_have_to_follow(story: Story) -> None:
    assert story.rollback.err.splitlines()[-1].startswith("Revert the manifests too")


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bot(workspace: Workspace) -> Workspace:
    """Run 1 made an assistant; then somebody changed one field that we manage and one that we do not."""
    workspace.write({"a.yaml": ASSISTANT.replace("  instructions: Be kind.\n", "")}).apply()
    edit(workspace, {"temperature": 1.5, "instructions": "Made by hand."})
    return workspace


def edit(workspace: Workspace, fields: dict[str, Any]) -> None:
    with user(workspace) as client:
        client.post(f"/assistants/{assistants(workspace)[0]['id']}", json=fields).raise_for_status()


def test_values_made_by_hand_that_the_run_wrote_over_come_back(bot: Workspace) -> None:
    bot.write({"a.yaml": ASSISTANT}).apply()
    bot.run("rollback", "2", "--yes", expect=0)
    found = assistants(bot)[0]
    assert (found["temperature"], found["instructions"]) == (1.5, "Made by hand.")


def test_a_deleted_object_comes_back_with_what_was_made_by_hand(bot: Workspace) -> None:
    bot.write({"a.yaml": ASSISTANT.replace("bot", "two").replace("Bot", "Two")}).apply()
    bot.run("rollback", "2", "--yes", "--target", "Assistant/bot", expect=0)
    found = {item["name"]: item for item in assistants(bot)}
    assert (found["Bot"]["temperature"], found["Bot"]["instructions"]) == (1.5, "Made by hand.")
    assert "Two" in found


def test_a_file_that_was_attached_by_hand_and_detached_by_the_run_is_attached_again(
    workspace: Workspace,
) -> None:
    spec = "kind: VectorStore\nmetadata: {name: s}\nspec: {name: One, files: [{path: d/*.md}]}\n"
    workspace.write({"s.yaml": spec, "d/a.md": "a\n"}).apply()
    (store,) = workspace.emulator.store.all("vector_store")
    with user(workspace) as client:
        upload = {"file": ("theirs.md", b"t", "text/markdown")}
        made = (
            client.post("/files", data={"purpose": "assistants"}, files=upload)
            .raise_for_status()
            .json()["id"]
        )
        client.post(f"/vector_stores/{store.id}/files", json={"file_id": made}).raise_for_status()
    before = attached(workspace, store.id)
    workspace.write({"s.yaml": spec.replace("One", "Two")}).apply()
    assert made not in attached(workspace, store.id)
    workspace.run("rollback", "2", "--yes", expect=0)
    assert attached(workspace, store.id) == before


def attached(workspace: Workspace, id: str) -> set[str]:
    return {
        item.id for item in workspace.emulator.store.collection("vector_store_file", id).ordered()
    }


def test_a_later_change_is_undone_with_a_warning(bot: Workspace) -> None:
    bot.write({"a.yaml": ASSISTANT}).apply()
    bot.write({"a.yaml": ASSISTANT.replace("0.5", "0.7")}).apply()
    done = bot.run("rollback", "2", "--yes", expect=0)
    assert "Run 3 changed it after run 2" in done.out
    assert assistants(bot)[0]["temperature"] == 1.5


def test_a_rollback_can_be_rolled_back(bot: Workspace) -> None:
    bot.write({"a.yaml": ASSISTANT}).apply()
    before = assistants(bot)
    bot.run("rollback", "2", "--yes", expect=0)
    bot.run("rollback", "3", "--yes", expect=0)
    assert assistants(bot) == before
    assert bot.plan().code == 0


# --- asking, saving, guarding ----------------------------------------------------------------------------------------


def test_a_rollback_needs_approval(bot: Workspace) -> None:
    bot.emulator.clear_requests()
    done = bot.run("rollback", "1", expect=1)
    assert "- Assistant/bot" in done.out
    assert "--yes" in done.err
    assert writes(bot) == []


def test_a_saved_rollback_is_applied_although_the_manifests_are_broken(bot: Workspace) -> None:
    saved = bot.run("rollback", "1", "--out", "plan.json", "--format", "json", expect=0)
    assert json.loads(saved.out)["reconciler"]["rollback_of"] == 1
    bot.write({"a.yaml": "kind: Assistent\n"}).run("apply", "plan.json", expect=0)
    assert assistants(bot) == []
    assert "rollback 1" in bot.run("history", "--limit", "1", expect=0).out


def test_a_saved_rollback_is_stale_once_the_state_has_moved(bot: Workspace) -> None:
    bot.run("rollback", "1", "--out", "plan.json", expect=0)
    bot.write({"a.yaml": ASSISTANT}).apply()
    assert "the state has moved on" in bot.run("apply", "plan.json", expect=10).err


def test_protected_objects_are_rolled_back_only_by_name(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT + "lifecycle: {prevent_destroy: true}\n"}).apply()
    assert "prevent_destroy" in workspace.run("rollback", "1", "--yes", expect=11).err
    workspace.run("rollback", "1", "--yes", "--allow-delete", "Assistant/bot", expect=0)
    assert assistants(workspace) == []


def test_the_key_in_use_is_not_rolled_back_while_anything_stays_behind_it(
    workspace: Workspace,
) -> None:
    store = LOST["m/v.yaml"]
    workspace.write({**LOST, "m/v.yaml": ""}).write(
        {"reconciler.yaml": LOST_WITHOUT_OUTPUTS}
    ).apply()
    workspace.write({"m/v.yaml": store}).apply()
    assert (
        "VectorStore/search/docs still needs it"
        in workspace.run("rollback", "1", "--yes", expect=11).err
    )


def test_the_last_owner_stays_one(workspace: Workspace) -> None:
    dev = "kind: User\nmetadata: {name: dev}\nspec: {email: dev@example.com, role: owner}\n"
    workspace.write({"u.yaml": dev}).apply()
    with admin(workspace) as client:
        for user_id in [
            item.id for item in workspace.emulator.store.all("user") if item.body["role"] == "owner"
        ][:2]:
            client.post(
                f"/organization/users/{user_id}", json={"role": "reader"}
            ).raise_for_status()
    assert (
        "it would leave no User with role owner"
        in workspace.run("rollback", "1", "--yes", expect=11).err
    )


def test_a_project_that_the_run_made_is_let_go_as_its_removal_would(workspace: Workspace) -> None:
    retained = PROJECT.replace("lifecycle: {on_remove: delete}\n", "")
    workspace.write({"p.yaml": retained + "---\n" + LIMIT}).apply()
    done = workspace.run("rollback", "1", "--yes", expect=0)
    assert "Project/search   will be forgotten: the object is kept" in done.out
    assert workspace.run("state", "list", expect=0).out == ""
    assert [item.body["status"] for item in workspace.emulator.store.all("project")] == [
        "active",
        "active",
    ]


# --- what cannot come back -------------------------------------------------------------------------------------------


def test_an_archived_project_refuses_the_rollback_and_the_rest_can_be_named(
    workspace: Workspace,
) -> None:
    workspace.write({"p.yaml": PROJECT + "---\n" + LIMIT, "a.yaml": ASSISTANT}).apply()
    workspace.run("destroy", "--yes", "--allow-delete", "Project/search", expect=0)
    workspace.emulator.clear_requests()
    refused = workspace.run("rollback", "2", "--yes", expect=1)
    assert "Project/search\n  The API cannot undo an archive" in refused.err
    assert writes(workspace) == []
    workspace.run("rollback", "2", "--yes", "--target", "Assistant/bot", expect=0)
    assert [item["name"] for item in assistants(workspace)] == ["Bot"]


@pytest.mark.parametrize(
    "spec",
    [
        "kind: File\nmetadata: {name: f}\nspec: {path: d/f.md, purpose: assistants}\n",
        "kind: VectorStore\nmetadata: {name: f}\nspec: {files: [{path: d/*.md}]}\n",
    ],
    ids=["File", "VectorStore"],
)
def test_other_content_than_before_is_never_uploaded(workspace: Workspace, spec: str) -> None:
    workspace.write({"a.yaml": ASSISTANT, "f.yaml": spec, "d/f.md": "before\n"}).apply()
    (workspace.folder / "f.yaml").unlink()
    workspace.apply()
    workspace.write({"d/f.md": "after\n"})
    done = workspace.run("rollback", "2", "--yes", expect=1)
    assert (
        f'"d/f.md" had the SHA-256 {sha256(b"before" + NEWLINE).hexdigest()} before the run'
        in done.err
    )
    assert list(workspace.emulator.store.all("file")) == []


def test_a_run_that_is_too_long_ago_says_so(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    with state(workspace) as store:
        for _ in range(RUNS_WITH_PRE_IMAGES):
            run = begin(store)
            image = PreImage(BOT, "update", "asst_1", {}, None)
            with store.runs.journal(run).change(BOT, "update", pre_image=image) as change:
                change.finish()
            store.runs.end(run, status="done", counts={"applied": 1})
    assert "run 1 is too long ago" in workspace.run("rollback", "1", "--yes", expect=1).err


def test_a_create_with_an_unknown_result_refuses_the_rollback(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT}).apply()
    address = Address.parse("Assistant/two")
    with state(workspace) as store:
        run = begin(store)
        image = PreImage(address, "create", None, {}, None)
        with (
            suppress(KeyboardInterrupt),
            store.runs.journal(run).change(address, "create", pre_image=image),
        ):
            raise KeyboardInterrupt
    assert (
        "Run 2 was stopped while it created the object"
        in workspace.run("rollback", "2", "--yes", expect=1).err
    )


def test_an_unknown_run_is_refused_without_making_a_state(workspace: Workspace) -> None:
    workspace.write({"a.yaml": ASSISTANT})
    assert "there is no run 7" in workspace.run("rollback", "7", "--yes", expect=1).err
    assert not (workspace.folder / ".reconciler").exists()


def state(workspace: Workspace) -> StateStore:
    return StateStore.open(workspace.folder / ".reconciler", stack="stack", environment="default")


def begin(store: StateStore) -> int:
    return store.runs.begin(command="apply", user="ada", host="laptop", pid=7, plan_digest="d")


ACCOUNT = """\
kind: Project
metadata: {name: keep}
spec: {name: Keep}
---
kind: ServiceAccount
metadata: {name: bot, project: keep}
spec: {name: bot%s}
"""


def test_a_value_that_only_the_server_can_give_is_not_sent_and_a_warning_says_what_stays(
    workspace: Workspace,
) -> None:
    workspace.declare(ACCOUNT % "").apply()
    workspace.declare(ACCOUNT % ", role: member").apply()
    rolled_back = workspace.run("rollback", "2", "--yes", expect=0)
    assert (
        "role is no longer set, and the API cannot clear it: it keeps its value" in rolled_back.out
    )
    assert workspace.declare(ACCOUNT % "").plan().code == 0


def test_a_spend_limit_that_was_there_is_written_back_and_not_deleted_later(
    workspace: Workspace,
) -> None:
    with admin(workspace) as client:
        body = {"threshold_amount": 500, "currency": "USD", "interval": "month"}
        client.post("/organization/spend_limit", json=body).raise_for_status()
        workspace.declare(PROJECT).apply()
        workspace.declare(
            PROJECT, "kind: SpendLimit\nmetadata: {name: all}\nspec: {threshold_amount: 700}\n"
        ).apply()
        workspace.run("rollback", "2", "--yes", expect=0)
        workspace.declare(PROJECT)
        assert workspace.plan().code == 0
        assert client.get("/organization/spend_limit").json()["threshold_amount"] == 500
