"""Spend limits: at most one for the organization and one per project."""

from __future__ import annotations

from typing import Any

from reconciler.emulator.errors import not_found
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import choice, fields, integer

_SET = fields(
    {"threshold_amount": integer(minimum=1), "currency": choice("USD"), "interval": choice("month")}
)


def retrieve(call: Call) -> dict[str, Any]:
    return _limit(call).body


def update(call: Call) -> dict[str, Any]:
    call.scope_project(to_change=True)
    body = {"object": _what(call), **call.json(_SET), "enforcement": {"status": "inactive"}}
    call.store.add("spend_limit", call.scope_id, body, id="spend_limit")
    return body


def delete(call: Call) -> dict[str, Any]:
    call.scope_project(to_change=True)
    call.store.remove(_limit(call))
    return {"object": f"{_what(call)}.deleted", "deleted": True}


def _limit(call: Call) -> ObjectRow:
    found = call.store.get("spend_limit", call.scope_id, "spend_limit")
    if found is None:
        raise not_found("No spend limit is set.")
    return found


def _what(call: Call) -> str:
    return "project.spend_limit" if "project_id" in call.params else "organization.spend_limit"


# Only the audit log of the tenant has events for limits, not that of the organization.
ROUTES = tuple(
    Route(method, path, handler, Access.ADMIN)
    for path in ("/organization/spend_limit", "/organization/projects/{project_id}/spend_limit")
    for method, handler in (("GET", retrieve), ("POST", update), ("DELETE", delete))
)
