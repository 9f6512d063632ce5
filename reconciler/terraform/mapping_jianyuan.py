"""The provider `jianyuan/openai`."""

from __future__ import annotations

from reconciler.terraform.mapping import (
    Take,
    TerraformProvider,
    TypeMapping,
    as_list,
    present_parts,
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
    spend_limit,
    user,
)


def _channel(value: object) -> dict[str, object]:
    """The channel of a spend alert; a prefix that is not set is stored as null."""
    channel = present_parts(value)
    if "recipients" in channel:
        channel["recipients"] = sorted(as_list(channel["recipients"]))
    return channel


_ALERT = (*CURRENCY, Take("notification_channel", change=_channel))
_ROLE = (Take("role_name", "name"), *ROLE_TAKES)

PROVIDER = TerraformProvider(
    "jianyuan/openai",
    {
        "openai_project": PROJECT,
        "openai_project_rate_limit": RATE_LIMIT,
        "openai_project_service_account": TypeMapping(
            ("ServiceAccount",),
            (Take("name"),),
            in_project=True,
            keys=(("api_key", "api_key_id"),),
            note="its key is in the state in clear text: rotate it",
        ),
        "openai_admin_api_key": TypeMapping(
            ("AdminKey",),
            (Take("name"),),
            keys=(("api_key", "id"),),
            note="its key is in the state in clear text: rotate it",
        ),
        "openai_project_user": TypeMapping(
            ("ProjectUser",),
            (Take("user_id"), Take("role")),
            own_id="user_id",
            in_project=True,
        ),
        "openai_user_role": user(Take("role")),
        "openai_user_role_assignment": assignment("user_id", in_project=False),
        "openai_group_role_assignment": assignment("group_id", in_project=False),
        "openai_project_user_role_assignment": assignment("user_id", in_project=True),
        "openai_project_group_role_assignment": assignment("group_id", in_project=True),
        "openai_organization_role": TypeMapping(("Role",), _ROLE),
        "openai_project_role": TypeMapping(("Role",), _ROLE, in_project=True),
        "openai_group": GROUP,
        "openai_group_user": GROUP_MEMBER,
        "openai_invite": invite([]),
        "openai_data_retention": data_retention(in_project=False),
        "openai_spend_limit": spend_limit(in_project=False),
        "openai_project_spend_limit": spend_limit(in_project=True),
        "openai_spend_alert": TypeMapping(("SpendAlert",), _ALERT),
        "openai_project_spend_alert": TypeMapping(("SpendAlert",), _ALERT, in_project=True),
        "openai_project_model_permissions": MODEL_PERMISSIONS,
    },
    {},
)
