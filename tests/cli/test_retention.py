"""Claims about `Retention`: exactly the matches go, under the guards, and nothing in use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from reconciler.emulator.files import make_file
from reconciler.emulator.indexing import make_store
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.world import DEFAULT_PROJECT
from tests.conftest import Workspace

STORE = """\
kind: VectorStore
metadata: {name: handbook}
spec: {name: Handbook, files: [{path: a.md}]}
"""
RESULTS = """\
kind: Retention
metadata: {name: results}
spec:
  of: File
  match: {purpose: batch_output, older_than_days: 30}
"""


class Platform:
    """What others left at the API, each with an age in days."""

    def __init__(self, workspace: Workspace) -> None:
        self.store = workspace.emulator.store

    def file(self, name: str, age: float, purpose: str = "batch_output") -> str:
        """A file."""
        made = make_file(
            self.store, DEFAULT_PROJECT, filename=name, purpose=purpose, content=b"{}\n"
        )
        return self._aged(made, created_at=age)

    def vector_store(
        self, name: str, age: float, unused: float | None = None, **metadata: str
    ) -> str:
        """A vector store; `unused` days lie between its last use and today."""
        made = make_store(self.store, DEFAULT_PROJECT, {"name": name, "metadata": metadata})
        return self._aged(made, created_at=age, last_active_at=age if unused is None else unused)

    def age(self, kind: str, id: str, name: str, days: float) -> None:
        """Make an object that many days old."""
        found = self.store.get(kind, DEFAULT_PROJECT, id)
        assert found is not None
        self._aged(found, **{name: days})

    def _aged(self, made: ObjectRow, **ages: float) -> str:
        made.body.update(
            {name: int(self.store.clock() - days * 86_400) for name, days in ages.items()}
        )
        return made.id

    def has(self, kind: str, id: str) -> bool:
        """Whether an object is there."""
        return self.store.get(kind, DEFAULT_PROJECT, id) is not None


@pytest.fixture
def platform(workspace: Workspace) -> Platform:
    workspace.write({"a.md": "# A\n"})
    return Platform(workspace)


@pytest.fixture
def client(workspace: Workspace) -> Iterator[httpx.Client]:
    headers = {
        "Authorization": f"Bearer {workspace.emulator.api_key}",
        "OpenAI-Beta": "assistants=v2",
    }
    with httpx.Client(base_url=workspace.emulator.base_url, headers=headers) as found:
        yield found


def rule(name: str, of: str, match: str) -> str:
    return f"kind: Retention\nmetadata: {{name: {name}}}\nspec: {{of: {of}, match: {match}}}\n"


def removed(workspace: Workspace) -> set[str]:
    """The ids of all that a plan would delete, each with the rule that says so."""
    changes = json.loads(workspace.run("plan", "--format", "json", expect=0).out)[
        "resource_changes"
    ]
    deletes = [one for one in changes if one["change"]["actions"] == ["delete"]]
    assert all(one["reconciler"]["reason"] == "a retention rule matches it" for one in deletes)
    assert all(one["reconciler"]["matched_by"].startswith("Retention/") for one in deletes)
    return {one["reconciler"]["id"] for one in deletes}


def completion(client: httpx.Client, model: str, **metadata: str) -> str:
    said: Any = {
        "model": model,
        "messages": [{"role": "user", "content": "Hi"}],
        "store": True,
        "metadata": metadata,
    }
    return str(client.post("/chat/completions", json=said).json()["id"])


def test_what_matches_in_purpose_and_age_is_listed_by_plan_and_removed_by_apply(
    workspace: Workspace, platform: Platform
) -> None:
    old, young = platform.file("old.jsonl", 30.01), platform.file("young.jsonl", 29.99)
    other = platform.file("old.jsonl", 31, "user_data")
    workspace.declare(STORE, RESULTS)
    planned = workspace.plan()
    assert planned.code == 2
    assert f"File/{old}" in planned.out
    assert "will be deleted: it matches Retention/results" in planned.out
    assert "old.jsonl of " in planned.out
    assert "1 to delete" in planned.out
    workspace.apply()
    assert [platform.has("file", id) for id in (old, young, other)] == [False, True, True]
    assert workspace.plan().code == 0


def test_names_metadata_and_models_match_and_a_store_is_as_old_as_its_last_use(
    workspace: Workspace, platform: Platform, client: httpx.Client
) -> None:
    scratch, kept = (
        platform.file("tmp-1.md", 9, "assistants"),
        platform.file("final-1.md", 9, "assistants"),
    )
    tests, used = (
        platform.vector_store("it-1", 90, run="ci"),
        platform.vector_store("it-2", 90, 1, run="ci"),
    )
    another = platform.vector_store("it-3", 90, run="nightly")
    asked, unasked = (
        completion(client, "gpt-4.1", app="demo"),
        completion(client, "gpt-4.1", app="live"),
    )
    mini = completion(client, "gpt-4.1-mini", app="demo")
    for id in (asked, unasked, mini):
        platform.age("chat_completion", id, "created", 9)
    fresh = completion(client, "gpt-4.1", app="demo")
    model = client.get(f"/chat/completions/{asked}").json()["model"]
    workspace.declare(
        rule("scratch", "File", '{name: "tmp-*", older_than_days: 7}'),
        rule("ci", "VectorStore", '{name: "it-*", metadata: {run: ci}, older_than_days: 7}'),
        rule(
            "demo",
            "ChatCompletion",
            f"{{model: {model}, metadata: {{app: demo}}, older_than_days: 7}}",
        ),
    )
    assert removed(workspace) == {scratch, tests, asked}
    workspace.apply()
    files, stores = [platform.has("file", id) for id in (scratch, kept)], (tests, used, another)
    assert files == [False, True]
    assert [platform.has("vector_store", id) for id in stores] == [False, True, True]
    assert [platform.has("chat_completion", id) for id in (asked, unasked, mini, fresh)] == [
        False,
        True,
        True,
        True,
    ]
    assert workspace.plan().code == 0


def test_nothing_that_anybody_is_known_to_want_is_removed(
    workspace: Workspace, platform: Platform, client: httpx.Client
) -> None:
    workspace.declare(STORE)
    workspace.apply()
    store = client.get("/vector_stores").json()["data"][0]["id"]
    own = client.get("/files").json()["data"][0]["id"]
    theirs = platform.vector_store("Theirs", 99, reconciler="other/default/VectorStore/theirs")
    named, held = (
        platform.file("named.md", 99, "assistants"),
        platform.file("held.md", 99, "assistants"),
    )
    client.post(f"/vector_stores/{theirs}/files", json={"file_id": held}).raise_for_status()
    shown = platform.file("shown.md", 99, "assistants")
    client.post(f"/vector_stores/{store}", json={"metadata": {"by_hand": shown}}).raise_for_status()
    for kind, id in (("file", own), ("vector_store", store), ("vector_store", theirs)):
        platform.age(kind, id, "created_at", 99)
        if kind == "vector_store":
            platform.age(kind, id, "last_active_at", 99)
    loose = platform.file("loose.md", 99, "assistants")
    unused = platform.vector_store("Htmp", 99)
    workspace.declare(
        STORE.replace("name: Handbook", f"name: Handbook, metadata: {{like: {named}}}"),
        rule("files", "File", "{purpose: assistants, older_than_days: 1}"),
        rule("stores", "VectorStore", '{name: "[HT]*", older_than_days: 1}'),
    )
    assert removed(workspace) == {loose, unused}


def test_too_many_are_refused_until_the_rule_is_allowed(
    workspace: Workspace, platform: Platform
) -> None:
    files = [platform.file(f"{number}.jsonl", 99) for number in range(12)]
    workspace.declare(RESULTS)
    refused = workspace.run("apply", "--yes", expect=11)
    assert "the plan deletes 12 objects" in refused.err
    assert "--allow-delete Retention/results to allow all its matches" in refused.err
    assert all(platform.has("file", id) for id in files)
    workspace.apply("--allow-delete", "Retention/results")
    assert not any(platform.has("file", id) for id in files)


@pytest.mark.parametrize("event", ["changed", "taken over", "rule edited"])
def test_a_saved_plan_is_refused_where_what_it_would_remove_is_not_what_it_was(
    workspace: Workspace, platform: Platform, client: httpx.Client, event: str
) -> None:
    store = platform.vector_store("it-1", 90)
    ci = rule("ci", "VectorStore", '{name: "it-*", older_than_days: 7}')
    workspace.declare(ci)
    workspace.run("plan", "--out", "p.json", expect=0)
    if event == "rule edited":
        workspace.declare(ci.replace("7}", "8}"))
    else:
        notes = {"taken over": {"metadata": {"reconciler": "other/default/VectorStore/x"}}}
        client.post(
            f"/vector_stores/{store}", json=notes.get(event, {"name": "precious"})
        ).raise_for_status()
    refused = workspace.run("apply", "--yes", "p.json")
    assert refused.code == 10
    assert platform.has("vector_store", store)


def test_targets_drift_and_destroy_remove_nothing_by_rules(
    workspace: Workspace, platform: Platform
) -> None:
    old = platform.file("old.jsonl", 99)
    workspace.declare(STORE, RESULTS)
    workspace.apply("--target", "VectorStore/handbook")
    assert workspace.run("drift", expect=0).code == 0
    workspace.run("destroy", "--yes", expect=0)
    assert platform.has("file", old)


def test_a_rollback_says_what_does_not_come_back(workspace: Workspace, platform: Platform) -> None:
    platform.file("old.jsonl", 99)
    workspace.declare(STORE, RESULTS)
    workspace.apply()
    said = workspace.run("rollback", "1", "--yes", expect=0)
    assert "Unmanaged objects cannot be restored" in said.out + said.err


def test_nothing_is_removed_while_a_store_that_could_hold_it_cannot_be_read(
    workspace: Workspace, platform: Platform
) -> None:
    id = platform.file("old.jsonl", 40)
    workspace.emulator.add_fault("on=GET:/vector_stores*,do=error:400,times=0")
    done = workspace.declare(RESULTS).run("apply", "--yes", expect=0)
    assert "VectorStore: GET /vector_stores answered 400" in done.out
    assert platform.has("file", id)
