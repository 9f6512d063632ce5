"""Groups in projects. A group is added with a role, which no response shows."""

from __future__ import annotations

import re
from typing import Any

from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import page_of, token_envelope
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import choice, fields, text

_ADD = fields({"group_id": text(minimum=1), "role": text(minimum=1)})
_TYPE = choice("group", "tenant_group")
_ROLE = re.compile(
    r"role_\w+|role-api-project-(member|owner|viewer)(__api-project__(?P<project>\w+))?"
)


def list_groups(call: Call) -> dict[str, Any]:
    project = call.path_project()
    page = page_of(call.query, order="asc", before=False)
    found, more = call.page(call.store.collection("project_group", project.id), page)
    return token_envelope([group.body for group in found], found[-1].id if more else None)


def add_group(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    sent = call.json(_ADD)
    group = call.store.get("group", ORGANIZATION, sent["group_id"])
    if group is None:
        raise not_found(f"No group found with id '{sent['group_id']}'.", param="group_id")
    role = _ROLE.fullmatch(sent["role"])
    if role is None or role["project"] not in (None, project.id):
        raise bad_request(f"No project role found with id '{sent['role']}'.", param="role")
    if call.store.get("project_group", project.id, group.id) is not None:
        raise bad_request("Group already exists in project.", param="group_id")
    body = {
        "object": "project.group",
        "project_id": project.id,
        "group_id": group.id,
        "group_name": group.body["name"],
        "group_type": group.body.get("group_type", "group"),
        "created_at": call.now,
    }
    call.store.add("project_group", project.id, body, id=group.id, role=sent["role"])
    _log(call, "role.assignment.created", project, group.id)
    return body


def retrieve_group(call: Call) -> dict[str, Any]:
    wanted = call.query.get("group_type")
    if wanted is not None:
        _TYPE(wanted, "group_type")
    return _group(call).body


def remove_group(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    group = _group(call)
    call.store.remove(group)
    _log(call, "role.assignment.deleted", project, group.id)
    return {"object": "project.group.deleted", "deleted": True}


def _group(call: Call) -> ObjectRow:
    refusal = "No group found with id '{id}' in project '{project_id}'."
    return call.path_record("project_group", call.path_project().id, "group_id", refusal)


def _log(call: Call, event: str, project: ObjectRow, group_id: str) -> None:
    details = {
        "principal_id": group_id,
        "principal_type": "group",
        "resource_id": project.id,
        "resource_type": "api.project",
    }
    log(call, event, group_id, project=project, data=details)


_ALL = "/organization/projects/{project_id}/groups"
_ONE = f"{_ALL}/{{group_id}}"
ROUTES = (
    Route("GET", _ALL, list_groups, Access.ADMIN),
    Route("POST", _ALL, add_group, Access.ADMIN),
    Route("GET", _ONE, retrieve_group, Access.ADMIN),
    Route("DELETE", _ONE, remove_group, Access.ADMIN),
)
