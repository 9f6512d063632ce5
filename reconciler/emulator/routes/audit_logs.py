"""The audit log: read-only, newest first, with filters for time, project, event and actor."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from reconciler.emulator.errors import bad_request, forbidden
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_OF_TENANT = ("role.bound_to_resource", "role.unbound_from_resource")
"""Event types that, like those named `tenant.…`, come only with `tenant_only=true`."""
# Filters by value, and how to get the value of an entry.
_FILTERS: dict[str, Callable[[ObjectRow], str | None]] = {
    "project_ids": lambda entry: entry.body.get("project", {}).get("id"),
    "event_types": lambda entry: str(entry.body["type"]),
    "actor_ids": lambda entry: _actor(entry).get("id"),
    "actor_emails": lambda entry: _actor(entry).get("email"),
    "resource_ids": lambda entry: str(entry.hidden["resource_id"]),
}


def list_audit_logs(call: Call) -> dict[str, Any]:
    if call.options.audit_off:
        raise forbidden("Audit logging is not enabled for this organization.")
    bounds = {name: call.query.integer(f"effective_at[{name}]") for name in _COMPARISONS}
    wanted = {name: values for name in _FILTERS if (values := call.query.all(name))}
    tenant_only = call.query.boolean("tenant_only")
    for type in wanted.get("event_types", ()) if tenant_only else ():
        if not _is_of_tenant(type):
            raise bad_request(f"'{type}' is not a tenant-scoped event type.", param="event_types")

    def keep(entry: ObjectRow) -> bool:
        at = entry.body["effective_at"]
        in_time = all(
            bound is None or _COMPARISONS[name](at, bound) for name, bound in bounds.items()
        )
        has_come = entry.born + call.options.audit_lag_ms / 1000 <= call.store.clock()
        if _is_of_tenant(entry.body["type"]) is not tenant_only:
            return False
        return (
            has_come and in_time and all(_FILTERS[name](entry) in wanted[name] for name in wanted)
        )

    return call.list_answer(
        call.store.collection("audit_log", ORGANIZATION),
        page_of(call.query, order=None, descending=True),
        keep=keep,
    )


def _is_of_tenant(type: str) -> bool:
    return type.startswith("tenant.") or type in _OF_TENANT


def _actor(entry: ObjectRow) -> dict[str, Any]:
    user: dict[str, Any] = entry.body["actor"]["api_key"]["user"]
    return user


ROUTES = (Route("GET", "/organization/audit_logs", list_audit_logs, Access.ADMIN),)
