"""Roles of the organization and of projects. Predefined roles always exist and never change."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import page_of, token_envelope
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import Collection, ObjectRow
from reconciler.emulator.validation import fields, listed, nullable, text

_NAME = text(minimum=1)
_PERMISSIONS = listed(text(minimum=1))
_DESCRIPTION = {"description": nullable(text())}
_CREATE = fields({"role_name": _NAME, "permissions": _PERMISSIONS}, _DESCRIPTION)
_UPDATE = fields(
    {}, {"role_name": nullable(_NAME), "permissions": nullable(_PERMISSIONS), **_DESCRIPTION}
)

_PREDEFINED = {"organization": ("owner", "reader"), "project": ("member", "owner", "viewer")}


def list_roles(call: Call) -> dict[str, Any]:
    page = page_of(call.query, default=1000, maximum=1000, order="asc", before=False)
    found, more = call.page(roles_of(call), page)
    return token_envelope([role.body for role in found], found[-1].id if more else None)


def create_role(call: Call) -> dict[str, Any]:
    project = call.scope_project(to_change=True)
    sent = call.json(_CREATE)
    _refuse_taken_name(call, sent["role_name"])
    body = _body(call, ids.fresh("role"), sent["role_name"], sent["permissions"], predefined=False)
    role = call.store.add("role", call.scope_id, {**body, "description": sent.get("description")})
    shown = {
        "role_name": body["name"],
        "permissions": body["permissions"],
        "resource_type": body["resource_type"],
    }
    log(call, "role.created", role.id, project=project, **shown, resource_id=call.scope_id)
    return role.body


def retrieve_role(call: Call) -> dict[str, Any]:
    return role_of(call, call.params["role_id"]).body


def update_role(call: Call) -> dict[str, Any]:
    project = call.scope_project(to_change=True)
    role = _custom(call)
    sent = call.json(_UPDATE)
    name, permissions = sent.get("role_name"), sent.get("permissions")
    if name is not None:
        _refuse_taken_name(call, name, but=role)
        role.body["name"] = name
    if permissions is not None:
        role.body["permissions"] = permissions
    if "description" in sent:
        role.body["description"] = sent["description"]
    call.store.changed(role)
    changes = {"role_name": name} if name is not None else {}
    log(call, "role.updated", role.id, project=project, changes_requested=changes)
    return role.body


def delete_role(call: Call) -> dict[str, Any]:
    project = call.scope_project(to_change=True)
    role = _custom(call)
    if any(grant.id == role.id for grant in call.store.all("role_assignment")):
        raise bad_request(
            "The role is assigned to somebody and cannot be deleted.", param="role_id"
        )
    log(call, "role.deleted", role.id, project=project)
    return call.removed(role, "role.deleted")


def roles_of(call: Call) -> Collection:
    """All roles of the scope; predefined ones are added on first access."""
    scope, place = call.scope_id, "project" if "project_id" in call.params else "organization"
    known = call.store.collection("role", scope)
    if not any(role.body["predefined_role"] for role in known.ordered()):
        for name in _PREDEFINED[place]:
            body = _body(call, _long_id(place, name, scope), name, [], predefined=True)
            call.store.add("role", scope, {**body, "description": None})
    return call.store.collection("role", scope)


def role_of(call: Call, id: str) -> ObjectRow:
    """A role of the scope by its id; ids of predefined roles may omit the scope at the end."""
    known = roles_of(call)
    longer = (one for one in known.ordered() if one.id.startswith(f"{id}__"))
    role = known.get(id) or next(longer, None)
    if role is None:
        raise not_found(f"No role found with id '{id}'.", param="role_id")
    return role


def _long_id(place: str, name: str, scope: str) -> str:
    return f"role-api-{place}-{name}__api-{place}__{scope}"


def _body(
    call: Call, id: str, name: str, permissions: list[str], *, predefined: bool
) -> dict[str, Any]:
    return {
        "object": "role",
        "id": id,
        "name": name,
        "permissions": permissions,
        "resource_type": "api.project" if "project_id" in call.params else "api.organization",
        "predefined_role": predefined,
    }


def _custom(call: Call) -> ObjectRow:
    role = role_of(call, call.params["role_id"])
    if role.body["predefined_role"]:
        raise bad_request("A predefined role cannot be changed or deleted.", param="role_id")
    return role


def _refuse_taken_name(call: Call, name: str, *, but: ObjectRow | None = None) -> None:
    if any(role.body["name"] == name and role is not but for role in roles_of(call).ordered()):
        raise bad_request(f"A role with the name '{name}' already exists.", param="role_name")


ROUTES = tuple(
    Route(method, path, handler, Access.ADMIN)
    for base in ("/organization/roles", "/projects/{project_id}/roles")
    for method, path, handler in (
        ("GET", base, list_roles),
        ("POST", base, create_role),
        ("GET", f"{base}/{{role_id}}", retrieve_role),
        ("POST", f"{base}/{{role_id}}", update_role),
        ("DELETE", f"{base}/{{role_id}}", delete_role),
    )
)
