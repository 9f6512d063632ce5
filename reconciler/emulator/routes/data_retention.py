"""Data retention: always set. The field is written under one name and read under another."""

from __future__ import annotations

from typing import Any

from reconciler.emulator.audit import log
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.validation import choice, fields

_OF_BOTH = (
    "zero_data_retention",
    "modified_abuse_monitoring",
    "enhanced_zero_data_retention",
    "enhanced_modified_abuse_monitoring",
)
_UNSET_FOR_ORGANIZATION = "modified_abuse_monitoring"
"""The published type is never null, so an organization without a control of its own shows the weakest."""
_SET = fields({"retention_type": choice(*_OF_BOTH)})
_SET_OF_PROJECT = fields({"retention_type": choice("organization_default", "none", *_OF_BOTH)})


def retrieve(call: Call) -> dict[str, Any]:
    found = call.store.get("data_retention", call.scope_id, "data_retention")
    unset = "organization_default" if _in_project(call) else _UNSET_FOR_ORGANIZATION
    return _shown(call, found.body["type"] if found else unset)


def update(call: Call) -> dict[str, Any]:
    project = call.scope_project(to_change=True)
    sent = call.json(_SET_OF_PROJECT if _in_project(call) else _SET)
    body = _shown(call, sent["retention_type"])
    call.store.add("data_retention", call.scope_id, body, id="data_retention")
    event = "project.updated" if _in_project(call) else "organization.updated"
    log(call, event, call.scope_id, project=project, changes_requested={})
    return body


def _shown(call: Call, type: str) -> dict[str, Any]:
    return {
        "object": f"{'project' if _in_project(call) else 'organization'}.data_retention",
        "type": type,
    }


def _in_project(call: Call) -> bool:
    return "project_id" in call.params


ROUTES = tuple(
    Route(method, path, handler, Access.ADMIN)
    for path in (
        "/organization/data_retention",
        "/organization/projects/{project_id}/data_retention",
    )
    for method, handler in (("GET", retrieve), ("POST", update))
)
