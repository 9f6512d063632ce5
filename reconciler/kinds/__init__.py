"""The kinds, one file each. A new kind is a new file here and a line in the registry below."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.kinds.agent import KIND as AGENT
from reconciler.kinds.assistant import KIND as ASSISTANT
from reconciler.kinds.container import KIND as CONTAINER
from reconciler.kinds.conversation import KIND as CONVERSATION
from reconciler.kinds.file import KIND as FILE
from reconciler.kinds.group import KIND as GROUP
from reconciler.kinds.group_member import KIND as GROUP_MEMBER
from reconciler.kinds.hosted_tools import KIND as HOSTED_TOOLS
from reconciler.kinds.model_permissions import KIND as MODEL_PERMISSIONS
from reconciler.kinds.project import KIND as PROJECT
from reconciler.kinds.project_group import KIND as PROJECT_GROUP
from reconciler.kinds.project_key import KIND as PROJECT_KEY
from reconciler.kinds.project_user import KIND as PROJECT_USER
from reconciler.kinds.rate_limit import KIND as RATE_LIMIT
from reconciler.kinds.service_account import KIND as SERVICE_ACCOUNT
from reconciler.kinds.service_account_key import KIND as SERVICE_ACCOUNT_KEY
from reconciler.kinds.service_tier import KIND as SERVICE_TIER
from reconciler.kinds.spend_limit import KIND as SPEND_LIMIT
from reconciler.kinds.user import KIND as USER
from reconciler.kinds.vector_store import KIND as VECTOR_STORE
from reconciler.kinds.webhook import KIND as WEBHOOK
from reconciler.model.kind import Kind

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        PROJECT,
        RATE_LIMIT,
        SERVICE_ACCOUNT,
        SERVICE_ACCOUNT_KEY,
        SPEND_LIMIT,
        PROJECT_USER,
        PROJECT_KEY,
        PROJECT_GROUP,
        MODEL_PERMISSIONS,
        HOSTED_TOOLS,
        SERVICE_TIER,
        USER,
        GROUP,
        GROUP_MEMBER,
        FILE,
        VECTOR_STORE,
        ASSISTANT,
        AGENT,
        WEBHOOK,
        CONTAINER,
        CONVERSATION,
    )
}
"""Every kind by name, in the order in which a newcomer would read about them."""
