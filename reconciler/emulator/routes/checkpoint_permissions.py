"""Permissions of projects to use a checkpoint of a fine-tuned model.

A checkpoint is identified by its model name. Nothing is trained here, so every well-formed name
exists.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import envelope, page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, Collection, ObjectRow
from reconciler.emulator.validation import fields, invalid_value, listed, text

_CREATE = fields({"project_ids": listed(text(), minimum=1)})
_ORDERS = {"ascending": False, "descending": True}


def list_permissions(call: Call) -> dict[str, Any]:
    permissions, project_id = _permissions(call), call.query.get("project_id")
    page = page_of(call.query, default=10, maximum=None, order=None, before=False)
    order = call.query.get("order") or "descending"
    if order not in _ORDERS:
        raise invalid_value(order, "order", tuple(_ORDERS))
    keep = lambda one: project_id in (None, one.body["project_id"])  # noqa: E731 - one line of a call
    return call.list_answer(permissions, replace(page, descending=_ORDERS[order]), keep=keep)


def create_permissions(call: Call) -> dict[str, Any]:
    """Grant all, or none if one project does not exist; existing permissions are kept."""
    known = {row.body["project_id"]: row for row in _permissions(call).ordered()}
    projects = [_project(call, id) for id in dict.fromkeys(call.json(_CREATE)["project_ids"])]
    granted = [known.get(project.id) or _permitted(call, project) for project in projects]
    return envelope([permission.body for permission in granted], more=False)


def delete_permission(call: Call) -> dict[str, Any]:
    id = call.params["permission_id"]
    permission = _permissions(call).get(id)
    if permission is None:
        raise not_found(f"No permission found with id '{id}'.", param="permission_id")
    log(call, "checkpoint.permission.deleted", id)
    return call.removed(permission, "checkpoint.permission")


def _permitted(call: Call, project: ObjectRow) -> ObjectRow:
    checkpoint = call.params["fine_tuned_model_checkpoint"]
    body: dict[str, Any] = {
        "object": "checkpoint.permission",
        "id": ids.fresh("checkpoint_permission"),
        "created_at": call.now,
        "project_id": project.id,
    }
    data = {"project_id": project.id, "fine_tuned_model_checkpoint": checkpoint}
    log(call, "checkpoint.permission.created", body["id"], data=data)
    return call.store.add("checkpoint_permission", checkpoint, body)


def _permissions(call: Call) -> Collection:
    checkpoint = call.params["fine_tuned_model_checkpoint"]
    if not checkpoint.startswith("ft:"):
        raise not_found(f"No fine-tuned model checkpoint found with id '{checkpoint}'.")
    return call.store.collection("checkpoint_permission", checkpoint)


def _project(call: Call, id: str) -> ObjectRow:
    project = call.store.get("project", ORGANIZATION, id)
    if project is None:
        raise not_found(f"No project found with id '{id}'.", param="project_ids")
    if project.body["status"] == "archived":
        raise bad_request(f"Project '{id}' is archived.", param="project_ids")
    return project


_ALL = "/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions"
ROUTES = (
    Route("GET", _ALL, list_permissions, Access.ADMIN),
    Route("POST", _ALL, create_permissions, Access.ADMIN),
    Route("DELETE", f"{_ALL}/{{permission_id}}", delete_permission, Access.ADMIN),
)
