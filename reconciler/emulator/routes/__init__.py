"""All routes below /v1, a module for each kind of object.

A new route is a handler and a line in the `ROUTES` of its module; a new kind is a new module, named in the tuple below.
"""

from __future__ import annotations

from reconciler.emulator.routes import (
    admin_keys,
    agents,
    assistants,
    audit_logs,
    automations,
    certificates,
    containers,
    conversations,
    data_retention,
    environment_templates,
    external_keys,
    files,
    groups,
    invites,
    models,
    project_groups,
    project_keys,
    project_settings,
    projects,
    rate_limits,
    role_assignments,
    roles,
    service_accounts,
    spend_alerts,
    spend_limits,
    uploads,
    usage,
    users,
    vaults,
    vector_store_files,
    vector_stores,
    webhooks,
    workload_identities,
)
from reconciler.emulator.routing import Route

_MODULES = (
    projects,
    rate_limits,
    service_accounts,
    project_keys,
    project_groups,
    project_settings,
    users,
    groups,
    roles,
    role_assignments,
    invites,
    spend_limits,
    spend_alerts,
    data_retention,
    admin_keys,
    certificates,
    external_keys,
    workload_identities,
    audit_logs,
    usage,
    models,
    files,
    uploads,
    vector_stores,
    vector_store_files,
    assistants,
    environment_templates,  # before agents, whose paths have an id where these have a word
    automations,
    agents,
    vaults,
    webhooks,
    containers,
    conversations,
)

ROUTES: tuple[Route, ...] = tuple(route for module in _MODULES for route in module.ROUTES)
