"""Every type of each Terraform provider: the plan after its import is empty."""

from __future__ import annotations

from typing import Any

from tests.conftest import Workspace
from tests.terraform.conftest import Organization
from tests.terraform.states import (
    JIANYUAN,
    MKDEV,
    OPENAI,
    insist_on_an_empty_plan,
    resource,
    state,
    take_over,
)


def everything_of_openai(organization: Organization) -> dict[str, Any]:
    """All types of the provider `openai/openai` that the emulator can make."""
    ada, cleo = organization.user("ada"), organization.user("cleo")
    project = organization.project("Search")
    at = f"/organization/projects/{project}"
    account = organization.account(project, "indexer")
    organization.post(f"{at}/rate_limits/rl-gpt-4.1", max_requests_per_1_minute=50)
    limits = organization.limits(project, "gpt-4.1")
    organization.post(f"{at}/users", user_id=cleo["id"], role="member")
    group = organization.post("/organization/groups", name="Support")
    organization.post(f"/organization/groups/{group['id']}/users", user_id=cleo["id"])
    organization.post(f"{at}/groups", group_id=group["id"], role="role-api-project-member")
    role = organization.post(
        "/organization/roles", role_name="Reader", permissions=["api.groups.read"]
    )
    own = organization.post(
        f"/projects/{project}/roles", role_name="Runner", permissions=["api.model.request"]
    )
    organization.post(f"/organization/users/{ada['id']}/roles", role_id=role["id"])
    organization.post(f"/organization/groups/{group['id']}/roles", role_id=role["id"])
    organization.post(f"/projects/{project}/users/{cleo['id']}/roles", role_id=own["id"])
    organization.post(
        f"/projects/{project}/groups/{group['id']}/roles", role_id="role-api-project-viewer"
    )
    invite = organization.post(
        "/organization/invites",
        email="fay@example.com",
        role="reader",
        projects=[{"id": project, "role": "member"}],
    )
    limit = {"currency": "USD", "interval": "month"}
    organization.post("/organization/spend_limit", threshold_amount=900000, **limit)
    organization.post(f"{at}/spend_limit", threshold_amount=50000, **limit)
    channel = {"type": "email", "recipients": ["a@example.com", "b@example.com"]}
    alerts = [
        organization.post(path, threshold_amount=40000, notification_channel=channel, **limit)
        for path in ("/organization/spend_alerts", f"{at}/spend_alerts")
    ]
    organization.post(f"{at}/data_retention", retention_type="modified_abuse_monitoring")
    organization.post(f"{at}/model_permissions", mode="allow_list", model_ids=["gpt-4.1", "gpt-4o"])
    organization.post(f"{at}/hosted_tool_permissions", web_search={"enabled": False})
    flat = {
        "notification_channel_type": "email",
        "notification_channel_recipients": ["b@example.com", "a@example.com"],
        "notification_channel_subject_prefix": None,
    }
    in_project = {"project_id": project}
    made: list[tuple[str, str, dict[str, Any]]] = [
        ("openai_project", "p", {"id": project, "project_id": project, "name": "Search",
                                 "geography": None, "external_key_id": None, "status": "active"}),
        ("openai_project_rate_limit", "r", {**limits, **in_project, "rate_limit_id": limits["id"]}),
        ("openai_project_service_account", "sa", {"id": account["id"], "name": "indexer",
                                                  "service_account_id": account["id"],
                                                  **in_project}),
        ("openai_project_user", "pu", {"user_id": cleo["id"], "email": cleo["email"],
                                       "role": "member", **in_project}),
        ("openai_project_user_role", "pur", {"user_id": cleo["id"], "role_id": own["id"],
                                             **in_project}),
        ("openai_project_group", "pg", {"group_id": group["id"], "role": "role-api-project-member",
                                        **in_project}),
        ("openai_project_group_role", "pgr", {"group_id": group["id"],
                                              "role_id": "role-api-project-viewer", **in_project}),
        ("openai_project_role", "own", {"id": own["id"], "role_id": own["id"],
                                        "role_name": "Runner", "description": None,
                                        "permissions": ["api.model.request"], **in_project}),
        ("openai_role", "reader", {"id": role["id"], "role_id": role["id"], "role_name": "Reader",
                                   "description": None, "permissions": ["api.groups.read"]}),
        ("openai_user_role", "ur", {"user_id": ada["id"], "role_id": role["id"]}),
        ("openai_group_role", "gr", {"group_id": group["id"], "role_id": role["id"]}),
        ("openai_group", "g", {"id": group["id"], "group_id": group["id"], "name": "Support"}),
        ("openai_group_user", "gu", {"group_id": group["id"], "user_id": cleo["id"]}),
        ("openai_invite", "fay", {"id": invite["id"], "email": "fay@example.com", "role": "reader",
                                  "status": "pending",
                                  "projects": [{"id": project, "role": "member"}]}),
        ("openai_organization_user", "ada", {"id": ada["id"], "user_id": ada["id"],
                                             "email": ada["email"], "role": ada["role"],
                                             "technical_level": None, "developer_persona": None}),
        ("openai_project_data_retention", "d", {"type": "modified_abuse_monitoring", **in_project}),
        ("openai_organization_spend_limit", "all", {"threshold_amount": 900000, **limit,
                                                    "singleton_id": "organization"}),
        ("openai_project_spend_limit", "one", {"threshold_amount": 50000, **limit, **in_project}),
        ("openai_organization_spend_alert", "a", {"id": alerts[0]["id"], "threshold_amount": 40000,
                                                  **limit, **flat}),
        ("openai_project_spend_alert", "b", {"id": alerts[1]["id"], "threshold_amount": 40000,
                                             **limit, **flat, **in_project}),
        ("openai_project_model_permissions", "m", {"mode": "allow_list",
                                                   "model_ids": ["gpt-4o", "gpt-4.1"],
                                                   **in_project}),
        ("openai_project_hosted_tool_permissions", "t", {"web_search_enabled": False,
                                                         "file_search_enabled": True,
                                                         "image_generation_enabled": True,
                                                         "mcp_enabled": True,
                                                         "code_interpreter_enabled": True,
                                                         **in_project}),
    ]  # fmt: skip
    return state(*(resource(OPENAI, type, name, attributes) for type, name, attributes in made))


