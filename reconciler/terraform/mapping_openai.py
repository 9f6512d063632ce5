"""The provider `openai/openai`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.terraform.mapping import (
    Draft,
    Lookup,
    NotCarriedOver,
    Take,
    TerraformProvider,
    TypeMapping,
    as_list,
    short_role,
    text_of,
    value_at,
)
from reconciler.terraform.shared import (
    CURRENCY,
    GROUP,
    GROUP_MEMBER,
    MODEL_PERMISSIONS,
    PROJECT,
    RATE_LIMIT,
    ROLE_TAKES,
    assignment,
    data_retention,
    invite,
    invited_projects,
    spend_limit,
    user,
)
from reconciler.terraform.state import TerraformInstance

_TOOLS = ("file_search", "web_search", "image_generation", "mcp", "code_interpreter")


def _project_user(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """A member of a project: by id where the state has it, because ids do not change."""
    user_id = instance.attributes.get("user_id")
    if not isinstance(user_id, str) or not user_id:
        raise NotCarriedOver("the state has no user_id of it; run `terraform refresh` first")
    table = TypeMapping(("ProjectUser",), (Take("user_id"), Take("role")), in_project=True)
    yield TypeMapping(table.kinds, table.takes, own_id="user_id", in_project=True).draft(
        instance, lookup
    )


def _spend_alert(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """A spend alert, whose channel is flat here and an object at the API."""
    table = TypeMapping(("SpendAlert",), CURRENCY)
    draft = table.draft(instance, lookup)
    channel: dict[str, Any] = {
        "type": text_of(instance, "notification_channel_type"),
        "recipients": as_list(value_at(instance.attributes, "notification_channel_recipients")),
    }
    prefix = instance.attributes.get("notification_channel_subject_prefix")
    if prefix is not None:
        channel["subject_prefix"] = prefix
    project_id = instance.attributes.get("project_id")
    yield Draft(
        "SpendAlert",
        {**draft.spec, "notification_channel": channel},
        own_id=draft.own_id,
        project_id=project_id,
    )


def _hosted_tools(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    del lookup
    switches = {}
    for tool in _TOOLS:
        enabled = instance.attributes.get(f"{tool}_enabled")
        if isinstance(enabled, bool):
            switches[tool] = {"enabled": enabled}
    yield Draft("HostedTools", switches, project_id=text_of(instance, "project_id"))


def _certificate(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """A certificate, which is public; a private key beside it stays where it is."""
    del lookup
    pem = text_of(instance, "certificate")
    if "PRIVATE KEY" in pem:
        raise NotCarriedOver("its certificate attribute holds a private key")
    spec = {"certificate": pem}
    name = instance.attributes.get("name")
    # The API answers null for a certificate without a name, and no manifest can ask for that.
    if name:
        spec = {"name": name, **spec}
    yield Draft("Certificate", spec, own_id=text_of(instance, "id"))


def _role(*, in_project: bool) -> TypeMapping:
    return TypeMapping(("Role",), (Take("role_name"), *ROLE_TAKES), in_project=in_project)


def _channel(*, in_project: bool) -> TypeMapping:
    return TypeMapping(("SpendAlert",), in_project=in_project, convert=_spend_alert)


PROVIDER = TerraformProvider(
    "openai/openai",
    {
        "openai_project": PROJECT,
        "openai_project_rate_limit": RATE_LIMIT,
        "openai_project_service_account": TypeMapping(
            ("ServiceAccount",), (Take("name"),), in_project=True
        ),
        "openai_project_user": TypeMapping(
            ("ProjectUser",), convert=_project_user, note="declared by user id"
        ),
        "openai_project_user_role": assignment("user_id", in_project=True),
        "openai_project_group": TypeMapping(
            ("ProjectGroup",),
            (Take("group_id"), Take("role", change=short_role)),
            own_id="",
            in_project=True,
        ),
        "openai_project_group_role": assignment("group_id", in_project=True),
        "openai_project_role": _role(in_project=True),
        "openai_role": _role(in_project=False),
        "openai_user_role": assignment("user_id", in_project=False),
        "openai_group_role": assignment("group_id", in_project=False),
        "openai_group": GROUP,
        "openai_group_user": GROUP_MEMBER,
        "openai_invite": invite(
            [Take("projects", change=invited_projects, is_computed=True)],
        ),
        "openai_organization_user": user(
            Take("role", is_computed=True),
            Take("technical_level", is_computed=True),
            Take("developer_persona", is_computed=True),
        ),
        "openai_organization_data_retention": data_retention(in_project=False),
        "openai_project_data_retention": data_retention(in_project=True),
        "openai_organization_spend_limit": spend_limit(in_project=False),
        "openai_project_spend_limit": spend_limit(in_project=True),
        "openai_organization_spend_alert": _channel(in_project=False),
        "openai_project_spend_alert": _channel(in_project=True),
        "openai_project_model_permissions": MODEL_PERMISSIONS,
        "openai_project_hosted_tool_permissions": TypeMapping(
            ("HostedTools",), convert=_hosted_tools
        ),
        "openai_certificate": TypeMapping(
            ("Certificate",),
            convert=_certificate,
            note="whether it is active is not in the state: declare a CertificateActivation",
        ),
    },
    {},
)
