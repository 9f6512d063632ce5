"""An outside change is never missed: a plan that asks the log plans what a plan that reads everything plans."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.emulator import Emulator
from reconciler.emulator.store import ORGANIZATION, Record
from tests.cli.test_incremental import MANIFESTS
from tests.conftest import Workspace
from tests.properties.strategies import examples

EDITS = ("limit", "role", "rename account", "delete account", "add account", "rename project", "archive", "user")
acts = st.lists(
    st.tuples(st.sampled_from(EDITS), st.sampled_from("abcde"), st.booleans())
    | st.tuples(st.just("apply"), st.just(""), st.just(False)),
    min_size=1,
    max_size=5,
)


def test_a_plan_that_asks_the_log_misses_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Emulator() as emulator:

        @examples(28)
        @given(acts=acts)
        def check(acts: list[tuple[str, str, bool]]) -> None:
            emulator.reset()
            workspace = Workspace(tmp_path_factory.mktemp("stack"), emulator)
            workspace.write({"all.yaml": MANIFESTS}).apply()
            late: list[Record] = []
            for act, project, is_late in acts:
                if act == "apply":
                    workspace.run("apply", "--yes")
                else:
                    late += edit(workspace, act, project, is_late=is_late)
            with emulator.store.lock:
                for entry in late:
                    emulator.store.add("audit_log", ORGANIZATION, entry.body, **entry.hidden)
            assert planned(workspace) == planned(workspace, "--refresh", "full")

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


def edit(workspace: Workspace, act: str, project: str, *, is_late: bool) -> list[Record]:
    """Change something by hand; gives the entries that the log does not show yet."""
    store = workspace.emulator.store
    with store.lock:
        before = len(store.collection("audit_log", ORGANIZATION).ordered())
    with httpx.Client(
        base_url=workspace.emulator.base_url, headers={"Authorization": f"Bearer {workspace.emulator.admin_key}"}
    ) as client:
        _act(client, act, project)
    with store.lock:
        late = list(store.collection("audit_log", ORGANIZATION).ordered())[before:] if is_late else []
        for entry in late:
            store.remove(entry)
    return late


def _act(client: httpx.Client, act: str, name: str) -> None:
    projects = client.get("/organization/projects", params={"limit": 100}).json()["data"]
    project = next((found["id"] for found in projects if found["name"] == name), projects[0]["id"])
    base = f"/organization/projects/{project}"
    accounts = client.get(f"{base}/service_accounts").json()["data"]
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
            user = client.get("/organization/users").json()["data"][0]["id"]
            client.post(f"/organization/users/{user}", json={"role": "reader"})
        case _ if not accounts:
            return
        case "delete account":
            client.delete(f"{base}/service_accounts/{accounts[0]['id']}")
        case _:
            body = {"role": "owner"} if act == "role" else {"name": "renamed"}
            client.post(f"{base}/service_accounts/{accounts[0]['id']}", json=body)