def test_the_plan_after_an_import_of_openai_openai_is_empty(
    workspace: Workspace, organization: Organization
) -> None:
    take_over(workspace, everything_of_openai(organization))
    insist_on_an_empty_plan(workspace)


def everything_of_jianyuan(organization: Organization) -> dict[str, Any]:
    """All types of the provider `jianyuan/openai` that the emulator can make, in a module."""
    cleo = organization.user("cleo")
    project = organization.project("jy")
    at = f"/organization/projects/{project}"
    account = organization.account(project, "indexer")
    key = organization.post("/organization/admin_api_keys", name="ci")
    organization.post(f"{at}/rate_limits/rl-gpt-4.1-mini", max_tokens_per_1_minute=300)
    limits = organization.limits(project, "gpt-4.1-mini")
    organization.post(f"{at}/users", user_id=cleo["id"], role="owner")
    group = organization.post("/organization/groups", name="Support")
    organization.post(f"/organization/groups/{group['id']}/users", user_id=cleo["id"])
    role = organization.post(
        "/organization/roles", role_name="Reader", permissions=["api.groups.read"]
    )
    own = organization.post(
        f"/projects/{project}/roles", role_name="Runner", permissions=["api.model.request"]
    )
    for principal in (f"users/{cleo['id']}", f"groups/{group['id']}"):
        organization.post(f"/organization/{principal}/roles", role_id=role["id"])
        organization.post(f"/projects/{project}/{principal}/roles", role_id=own["id"])
    invite = organization.post("/organization/invites", email="fay@example.com", role="reader")
    limit = {"currency": "USD", "interval": "month"}
    organization.post("/organization/spend_limit", threshold_amount=900000, **limit)
    organization.post(f"{at}/spend_limit", threshold_amount=50000, **limit)
    channel = {"type": "email", "recipients": ["a@example.com"]}
    alerts = [
        organization.post(path, threshold_amount=40000, notification_channel=channel, **limit)
        for path in ("/organization/spend_alerts", f"{at}/spend_alerts")
    ]
    organization.post("/organization/data_retention", retention_type="zero_data_retention")
    organization.post(f"{at}/model_permissions", mode="deny_list", model_ids=["gpt-4o"])
    in_project = {"project_id": project}
    stored = {name: value for name, value in limits.items() if name not in ("id", "model")}
    nested = {"notification_channel": {**channel, "subject_prefix": None}}
    made: list[tuple[str, str, dict[str, Any]]] = [
        ("openai_project", "p", {"id": project, "name": "jy", "geography": None,
                                 "external_key_id": None, "status": "active"}),
        ("openai_project_rate_limit", "r", {**stored, **in_project, "rate_limit_id": limits["id"]}),
        ("openai_project_service_account", "sa", {
            "id": account["id"], "name": "indexer", "role": "member", **in_project,
            "api_key_id": account["api_key"]["id"], "api_key": account["api_key"]["value"]}),
        ("openai_admin_api_key", "k", {"id": key["id"], "name": "ci", "api_key": key["value"]}),
        ("openai_project_user", "pu", {"user_id": cleo["id"], "role": "owner", **in_project}),
        ("openai_user_role_assignment", "ur", {"user_id": cleo["id"], "role_id": role["id"]}),
        ("openai_group_role_assignment", "gr", {"group_id": group["id"], "role_id": role["id"]}),
        ("openai_project_user_role_assignment", "pur", {"user_id": cleo["id"],
                                                        "role_id": own["id"], **in_project}),
        ("openai_project_group_role_assignment", "pgr", {"group_id": group["id"],
                                                         "role_id": own["id"], **in_project}),
        ("openai_organization_role", "reader", {"id": role["id"], "name": "Reader",
                                                "description": None,
                                                "permissions": ["api.groups.read"]}),
        ("openai_project_role", "own", {"id": own["id"], "name": "Runner", "description": None,
                                        "permissions": ["api.model.request"], **in_project}),
        ("openai_group", "g", {"id": group["id"], "name": "Support"}),
        ("openai_group_user", "gu", {"group_id": group["id"], "user_id": cleo["id"]}),
        ("openai_invite", "fay", {"id": invite["id"], "email": "fay@example.com", "role": "reader",
                                  "status": "pending"}),
        ("openai_data_retention", "d", {"type": "zero_data_retention"}),
        ("openai_spend_limit", "all", {"threshold_amount": 900000, **limit,
                                       "enforcement": {"status": "inactive"}}),
        ("openai_project_spend_limit", "one", {"threshold_amount": 50000, **limit, **in_project,
                                               "enforcement": {"status": "inactive"}}),
        ("openai_spend_alert", "a", {"id": alerts[0]["id"], "threshold_amount": 40000, **limit,
                                     **nested}),
        ("openai_project_spend_alert", "b", {"id": alerts[1]["id"], "threshold_amount": 40000,
                                             **limit, **nested, **in_project}),
        ("openai_project_model_permissions", "m", {"mode": "deny_list", "model_ids": ["gpt-4o"],
                                                   **in_project}),
    ]  # fmt: skip
    return state(
        *(
            resource(JIANYUAN, type, name, attributes, module="module.m")
            for type, name, attributes in made
        )
    )


