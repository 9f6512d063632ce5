"""Plans that read only what the audit log reports as changed, and the causes of a full reading."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator.store import ORGANIZATION
from tests.cli.audit_log import AuditLog, pass_time
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
PEOPLE = """\
---
kind: Group
metadata: {name: ops}
spec: {name: Ops}
---
kind: Role
metadata: {name: reader}
spec: {role_name: Reader, permissions: [api.files.read]}
---
kind: RoleAssignment
metadata: {name: ops-reader}
spec: {group_id: "${Group/ops}", role_id: "${Role/reader}"}
---
kind: GroupMember
metadata: {name: ada}
spec: {group_id: "${Group/ops}", user_id: "${User/ada}"}
---
kind: ProjectUser
metadata: {name: ada, project: a}
spec: {user_id: "${User/ada}", role: member}
---
kind: HostedTools
metadata: {name: a, project: a}
spec: {web_search: {enabled: false}}
"""
READ_IN_FULL = 12  # projects, users, and two lists for each of five projects


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    workspace.write({"all.yaml": MANIFESTS}).apply()
    workspace.emulator.clear_requests()
    return workspace


@pytest.fixture
def log(workspace: Workspace) -> Iterator[AuditLog]:
    with AuditLog(workspace.emulator).installed() as log:
        yield log


def paths(workspace: Workspace) -> list[str]:
    return [request.path for request in workspace.emulator.requests]


def limit_of(project: str, limit: int) -> str:
    """The manifests, with another limit in one project."""
    limits = {name: limit if name == project else 20 for name in json.loads(NAMES)}
    head, middle, tail = MANIFESTS.partition("kind: RateLimit\n")
    tail = tail.replace(NAMES, json.dumps(limits)).replace("minute: 20", 'minute: "${each.value}"')
    return head + middle + tail


def put(workspace: Workspace, type: str) -> None:
    """Have the log say that something happened."""
    store = workspace.emulator.store
    with store.lock:
        entry = {
            "id": "audit_log-1",
            "type": type,
            "effective_at": store.now(),
            "actor": {},
            type: {"id": "x"},
        }
        store.add("audit_log", ORGANIZATION, entry, resource_id="x")


def reading(workspace: Workspace, *options: str) -> dict[str, Any]:
    plan = json.loads(workspace.run("plan", "--format", "json", *options, expect=0).out)
    found: dict[str, Any] = plan["reconciler"]["refresh"]
    return found


def outside(workspace: Workspace, project: str, limit: int) -> None:
    """Somebody changes a limit by hand."""
    with httpx.Client(
        base_url=workspace.emulator.base_url,
        headers={"Authorization": f"Bearer {workspace.emulator.admin_key}"},
    ) as client:
        projects = client.get("/organization/projects", params={"limit": 100}).json()["data"]
        id = next(found["id"] for found in projects if found["name"] == project)
        body = {"max_requests_per_1_minute": limit}
        client.post(
            f"/organization/projects/{id}/rate_limits/rl-gpt-4o", json=body
        ).raise_for_status()
    workspace.emulator.clear_requests()


def test_a_plan_without_outside_changes_only_reads_the_log(applied: Workspace) -> None:
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


def test_an_entry_that_first_shows_during_an_apply_is_found_by_the_next_plan(
    log: AuditLog, applied: Workspace
) -> None:
    log.delay = 1
    outside(applied, "c", 7)
    log.delay = 0
    pass_time(65, log, applied)
    applied.write({"all.yaml": MANIFESTS.replace("role: owner", "role: reader")})
    applied.write({"more.yaml": "kind: Group\nmetadata: {name: ops}\nspec: {name: Ops}\n"}).apply()
    applied.write({"all.yaml": MANIFESTS})
    assert "max_requests_per_1_minute: 7 → 20" in applied.plan().out


def test_a_change_of_another_project_is_not_taken_for_our_own(
    log: AuditLog, applied: Workspace
) -> None:
    pass_time(1000, log, applied)
    log.delay = 1
    outside(applied, "c", 7)
    log.delay = 99
    applied.write({"all.yaml": limit_of("a", 30)}).apply()
    assert "max_requests_per_1_minute: 7 → 20" in applied.plan().out


def test_writes_of_another_stack_in_other_scopes_cause_no_read(
    applied: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Workspace(tmp_path / "other", applied.emulator)
    other.write({"all.yaml": MANIFESTS.replace("User", "Group").replace("{email: ada@example.com, role: owner}",
                 "{name: Ada}").replace(NAMES, '["y", "z"]')}).apply()  # fmt: skip
    applied.emulator.clear_requests()
    assert applied.plan().code == 0
    assert [path.rpartition("/")[2] for path in paths(applied)] == ["audit_logs", "projects"]


def test_a_log_that_names_one_project_for_all_hides_no_change(
    log: AuditLog, workspace: Workspace
) -> None:
    log.is_vague = True
    workspace.write({"all.yaml": MANIFESTS}).apply()
    assert reading(workspace)["remembered"] == READ_IN_FULL
    outside(workspace, "c", 7)
    assert "max_requests_per_1_minute: 7 → 20" in workspace.plan().out


def test_our_own_writes_may_come_late(log: AuditLog, workspace: Workspace) -> None:
    log.delay = 1
    workspace.write({"all.yaml": MANIFESTS}).apply()
    workspace.emulator.clear_requests()
    log.release()
    assert workspace.plan().code == 0
    assert paths(workspace) == ["/organization/audit_logs"]


def test_a_change_hidden_by_our_late_entry_is_found_with_that_entry(
    log: AuditLog, applied: Workspace
) -> None:
    pass_time(1000, log, applied)
    log.delay = 99
    applied.write({"all.yaml": limit_of("a", 30)}).apply()
    log.delay = 0
    outside(applied, "a", 7)
    log.release()
    assert "max_requests_per_1_minute: 7 → 30" in applied.plan().out


def test_objects_that_our_delete_removed_too_are_read_again(applied: Workspace) -> None:
    leaving = "spec: {email: dev@example.com, role: reader}\nlifecycle: {on_remove: delete}\n"
    staying = "spec: {email: dev@example.com, role: member}\n"
    applied.write(
        {"staying.yaml": f"kind: ProjectUser\nmetadata: {{name: dev, project: a}}\n{staying}"}
    )
    applied.write({"leaving.yaml": f"kind: User\nmetadata: {{name: dev}}\n{leaving}"}).apply()
    applied.write({"leaving.yaml": ""}).apply("--allow-delete", "User/dev")
    assert "+ ProjectUser/a/dev" in applied.plan().out


def test_a_change_of_the_organizations_settings_may_be_that_of_the_log(applied: Workspace) -> None:
    put(applied, "organization.updated")
    assert reading(applied)["remembered"] == 0


def test_a_state_that_was_edited_since_is_not_believed(applied: Workspace) -> None:
    applied.run("state", "mv", "ServiceAccount/a/ci", "ServiceAccount/a/other", expect=0)
    applied.run("state", "mv", "ServiceAccount/a/other", "ServiceAccount/a/ci", expect=0)
    assert reading(applied)["because"] == "the state was changed since the last apply"


def test_a_saved_plan_leaves_what_it_did_not_touch_in_order(applied: Workspace) -> None:
    applied.write({"all.yaml": limit_of("a", 30)}).run("plan", "--out", "plan.json", expect=0)
    applied.run("apply", "plan.json", "--yes", expect=0)
    assert reading(applied)["remembered"] == READ_IN_FULL


def test_a_saved_plan_that_read_everything_is_a_beginning_too(workspace: Workspace) -> None:
    workspace.write({"all.yaml": MANIFESTS}).run("plan", "--out", "plan.json", expect=0)
    workspace.run("apply", "plan.json", "--yes", expect=0)
    assert reading(workspace)["remembered"] == READ_IN_FULL


def test_kinds_that_the_log_does_not_tell_of_cost_others_nothing(workspace: Workspace) -> None:
    workspace.write({"all.yaml": MANIFESTS + PEOPLE}).apply()
    workspace.emulator.clear_requests()
    assert workspace.plan().code == 0
    assert sorted(path.rpartition("/")[2] for path in paths(workspace)) == [
        "audit_logs",
        "hosted_tool_permissions",
        "users",  # of a group
    ]


def test_drift_is_repaired_only_once(applied: Workspace) -> None:
    outside(applied, "c", 7)
    applied.apply()
    assert applied.plan().code == 0
    assert applied.plan("--refresh", "full").code == 0


def test_a_new_declaration_is_looked_for_where_it_would_be(applied: Workspace) -> None:
    applied.write(
        {
            "more.yaml": "kind: ServiceAccount\nmetadata: {name: cd, project: b}\nspec: {role: member}\n"
        }
    )
    assert "1 to create" in applied.plan().out
    assert [path.rpartition("/")[2] for path in paths(applied)] == [
        "audit_logs",
        "service_accounts",
    ]


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


def test_a_log_that_lost_entries_is_not_trusted(applied: Workspace) -> None:
    store = applied.emulator.store
    with store.lock:
        for entry in list(store.collection("audit_log", ORGANIZATION).ordered()):
            store.remove(entry)
    assert "no longer shows entries that it showed before" in reading(applied)["because"]
    assert len(paths(applied)) == READ_IN_FULL + 1


@pytest.mark.parametrize(
    ("type", "remembered"),
    [("spaceship.landed", 0), ("login.succeeded", READ_IN_FULL), ("tenant.anything", READ_IN_FULL)],
)
def test_an_entry_of_an_unknown_type_makes_everything_be_read(
    applied: Workspace, type: str, remembered: int
) -> None:
    put(applied, type)
    assert reading(applied)["remembered"] == remembered


@pytest.mark.parametrize(
    ("refresh", "every"), [("full_every_hours: 0", "0 hours"), ("full_every_runs: 0", "0 applies")]
)
def test_everything_is_read_when_its_time_has_come(
    applied: Workspace, refresh: str, every: str
) -> None:
    stack = f"kind: Stack\nmetadata: {{name: stack}}\nspec: {{refresh: {{{refresh}}}}}\n"
    applied.write({"reconciler.yaml": stack})
    assert reading(applied)["because"] == f"everything is read every {every}, and it is due"
    assert len(paths(applied)) == READ_IN_FULL


def test_an_apply_that_changes_nothing_counts_too_and_starts_over(applied: Workspace) -> None:
    applied.write(
        {
            "reconciler.yaml": "kind: Stack\nmetadata: {name: stack}\nspec: {refresh: {full_every_runs: 2}}\n"
        }
    )
    counts = []
    for _ in range(7):
        applied.emulator.clear_requests()
        applied.apply()
        counts.append(len(paths(applied)))
    due = READ_IN_FULL + 1  # and a look at what the log shows, for the next time
    assert counts == [1, 1, due, 1, 1, due, 1]


def test_a_saved_plan_that_is_carried_out_counts_too(applied: Workspace) -> None:
    applied.write(
        {
            "reconciler.yaml": "kind: Stack\nmetadata: {name: stack}\nspec: {refresh: {full_every_runs: 1}}\n"
        }
    )
    applied.run("plan", "--out", "plan.json", expect=0)
    applied.run("apply", "plan.json", "--yes", expect=0)
    assert reading(applied)["because"] == "everything is read every 1 applies, and it is due"


def test_a_log_that_fails_is_not_waited_for(applied: Workspace) -> None:
    applied.emulator.add_fault("on=GET:/organization/audit_logs,do=error:500,times=0")
    assert "everything was read: the audit log answers 500" in applied.plan().out
    assert len(paths(applied)) == READ_IN_FULL + 1


def test_a_state_that_was_imported_remembers_no_reading(applied: Workspace) -> None:
    exported = applied.run("state", "export", expect=0).out
    applied.write({"state.json": exported}).run("state", "import", "state.json", expect=0)
    assert reading(applied)["because"] == "no earlier reading is remembered"


def test_a_plan_writes_no_memory(applied: Workspace) -> None:
    before = {path.name: path.read_bytes() for path in (applied.folder / ".reconciler").iterdir()}
    applied.plan()
    assert {
        path.name: path.read_bytes() for path in (applied.folder / ".reconciler").iterdir()
    } == before


@pytest.mark.parametrize(("ours", "pages"), [(1, 0), (3, 1), (4, 8)])
def test_few_objects_among_very_many_are_read_singly(
    workspace: Workspace, ours: int, pages: int
) -> None:
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
    assert "Assistant: read singly, as few objects are wanted and the list has had 19 pages" in said
    assert all(path.startswith("/assistants/asst_") for path in paths(workspace))
    assert len(paths(workspace)) == 4


def test_a_list_of_ours_is_read_to_its_end_though_little_is_on_the_last_page(
    workspace: Workspace,
) -> None:
    bots = f"kind: Assistant\nmetadata: {{name: '${{each.key}}'}}\nfor_each: {[f'bot-{n}' for n in range(402)]}\n"
    workspace.write({"bots.yaml": bots + "spec: {name: Bot, model: gpt-4o}\n"}).apply()
    workspace.emulator.clear_requests()
    workspace.run("plan", expect=0)
    assert paths(workspace) == ["/assistants"] * 5


def test_unlisted_objects_are_not_reported_as_missing(workspace: Workspace) -> None:
    bots = "kind: Assistant\nmetadata: {name: '${each.key}'}\nfor_each: [a, b]\n"
    workspace.write({"bots.yaml": bots + "spec: {name: Bot, model: gpt-4o}\n"}).apply()
    workspace.emulator.seed(assistants=150)
    said = workspace.run("plan", "-v", expect=0).err
    assert "Assistant: 2 of ours are not on the first page of the list, and read singly" in said
    assert said.count(", which is not among what was listed") == 2


def test_a_plan_says_why_everything_was_read(applied: Workspace) -> None:
    applied.emulator.add_fault("on=GET:/organization/audit_logs,do=error:404,times=0")
    assert applied.plan().out.endswith("everything was read: the audit log answers 404.\n")
    assert reading(applied)["setback"] == "the audit log answers 404"


def test_a_plan_says_how_old_the_oldest_reading_is_that_it_relies_on(
    log: AuditLog, applied: Workspace
) -> None:
    pass_time(3600, log, applied)
    applied.apply()
    pass_time(3600, log, applied)
    assert applied.emulator.store.now() - reading(applied)["since"] > 7000


def test_the_log_says_how_each_scope_is_read(applied: Workspace) -> None:
    outside(applied, "c", 7)
    applied.write(
        {
            "one.yaml": "kind: HostedTools\nmetadata: {name: a, project: a}\nspec: {web_search: {enabled: true}}\n"
        }
    )
    said = applied.plan("-v").err
    assert "RateLimit of project c: read in full: the audit log has rate_limit.updated\n" in said
    assert (
        "HostedTools of project a: read in full: the audit log does not tell of every change there\n"
        in said
    )
    assert said.count("by the audit log\n") == READ_IN_FULL - 1
    assert said.count("RateLimit of project b: unchanged since ") == 1


def test_the_log_says_why_an_object_is_read_singly(workspace: Workspace) -> None:
    workspace.write(
        {"bot.yaml": "kind: Assistant\nmetadata: {name: bot}\nspec: {name: Bot, model: gpt-4o}\n"}
    ).apply()
    assert (
        "Assistant: read singly, as few objects are wanted and the list may be long"
        in workspace.plan("-v").err
    )


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_a_plan_without_refresh_does_not_claim_to_know_live_objects(
    applied: Workspace, format: str
) -> None:
    outside(applied, "c", 7)
    done = applied.plan("--refresh", "none", "-v", "--format", format)
    assert (
        "The manifests match the state; live objects were not read. 16 resources, 0 API calls"
        in done.out
    )
    assert "Live objects match" not in done.out
    assert " read " not in done.err


def test_a_plan_with_changes_and_without_refresh_says_so_too(applied: Workspace) -> None:
    applied.write({"all.yaml": limit_of("a", 30)})
    assert "; live objects were not read.\n" in applied.plan("--refresh", "none").out
