"""Calls of plans by the audit log and by full readings, for organizations and logs of many sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from reconciler.emulator.store import ORGANIZATION
from tests.cli.audit_log import AuditLog, pass_time
from tests.conftest import Workspace

pytestmark = pytest.mark.slow

FEW = 4
"""The calls of a plan for which nothing moved: some pages of the log, and no list."""


def manifests(projects: int, *, changed: int | None = None) -> str:
    """Projects with an account and a limit each; one limit may be another."""
    limits = {f"p{number}": 30 if number == changed else 20 for number in range(projects)}
    names = json.dumps(list(limits))
    return f"""\
kind: Project
metadata: {{name: "${{each.key}}"}}
for_each: {names}
spec: {{name: "${{each.key}}"}}
---
kind: ServiceAccount
metadata: {{name: ci, project: "${{each.key}}"}}
for_each: {names}
spec: {{role: member}}
---
kind: RateLimit
metadata: {{name: gpt-4o, project: "${{each.key}}"}}
for_each: {json.dumps(limits)}
spec: {{model: gpt-4o, max_requests_per_1_minute: "${{each.value}}"}}
---
kind: User
metadata: {{name: ada}}
spec: {{email: ada@example.com, role: owner}}
"""


class Organization:
    """A stack that was applied once, and the log of its organization."""

    def __init__(self, workspace: Workspace, log: AuditLog, projects: int) -> None:
        self.workspace = workspace
        self.log = log
        self._number = 0
        workspace.write({"all.yaml": manifests(projects)}).apply()

    def calls(self, *arguments: str) -> int:
        """How many calls a plan makes."""
        self.workspace.emulator.clear_requests()
        self.workspace.run("plan", *arguments, expect=0)
        return len(self.workspace.emulator.requests)

    def costs(self) -> tuple[int, int]:
        """How many calls the same plan makes with the log, and without."""
        return self.calls(), self.calls("--refresh", "full")

    def later(self, seconds: int = 3600) -> None:
        """Let time pass."""
        pass_time(seconds, self.log, self.workspace)

    def project_ids(self) -> list[str]:
        """The ids of the projects of the stack."""
        with self._client() as client:
            found = client.get("/organization/projects", params={"limit": 100}).json()["data"]
        self.workspace.emulator.clear_requests()
        return [project["id"] for project in found if project["name"].startswith("p")]

    def name_of(self, project_id: str) -> str:
        """The name of a project."""
        with self._client() as client:
            return str(client.get(f"/organization/projects/{project_id}").json()["name"])

    def flood(self, count: int, type: str, *projects: str) -> None:
        """Have the log say that something happened so often, in each of the projects in turn, or in none."""
        store = self.workspace.emulator.store
        with store.lock:
            for number in range(count):
                self._number += 1
                entry: dict[str, Any] = {
                    "id": f"audit_log-{self._number:06}",
                    "type": type,
                    "effective_at": store.now(),
                    "actor": {},
                    type: {"id": "rl-gpt-4o"},
                }
                if projects:
                    entry["project"] = {"id": projects[number % len(projects)], "name": "p"}
                store.add("audit_log", ORGANIZATION, entry, resource_id="rl-gpt-4o")

    def change_a_limit(self, project_id: str) -> None:
        """Somebody changes a limit by hand."""
        with self._client() as client:
            body = {"max_requests_per_1_minute": 7}
            client.post(
                f"/organization/projects/{project_id}/rate_limits/rl-gpt-4o", json=body
            ).raise_for_status()

    def _client(self) -> httpx.Client:
        emulator = self.workspace.emulator
        return httpx.Client(
            base_url=emulator.base_url, headers={"Authorization": f"Bearer {emulator.admin_key}"}
        )


def organization(tmp_path: Path, projects: int) -> Iterator[Organization]:
    with Emulator() as emulator, AuditLog(emulator).installed() as log:
        yield Organization(Workspace(tmp_path, emulator), log, projects)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Organization]:
    """Five projects, whose apply leaves few entries."""
    yield from organization(tmp_path, 5)


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Organization]:
    """Eighty projects, whose first apply leaves more entries than two pages have."""
    yield from organization(tmp_path, 80)


@pytest.fixture(params=[2, 33, pytest.param(100, marks=pytest.mark.slow)])
def of_any_size(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Organization]:
    """From two projects to a hundred."""
    yield from organization(tmp_path, request.param)


def test_a_plan_that_asks_the_log_costs_at_most_one_call_more_than_a_full_one(
    of_any_size: Organization,
) -> None:
    ids = of_any_size.project_ids()
    others = [f"proj_other{number}" for number in range(40)]
    costs = {"right after the first apply": of_any_size.costs()}
    of_any_size.later()
    costs["an hour later"] = of_any_size.costs()
    for count, about, type, projects in (
        (1, "all projects", "rate_limit.updated", ids),
        (1, "users", "user.updated", []),
        (100, "all projects", "rate_limit.updated", ids),
        (100, "nothing of ours", "login.succeeded", []),
        (1000, "one project", "rate_limit.updated", ids[:1]),
        (1000, "nothing of ours", "login.succeeded", []),
        (1000, "many other projects", "service_account.created", others),
        (2000, "another project", "rate_limit.updated", others[:1]),
        (2000, "all projects", "service_account.updated", ids),
    ):
        of_any_size.flood(count, type, *projects)
        costs[f"{count} entries about {about}"] = of_any_size.costs()
        of_any_size.later()
        of_any_size.workspace.apply()
        costs[f"{count} entries about {about}, an hour and an apply later"] = of_any_size.costs()
    too_dear = {name: cost for name, cost in costs.items() if cost[0] > cost[1] + 1}
    assert not too_dear


def test_a_plan_after_a_large_first_apply_reads_little_of_its_entries(large: Organization) -> None:
    assert large.calls() <= FEW
    large.later()
    assert large.calls() <= FEW


def test_a_change_after_a_large_first_apply_costs_no_more_than_its_own_scope(
    large: Organization,
) -> None:
    unchanged = large.calls()
    large.workspace.write({"all.yaml": manifests(80, changed=7)})
    assert large.calls() == unchanged + 1
    large.workspace.apply()
    assert large.calls() <= FEW


def test_a_change_by_hand_right_after_a_large_apply_is_found(large: Organization) -> None:
    large.change_a_limit(large.project_ids()[0])
    assert "max_requests_per_1_minute: 7 → 20" in large.workspace.plan().out


def test_a_change_by_hand_during_a_large_apply_is_found(
    large: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = large.project_ids()
    changed = manifests(80).replace("minute: ", "minute: 1").replace('1"${each.value}"', "40")
    large.workspace.write({"all.yaml": changed})
    store, added = large.workspace.emulator.store, vars(large.workspace.emulator.store)["add"]
    limits: list[str] = []

    def add(kind: str, scope: str, body: dict[str, Any], **hidden: Any) -> Any:
        """The log gets an entry of somebody else's in the midst of ours."""
        found = added(kind, scope, body, **hidden)
        if kind == "audit_log" and body["type"] == "rate_limit.updated":
            limits.append(body["id"])
            if len(limits) == 40:
                stranger = {
                    **body,
                    "id": "audit_log-stranger",
                    "project": {"id": first, "name": "p0"},
                }
                stranger["actor"] = {
                    "type": "api_key",
                    "api_key": {"id": "key_other", "user": {"id": "user-other"}},
                }
                added(kind, scope, stranger, **hidden)
        return found

    monkeypatch.setitem(vars(store), "add", add)
    large.workspace.apply()
    monkeypatch.setitem(vars(store), "add", added)
    large.workspace.emulator.clear_requests()
    large.workspace.run("plan", expect=0)
    paths = [request.path for request in large.workspace.emulator.requests]
    assert f"/organization/projects/{first}/rate_limits" in paths


