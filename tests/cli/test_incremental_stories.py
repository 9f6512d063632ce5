"""No outside change is missed: a plan by the audit log equals a plan by a full reading."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.emulator import Emulator
from tests.cli.audit_log import AuditLog, pass_time
from tests.cli.test_incremental import MANIFESTS, PEOPLE
from tests.conftest import Workspace
from tests.properties.strategies import examples

NEIGHBOUR = """\
kind: Project
metadata: {name: z}
spec: {name: z}
---
kind: RateLimit
metadata: {name: gpt-4o, project: z}
spec: {model: gpt-4o, max_requests_per_1_minute: LIMIT}
---
kind: ServiceAccount
metadata: {name: ci, project: z}
spec: {name: ci-LIMIT, role: member}
"""
"""What another stack has in the same organization: limits with the same ids among them."""

EDITS = (
    "limit", "role", "rename account", "delete account", "add account", "rename project", "archive", "user",
    "unassign", "assign", "rename group", "delete group", "project user", "leave project", "tools",
)  # fmt: skip
OURS = (
    "apply",
    "apply limits",
    "apply account",
    "apply user",
    "apply less",
    "neighbour",
    "wait",
    "targeted",
    "saved",
)
LESS = (
    "Group/ops",
    "Role/reader",
    "RoleAssignment/ops-reader",
    "GroupMember/ada",
    "ProjectUser/a/ada",
)
pytestmark = pytest.mark.slow

acts = st.lists(
    st.tuples(
        st.sampled_from(EDITS), st.sampled_from("abcde"), st.sampled_from((0, 0, 1, 2, 3, 99))
    )
    | st.tuples(st.sampled_from(OURS), st.sampled_from("abcde"), st.sampled_from((0, 0, 1, 2, 99))),
    min_size=1,
    max_size=7,
)


def test_a_plan_that_asks_the_log_misses_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Emulator() as emulator:

        @examples(60)
        @given(acts=acts, is_vague=st.booleans())
        def check(acts: list[tuple[str, str, int]], is_vague: bool) -> None:
            emulator.reset()
            with AuditLog(emulator).installed() as log:
                log.is_vague = is_vague
                story = Story(
                    Workspace(tmp_path_factory.mktemp("stack"), emulator),
                    Workspace(tmp_path_factory.mktemp("other"), emulator),
                    log,
                )
                for act, project, delay in acts:
                    log.delay = delay
                    story.act(act, project)
                log.delay = 0
                log.release()
                assert planned(story.ours) == planned(story.ours, "--refresh", "full")

        check()


def planned(workspace: Workspace, *options: str) -> Any:
    """What a plan would do, and what it says drifted."""
    done = workspace.run("plan", "--format", "json", *options)
    if done.code:
        return done.code, done.err
    plan = json.loads(done.out)
    return [
        (change["address"], change["change"]["actions"])
        for change in plan["resource_changes"]
        if change["change"]["actions"] != ["no-op"]
    ], [drift["address"] for drift in plan.get("resource_drift", [])]


@dataclass
class Story:
    """Two stacks in one organization, and whoever else is at work there."""

    ours: Workspace
    other: Workspace
    log: AuditLog
    number: int = 20

    def __post_init__(self) -> None:
        self.ours.write({"all.yaml": MANIFESTS + PEOPLE}).apply()
        self._neighbour()

    def act(self, act: str, project: str) -> None:
        """Do one thing. Applies may fail, as somebody may have archived what they need."""
        self.number += 1
        match act:
            case "apply":
                self.ours.run("apply", "--yes")
            case "apply limits" | "apply account" | "apply user":
                self._declare(act.rpartition(" ")[2])
                self.ours.run("apply", "--yes")
            case "apply less":
                self._declare("less")
                self.ours.run(
                    "apply", "--yes", *(word for at in LESS for word in ("--allow-delete", at))
                )
            case "targeted":
                self._declare("limits")
                self.ours.run("apply", "--yes", "--target", f"RateLimit/{project}/gpt-4o")
            case "saved":
                self._declare("limits")
                if self.ours.run("plan", "--out", "plan.json").code == 0:
                    self.ours.run("apply", "--yes", "plan.json")
            case "neighbour":
                self._neighbour()
            case "wait":
                pass_time(65, self.log, self.ours, self.other)
            case _:
                with httpx.Client(
                    base_url=self.ours.emulator.base_url,
                    headers={"Authorization": f"Bearer {self.ours.emulator.admin_key}"},
                ) as client:
                    _edit(client, act, project)

    def _declare(self, what: str) -> None:
        text = MANIFESTS + PEOPLE
        match what:
            case "limits":
                text = text.replace("minute: 20", f"minute: {self.number}")
            case "less":
                text = MANIFESTS
            case "account":
                text = text.replace("{role: member}", "{role: owner}")
            case "user":
                text = text.replace('"${User/ada}", role: member', '"${User/ada}", role: owner')
        self.ours.write({"all.yaml": text})

    def _neighbour(self) -> None:
        self.other.write({"all.yaml": NEIGHBOUR.replace("LIMIT", str(self.number))}).run(
            "apply", "--yes"
        )


def _edit(client: httpx.Client, act: str, name: str) -> None:
    """Change something by hand."""
    projects = client.get("/organization/projects", params={"limit": 100}).json()["data"]
    project = next((found["id"] for found in projects if found["name"] == name), projects[0]["id"])
    base = f"/organization/projects/{project}"
    accounts = client.get(f"{base}/service_accounts").json()["data"]
    groups = client.get("/organization/groups").json()["data"]
    user = client.get("/organization/users").json()["data"][0]["id"]
    match act:
        case "limit":
            client.post(f"{base}/rate_limits/rl-gpt-4o", json={"max_requests_per_1_minute": 3})
        case "add account":
            client.post(f"{base}/service_accounts", json={"name": "ci"})
        case "rename project":
            client.post(base, json={"name": "other"})
        case "archive":
            client.post(f"{base}/archive")
        case "user":
            client.post(f"/organization/users/{user}", json={"role": "reader"})
        case "tools":
            client.post(f"{base}/hosted_tool_permissions", json={"web_search": {"enabled": True}})
        case "project user":
            client.post(f"{base}/users/{user}", json={"role": "owner"})
        case "leave project":
            client.delete(f"{base}/users/{user}")
        case "unassign" | "assign" | "rename group" | "delete group":
            for group in groups[:1]:
                _edit_group(client, act, f"/organization/groups/{group['id']}")
        case _ if not accounts:
            return
        case "delete account":
            client.delete(f"{base}/service_accounts/{accounts[0]['id']}")
        case _:
            body = {"role": "owner"} if act == "role" else {"name": "renamed"}
            client.post(f"{base}/service_accounts/{accounts[0]['id']}", json=body)


def _edit_group(client: httpx.Client, act: str, path: str) -> None:
    match act:
        case "rename group":
            client.post(path, json={"name": "Others"})
        case "delete group":
            client.delete(path)
        case "assign":
            client.post(f"{path}/roles", json={"role_id": "role-api-organization-reader"})
        case _:
            for role in client.get(f"{path}/roles").json()["data"]:
                client.delete(f"{path}/roles/{role['id']}")
