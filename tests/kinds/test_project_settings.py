"""Claims about settings of a project that are one object each, with and without a delete."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.test_plan_and_apply import PROJECT, admin, project_id
from tests.conftest import Workspace

MODELS = """\
kind: ModelPermissions
metadata: {name: m, project: search}
spec: {mode: allow_list, model_ids: [gpt-4.1, gpt-4o]}
"""
TOOLS = """\
kind: HostedTools
metadata: {name: t, project: search}
spec: {mcp: {enabled: false}}
"""
TIERS = """\
kind: ServiceTier
metadata: {name: t, project: search}
spec: {enabled_tiers: [flex, fast]}
"""


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    workspace.write({"p.yaml": PROJECT}).apply()
    return workspace


def setting(workspace: Workspace, name: str, **sent: Any) -> dict[str, Any]:
    """A setting as the API shows it, after something else has changed it, where that is asked for."""
    with admin(workspace) as client:
        path = f"/organization/projects/{project_id(client)}/{name}"
        answer = client.post(path, json=sent) if sent else client.get(path)
        found: dict[str, Any] = answer.json()
        return found


def test_models_in_another_order_are_no_difference(project: Workspace) -> None:
    project.write({"s.yaml": MODELS}).apply()
    setting(project, "model_permissions", mode="allow_list", model_ids=["gpt-4o", "gpt-4.1"])
    assert project.plan().code == 0


def test_a_change_of_the_mode_keeps_the_models(project: Workspace) -> None:
    project.write({"s.yaml": MODELS}).apply()
    project.write({"s.yaml": MODELS.replace("allow_list", "deny_list")}).apply()
    found = setting(project, "model_permissions")
    assert (found["mode"], found["model_ids"]) == ("deny_list", ["gpt-4.1", "gpt-4o"])


def test_removed_model_permissions_are_deleted(project: Workspace) -> None:
    project.write({"s.yaml": MODELS}).apply()
    (project.folder / "s.yaml").unlink()
    project.apply()
    assert setting(project, "model_permissions")["error"]["type"] == "invalid_request_error"


def test_removing_a_setting_that_cannot_be_deleted_writes_back_only_what_we_overwrote(
    project: Workspace,
) -> None:
    setting(
        project, "hosted_tool_permissions", mcp={"enabled": True}, web_search={"enabled": False}
    )
    project.write({"s.yaml": TOOLS}).apply()
    setting(project, "hosted_tool_permissions", image_generation={"enabled": False})
    (project.folder / "s.yaml").unlink()
    project.apply()
    found = setting(project, "hosted_tool_permissions")
    off = [name for name, switch in found.items() if not switch["enabled"]]
    assert off == ["web_search", "image_generation"]


def test_a_switch_that_somebody_turned_is_drift_of_that_switch(project: Workspace) -> None:
    project.write({"s.yaml": TOOLS}).apply()
    setting(
        project, "hosted_tool_permissions", mcp={"enabled": True}, web_search={"enabled": False}
    )
    out = project.run("drift", expect=2).out
    assert "mcp" in out
    assert "web_search" not in out


def test_tiers_are_a_set_or_all(project: Workspace) -> None:
    project.write({"s.yaml": TIERS}).apply()
    setting(project, "service_tier_settings", enabled_tiers=["fast", "flex"])
    assert project.plan().code == 0
    (project.folder / "s.yaml").unlink()
    project.apply()
    assert setting(project, "service_tier_settings")["enabled_tiers"] == "all"


def test_a_project_without_such_a_setting_is_one_failure_that_says_so(workspace: Workspace) -> None:
    workspace.write({"p.yaml": PROJECT, "s.yaml": TOOLS})
    workspace.emulator.add_fault("on=GET:*/hosted_tool_permissions,do=error:404,times=0")
    done = workspace.run("apply", "--yes", expect=13)
    assert "the API lists no HostedTools here" in done.err + done.out