@pytest.mark.parametrize(
    ("type", "projects"),
    [("login.succeeded", ()), ("rate_limit.updated", ("proj_other",)), ("invite.sent", ())],
)
def test_many_entries_about_nothing_of_ours_are_passed_over(
    small: Organization, type: str, projects: tuple[str, ...]
) -> None:
    small.flood(1000, type, *projects)
    assert small.calls() <= FEW


@pytest.mark.parametrize(
    ("type", "projects"), [("login.succeeded", ()), ("rate_limit.updated", ("proj_other",))]
)
def test_a_change_by_hand_before_many_other_entries_is_found(
    small: Organization, type: str, projects: tuple[str, ...]
) -> None:
    small.change_a_limit(small.project_ids()[2])
    small.flood(1000, type, *projects)
    small.workspace.emulator.clear_requests()
    assert "max_requests_per_1_minute: 7 → 20" in small.workspace.plan().out
    assert (
        sum(
            request.path.endswith("/service_accounts")
            for request in small.workspace.emulator.requests
        )
        == 0
    )


def test_a_change_by_hand_is_not_taken_for_a_write_of_ours_that_is_further_down_the_log(
    small: Organization,
) -> None:
    small.workspace.write({"all.yaml": manifests(5, changed=1)}).apply()
    small.flood(100, "login.succeeded")
    changed = next(id for id in small.project_ids() if small.name_of(id) == "p1")
    small.change_a_limit(changed)
    small.flood(20, "login.succeeded")
    assert "max_requests_per_1_minute: 7 → 30" in small.workspace.plan().out


