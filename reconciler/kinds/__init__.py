"""The kinds, one file each. A new kind is a new file here and a line in the registry below."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.kinds.admin_key import KIND as ADMIN_KEY
from reconciler.kinds.agent import KIND as AGENT
from reconciler.kinds.assistant import KIND as ASSISTANT
from reconciler.kinds.automation import KIND as AUTOMATION
from reconciler.kinds.batch import KIND as BATCH
from reconciler.kinds.certificate import KIND as CERTIFICATE
from reconciler.kinds.certificate_activation import KIND as CERTIFICATE_ACTIVATION
from reconciler.kinds.chat_completion import KIND as CHAT_COMPLETION
from reconciler.kinds.checkpoint_permission import KIND as CHECKPOINT_PERMISSION
from reconciler.kinds.container import KIND as CONTAINER
from reconciler.kinds.conversation import KIND as CONVERSATION
from reconciler.kinds.credential import KIND as CREDENTIAL
from reconciler.kinds.data_retention import KIND as DATA_RETENTION
from reconciler.kinds.environment_template import KIND as ENVIRONMENT_TEMPLATE
from reconciler.kinds.eval import KIND as EVAL
from reconciler.kinds.eval_run import KIND as EVAL_RUN
from reconciler.kinds.external_key import KIND as EXTERNAL_KEY
from reconciler.kinds.external_storage import KIND as EXTERNAL_STORAGE
from reconciler.kinds.federation_rule import KIND as FEDERATION_RULE
from reconciler.kinds.file import KIND as FILE
from reconciler.kinds.fine_tuning_job import KIND as FINE_TUNING_JOB
from reconciler.kinds.group import KIND as GROUP
from reconciler.kinds.group_member import KIND as GROUP_MEMBER
from reconciler.kinds.hosted_tools import KIND as HOSTED_TOOLS
from reconciler.kinds.invite import KIND as INVITE
from reconciler.kinds.message import KIND as MESSAGE
from reconciler.kinds.model_permissions import KIND as MODEL_PERMISSIONS
from reconciler.kinds.project import KIND as PROJECT
from reconciler.kinds.project_group import KIND as PROJECT_GROUP
from reconciler.kinds.project_key import KIND as PROJECT_KEY
from reconciler.kinds.project_user import KIND as PROJECT_USER
from reconciler.kinds.rate_limit import KIND as RATE_LIMIT
from reconciler.kinds.role import KIND as ROLE
from reconciler.kinds.role_assignment import KIND as ROLE_ASSIGNMENT
from reconciler.kinds.service_account import KIND as SERVICE_ACCOUNT
from reconciler.kinds.service_account_key import KIND as SERVICE_ACCOUNT_KEY
from reconciler.kinds.service_tier import KIND as SERVICE_TIER
from reconciler.kinds.skill import KIND as SKILL
from reconciler.kinds.spend_alert import KIND as SPEND_ALERT
from reconciler.kinds.spend_limit import KIND as SPEND_LIMIT
from reconciler.kinds.thread import KIND as THREAD
from reconciler.kinds.user import KIND as USER
from reconciler.kinds.vault import KIND as VAULT
from reconciler.kinds.vector_store import KIND as VECTOR_STORE
from reconciler.kinds.webhook import KIND as WEBHOOK
from reconciler.kinds.workload_identity_provider import KIND as WORKLOAD_IDENTITY_PROVIDER
from reconciler.model.kind import Kind

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        PROJECT,
        RATE_LIMIT,
        SERVICE_ACCOUNT,
        SERVICE_ACCOUNT_KEY,
        SPEND_LIMIT,
        SPEND_ALERT,
        DATA_RETENTION,
        PROJECT_USER,
        PROJECT_KEY,
        PROJECT_GROUP,
        MODEL_PERMISSIONS,
        HOSTED_TOOLS,
        SERVICE_TIER,
        USER,
        INVITE,
        GROUP,
        GROUP_MEMBER,
        ROLE,
        ROLE_ASSIGNMENT,
        ADMIN_KEY,
        CERTIFICATE,
        CERTIFICATE_ACTIVATION,
        EXTERNAL_KEY,
        EXTERNAL_STORAGE,
        WORKLOAD_IDENTITY_PROVIDER,
        FEDERATION_RULE,
        CHECKPOINT_PERMISSION,
        FILE,
        VECTOR_STORE,
        ASSISTANT,
        THREAD,
        MESSAGE,
        AGENT,
        ENVIRONMENT_TEMPLATE,
        VAULT,
        CREDENTIAL,
        AUTOMATION,
        SKILL,
        WEBHOOK,
        CONTAINER,
        CONVERSATION,
        EVAL,
        EVAL_RUN,
        BATCH,
        FINE_TUNING_JOB,
    )
}
"""Every kind by name, in the order in which a newcomer would read about them."""

ALL_KINDS: Mapping[str, Kind] = {**KINDS, CHAT_COMPLETION.name: CHAT_COMPLETION}
"""Every kind that a plan can contain: the kinds that manifests declare, and those that only
retention rules remove.
"""
