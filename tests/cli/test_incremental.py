"""Plans that ask the audit log what changed, and read only that; and whatever makes them read everything."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx
import pytest

from reconciler.emulator.store import ORGANIZATION
from tests.conftest import Workspace

NAMES = '["a", "b", "c", "d", "e"]'
MANIFESTS = f"""\
kind: Project
metadata: {{name: "${{each.key}}"}}
for_each: {NAMES}
spec: {{name: "${{each.key}}"}}
---
kind: ServiceAccount
metadata: {{name: ci, project: "${{each.key}}"}}
for_each: {NAMES}
spec: {{role: member}}
---
kind: RateLimit
metadata: {{name: gpt-4o, project: "${{each.key}}"}}
for_each: {NAMES}
spec: {{model: gpt-4o, max_requests_per_1_minute: 20}}
---
kind: User
metadata: {{name: ada}}
spec: {{email: ada@example.com, role: owner}}
"""
READ_IN_FULL = 12  # projects, users, and two lists for each of five projects


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    workspace.write({"all.yaml": MANIFESTS}).apply()
    workspace.emulator.clear_requests()
    return workspace


def paths(workspace: Workspace) -> list[str]:
    return [request.path for request in workspace.emulator.requests]


def reading(workspace: Workspace, *options: str) -> dict[str, Any]:
    plan = json.loads(workspace.run("plan", "--format", "json", *options, expect=0).out)
    found: dict[str, Any] = plan["reconciler"]["refresh"]
    return found


def outside(workspace: Workspace, project: str, limit: int) -> None:
    """Somebody changes a limit by hand."""
    with httpx.Client(
        base_url=workspace.emulator.base_url, headers={"Authorization": f"Bearer {workspace.emulator.admin_key}"}
    ) as client:
        projects = client.get("/organization/projects", params={"limit": 100}).json()["data"]
        id = next(found["id"] for found in projects if found["name"] == project)
        body = {"max_requests_per_1_minute": limit}
        client.post(f"/organization/projects/{id}/rate_limits/rl-gpt-4o", json=body).raise_for_status()
    workspace.emulator.clear_requests()


def test_a_plan_of_what_nobody_touched_asks_the_log_and_nothing_else(applied: Workspace) -> None:
    assert applied.plan().code == 0
    assert paths(applied) == ["/organization/audit_logs"]


def test_a_change_outside_is_found_by_reading_only_where_it_happened(applied: Workspace) -> None:
    outside(applied, "c", 7)
    assert "max_requests_per_1_minute: 7 → 20" in applied.plan().out
    assert [path.rpartition("/")[2] for path in paths(applied)] == ["audit_logs", "rate_limits"]


def test_an_entry_that_comes_late_is_found_when_it_comes(applied: Workspace) -> None:
    outside(applied, "c", 7)
    store = applied.emulator.store
    with store.lock:
        late = store.collection("audit_log", ORGANIZATION).ordered()[-1]
        store.remove(late)
    applied.apply()  # nothing to do, as far as anybody can tell
    with store.lock:
        store.add("audit_log", ORGANIZATION, late.body, **late.hidden)
    assert "max_requests_per_1_minute: 7 → 20" in applied.plan().out


def test_what_was_repaired_is_repaired_only_once(applied: Workspace) -> None:
    outside(applied, "c", 7)
    applied.apply()
    assert applied.plan().code == 0
    assert applied.plan("--refresh", "full").code == 0


def test_a_new_declaration_is_looked_for_where_it_would_be(applied: Workspace) -> None:
    applied.write({"more.yaml": "kind: ServiceAccount\nmetadata: {name: cd, project: b}\nspec: {role: member}\n"})
    assert "1 to create" in applied.plan().out
    assert [path.rpartition("/")[2] for path in paths(applied)] == ["audit_logs", "service_accounts"]


def test_a_changed_manifest_is_compared_with_what_is_really_there(applied: Workspace) -> None:
    applied.write({"all.yaml": MANIFESTS.replace("minute: 20", "minute: 30")})
    plan = applied.plan()
    assert plan.out.count("20 → 30") == 5
    assert sum(path.endswith("/rate_limits") for path in paths(applied)) == 5


def test_a_full_refresh_reads_everything(applied: Workspace) -> None:
    assert applied.plan("--refresh", "full").code == 0
    assert len(paths(applied)) == READ_IN_FULL


def test_drift_reads_everything(applied: Workspace) -> None:
    applied.run("drift", expect=0)
    assert len(paths(applied)) == READ_IN_FULL


def test_a_log_that_may_not_be_read_is_no_reason_to_fail(applied: Workspace) -> None:
    applied.emulator.add_fault("on=GET:/organization/audit_logs,do=error:403,times=0")
    assert "the audit log cannot be used" in reading(applied)["because"]
    assert len(paths(applied)) == READ_IN_FULL + 1


def test_a_log_that_forgot_what_it_showed_is_not_believed(applied: Workspace) -> None:
    store = applied.emulator.store
    with store.lock:
        for entry in list(store.collection("audit_log", ORGANIZATION).ordered()):
            store.remove(entry)
    assert "does not show any more what it showed before" in reading(applied)["because"]
    assert len(paths(applied)) == READ_IN_FULL + 1


@pytest.mark.parametrize(
    ("type", "remembered"), [("spaceship.landed", 0), ("login.succeeded", READ_IN_FULL), ("tenant.anything", 10)]
)
def test_an_entry_of_an_unknown_type_makes_everything_be_read(applied: Workspace, type: str, remembered: int) -> None:
    store = applied.emulator.store
    with store.lock:
        entry = {"id": "audit_log-1", "type": type, "effective_at": store.now(), "actor": {}, type: {"id": "x"}}
        store.add("audit_log", ORGANIZATION, entry, resource_id="x")
    assert reading(applied)["remembered"] == remembered


@pytest.mark.parametrize("refresh", ["full_every_hours: 0", "full_every_runs: 0"])
def test_everything_is_read_when_its_time_has_come(applied: Workspace, refresh: str) -> None:
    stack = f"kind: Stack\nmetadata: {{name: stack}}\nspec: {{refresh: {{{refresh}}}}}\n"
    applied.write({"reconciler.yaml": stack})
    assert reading(applied)["because"] == "everything is read from time to time"
    assert len(paths(applied)) == READ_IN_FULL


def test_a_state_that_was_imported_remembers_no_reading(applied: Workspace) -> None:
    exported = applied.run("state", "export", expect=0).out
    applied.write({"state.json": exported}).run("state", "import", "state.json", expect=0)
    assert reading(applied)["because"] == "no earlier reading is remembered"


def test_a_plan_writes_no_memory(applied: Workspace) -> None:
    before = {path.name: path.read_bytes() for path in (applied.folder / ".reconciler").iterdir()}
    applied.plan()
    assert {path.name: path.read_bytes() for path in (applied.folder / ".reconciler").iterdir()} == before


@pytest.mark.parametrize(("ours", "pages"), [(1, 0), (3, 1), (4, 8)])
def test_few_objects_among_very_many_are_read_singly(workspace: Workspace, ours: int, pages: int) -> None:
    bots = f"kind: Assistant\nmetadata: {{name: '${{each.key}}'}}\nfor_each: {[f'bot-{n}' for n in range(ours)]}\n"
    workspace.write({"bots.yaml": bots + "spec: {name: Bot, model: gpt-4o}\n"}).apply()
    url = workspace.emulator.base_url.removesuffix("/v1")
    httpx.post(f"{url}/_emulator/seed", json={"assistants": 1000}).raise_for_status()
    workspace.emulator.clear_requests()
    assert workspace.plan("-v").code == 0
    read = Counter(request.path.count("/") for request in workspace.emulator.requests)
    assert (read[1], read[2]) == (pages, ours)


def test_a_list_that_was_long_is_not_read_again_for_a_few_objects(workspace: Workspace) -> None:
    workspace.emulator.seed(assistants=1900)
    bots = "kind: Assistant\nmetadata: {name: '${each.key}'}\nfor_each: [a, b, c, d]\n"
    workspace.write({"bots.yaml": bots + "spec: {name: Bot, model: gpt-4o}\n"}).apply()
    workspace.emulator.clear_requests()
    said = workspace.run("plan", "-v", "--budget", "4", expect=0).err
    assert "get Assistant: 4 singly, as the list has had 19 pages" in said
    assert all(path.startswith("/assistants/asst_") for path in paths(workspace))
    assert len(paths(workspace)) == 4


def test_a_list_of_ours_is_read_to_its_end_though_little_is_on_the_last_page(workspace: Workspace) -> None:
    bots = f"kind: Assistant\nmetadata: {{name: '${{each.key}}'}}\nfor_each: {[f'bot-{n}' for n in range(402)]}\n"
    workspace.write({"bots.yaml": bots + "spec: {name: Bot, model: gpt-4o}\n"}).apply()
    workspace.emulator.clear_requests()
    workspace.run("plan", expect=0)
    assert paths(workspace) == ["/assistants"] * 5


def test_what_was_not_listed_is_not_said_to_be_lacking(workspace: Workspace) -> None:
    bots = "kind: Assistant\nmetadata: {name: '${each.key}'}\nfor_each: [a, b]\n"
    workspace.write({"bots.yaml": bots + "spec: {name: Bot, model: gpt-4o}\n"}).apply()
    workspace.emulator.seed(assistants=150)
    said = workspace.run("plan", "-v", expect=0).err
    assert "Assistant: 2 of ours are not on the first page of the list, and read singly" in said
    assert said.count(", which is not among what was listed") == 2
