"""All routes below /v1, a module for each kind of object.

A new route is a handler and a line in the `ROUTES` of its module; a new kind is a new module, named in the tuple below.
"""

from __future__ import annotations

from reconciler.emulator.routes import (
    agents,
    assistants,
    audit_logs,
    containers,
    conversations,
    files,
    groups,
    models,
    project_groups,
    project_keys,
    project_settings,
    projects,
    rate_limits,
    service_accounts,
    spend_limits,
    uploads,
    users,
    vector_store_files,
    vector_stores,
    webhooks,
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
    spend_limits,
    audit_logs,
    models,
    files,
    uploads,
    vector_stores,
    vector_store_files,
    assistants,
    agents,
    webhooks,
    containers,
    conversations,
)

ROUTES: tuple[Route, ...] = tuple(route for module in _MODULES for route in module.ROUTES)