def everything_of_mkdev(organization: Organization) -> dict[str, Any]:
    """The types of the provider `mkdev-me/openai` that stand for objects of the organization."""
    cleo, ben = organization.user("cleo"), organization.user("ben")
    project = organization.project("mk")
    at = f"/organization/projects/{project}"
    account = organization.account(project, "indexer")
    key = organization.post("/organization/admin_api_keys", name="ci")
    organization.post(f"{at}/rate_limits/rl-gpt-4.1", max_requests_per_1_minute=40)
    own = organization.post(
        f"/projects/{project}/roles", role_name="Runner", permissions=["api.model.request"]
    )
    role = organization.post(
        "/organization/roles", role_name="Reader", permissions=["api.groups.read"]
    )
    organization.post(f"{at}/users", user_id=cleo["id"], role="member")
    member = f"role-api-project-member__api-project__{project}"
    for id in (member, own["id"]):
        organization.post(f"/projects/{project}/users/{cleo['id']}/roles", role_id=id)
    group = organization.post("/organization/groups", name="Support")
    organization.post(f"{at}/groups", group_id=group["id"], role=own["id"])
    viewer = "role-api-project-viewer"
    organization.post(f"/projects/{project}/groups/{group['id']}/roles", role_id=viewer)
    organization.post(f"/organization/groups/{group['id']}/users", user_id=cleo["id"])
    organization.post(f"/organization/users/{cleo['id']}/roles", role_id=role["id"])
    organization.post(f"/organization/groups/{group['id']}/roles", role_id=role["id"])
    invite = organization.post(
        "/organization/invites",
        email="fay@example.com",
        role="reader",
        projects=[{"id": project, "role": "owner"}],
    )
    suffix = project[-8:]
    in_project = {"project_id": project}
    made: list[tuple[str, str, dict[str, Any]]] = [
        ("openai_project", "p", {"id": project, "name": "mk", "status": "active",
                                 "created_at": "2026-11-30T10:21:09Z", "archived_at": None}),
        ("openai_project_role", "own", {"id": f"{project}:{own['id']}", "name": "Runner",
                                        "description": "", "permissions": ["api.model.request"],
                                        "predefined_role": False, **in_project}),
        ("openai_rate_limit", "r", {"id": f"rl-gpt-4.1-{suffix}", "model": "gpt-4.1",
                                    "rate_limit_id": f"rl-gpt-4.1-{suffix}",
                                    "max_requests_per_minute": 40, "max_tokens_per_minute": None,
                                    "max_images_per_minute": 0, **in_project}),
        ("openai_project_service_account", "sa", {
            "id": f"{project}:{account['id']}", "service_account_id": account["id"],
            "name": "indexer", "role": "member", **in_project,
            "api_key_id": account["api_key"]["id"], "api_key_value": account["api_key"]["value"]}),
        ("openai_project_user", "pu", {"id": f"{project}:{cleo['id']}", "user_id": cleo["id"],
                                       "email": cleo["email"], "role_ids": [member, own["id"]],
                                       **in_project}),
        ("openai_project_group", "pg", {"id": f"{project}:{group['id']}", "group_id": group["id"],
                                        "role_ids": [own["id"], f"{viewer}__api-project__{project}"],
                                        "group_name": "Support", **in_project}),
        ("openai_organization_user", "ben", {"id": ben["id"], "user_id": ben["id"],
                                             "role": ben["role"], "email": ben["email"],
                                             "name": "Ben"}),
        ("openai_organization_user_role", "ur", {"id": f"{cleo['id']}:{role['id']}",
                                                 "user_id": cleo["id"], "role_id": role["id"]}),
        ("openai_organization_group_role", "gr", {"id": f"{group['id']}:{role['id']}",
                                                  "group_id": group["id"], "role_id": role["id"]}),
        ("openai_organization_role", "reader", {"id": role["id"], "name": "Reader",
                                                "description": None, "predefined_role": False,
                                                "permissions": ["api.groups.read"]}),
        ("openai_group", "g", {"id": group["id"], "name": "Support", "is_scim_managed": False}),
        ("openai_group_user", "gu", {"id": f"{group['id']}:{cleo['id']}", "group_id": group["id"],
                                     "user_id": cleo["id"], "email": cleo["email"]}),
        ("openai_invite", "fay", {"id": invite["id"], "invite_id": invite["id"],
                                  "email": "fay@example.com", "role": "reader",
                                  "status": "pending",
                                  "projects": [{"id": project, "role": "owner"}]}),
        ("openai_admin_api_key", "k", {"id": key["id"], "name": "ci", "scopes": None,
                                       "api_key_value": key["value"]}),
    ]  # fmt: skip
    return state(*(resource(MKDEV, type, name, attributes) for type, name, attributes in made))


def test_the_plan_after_an_import_of_jianyuan_openai_is_empty(
    workspace: Workspace, organization: Organization
) -> None:
    take_over(workspace, everything_of_jianyuan(organization))
    insist_on_an_empty_plan(workspace)


def test_the_plan_after_an_import_of_mkdev_me_openai_is_empty(
    workspace: Workspace, organization: Organization
) -> None:
    take_over(workspace, everything_of_mkdev(organization))
    insist_on_an_empty_plan(workspace)