def test_a_change_by_hand_in_the_second_of_a_large_apply_is_not_taken_for_a_write_of_ours(
    large: Organization,
) -> None:
    large.workspace.write({"all.yaml": manifests(80, changed=1)}).apply()
    for id in large.project_ids():
        large.change_a_limit(id)
    assert large.workspace.plan().out.count("max_requests_per_1_minute: 7 → ") == 80


def test_many_entries_about_one_scope_make_only_that_be_read(small: Organization) -> None:
    small.flood(300, "rate_limit.updated", small.project_ids()[0])
    small.workspace.emulator.clear_requests()
    small.workspace.run("plan", expect=0)
    last = [request.path.rpartition("/")[2] for request in small.workspace.emulator.requests]
    assert (last.count("rate_limits"), last.count("service_accounts"), last.count("projects")) == (
        1,
        0,
        0,
    )


def test_an_unknown_entry_among_many_makes_everything_be_read(small: Organization) -> None:
    small.flood(1000, "login.succeeded")
    small.flood(1, "spaceship.landed")
    full = small.calls("--refresh", "full")
    assert small.calls() == full + 1


def test_entries_of_many_other_projects_are_given_up_after_one_page(small: Organization) -> None:
    small.flood(1000, "rate_limit.updated", *(f"proj_other{number}" for number in range(40)))
    full = small.calls("--refresh", "full")
    assert small.calls() == full + 1


def test_an_apply_after_a_long_log_was_given_up_lets_the_next_plan_ask_it_again(
    small: Organization,
) -> None:
    small.flood(1000, "rate_limit.updated", *(f"proj_other{number}" for number in range(40)))
    small.later(120)
    small.workspace.apply()
    assert small.calls() == 1


def test_a_log_that_our_own_late_entries_will_fill_is_not_asked(tmp_path: Path) -> None:
    with Emulator() as emulator:
        emulator.set_options(audit_lag_ms=3_600_000)
        accounts = [f"a{number}" for number in range(500)]
        workspace = Workspace(tmp_path, emulator).write(
            {
                "all.yaml": manifests(1),
                "more.yaml": "kind: ServiceAccount\nmetadata: {name: '${each.key}', project: p0}\n"
                f"for_each: {json.dumps(accounts)}\nspec: {{role: member}}\n",
            }
        )
        workspace.apply()
        emulator.clear_requests()
        said = workspace.run("plan", expect=0).out
        paths = [request.path for request in emulator.requests]
    assert "entries are expected, which costs more than it saves" in said
    assert "/organization/audit_logs" not in paths
