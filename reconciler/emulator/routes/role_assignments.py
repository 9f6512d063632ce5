"""Which users and groups have which roles, in the organization and in projects.

Users also have the roles of their groups. Such inherited roles are listed with their source, and
cannot be removed from the user. Responses show the long id of a role, whichever form was sent.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import Listing, page_of, token_envelope
from reconciler.emulator.routes.roles import role_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store
from reconciler.emulator.validation import fields, text

_ASSIGN = fields({"role_id": text(minimum=1)})


def list_assignments(call: Call) -> dict[str, Any]:
    page = page_of(call.query, default=1000, maximum=1000, order="asc", before=False)
    granted = list(_granted(call).values())
    positions = {grant["id"]: index for index, grant in enumerate(granted)}
    found, more = Listing(granted, positions.get).cut(page)
    return token_envelope(found, found[-1]["id"] if more else None)


def assign(call: Call) -> dict[str, Any]:
    project, principal = call.scope_project(to_change=True), _principal(call)
    role = role_of(call, call.json(_ASSIGN)["role_id"])
    scope = _scope(call, principal)
    if call.store.get("role_assignment", scope, role.id) is not None:
        raise bad_request(
            f"The role is already assigned to this {principal.kind}.", param="role_id"
        )
    call.store.add("role_assignment", scope, {"id": role.id, "created_at": call.now})
    _log(call, "role.assignment.created", principal, role, project)
    shown = principal.body if principal.kind == "user" else _shown_group(principal)
    return {"object": f"{principal.kind}.role", principal.kind: shown, "role": role.body}


def retrieve_assignment(call: Call) -> dict[str, Any]:
    return _grant(call)


def unassign(call: Call) -> dict[str, Any]:
    project, principal = call.scope_project(to_change=True), _principal(call)
    role = role_of(call, _grant(call)["id"])
    grant = call.store.get("role_assignment", _scope(call, principal), role.id)
    if grant is None:
        raise bad_request(
            "The role is inherited from a group and cannot be removed here.", param="role_id"
        )
    call.store.remove(grant)
    _log(call, "role.assignment.deleted", principal, role, project)
    return {"object": f"{principal.kind}.role.deleted", "deleted": True}


def forget_principal(store: Store, id: str) -> None:
    """Remove all roles of a deleted user or group."""
    for grant in list(store.all("role_assignment")):
        if grant.scope.endswith(f"/{id}"):
            store.remove(grant)


def _granted(call: Call) -> dict[str, dict[str, Any]]:
    """All roles of the principal in the scope by id, with their source; its own come first."""
    principal = _principal(call)
    roles = {grant.id: _details(call, grant, [principal]) for grant in _own(call, principal)}
    for group in _groups_of(call.store, principal):
        for grant in _own(call, group):
            if grant.id in roles:
                roles[grant.id]["assignment_sources"].append(_source(group))
            else:
                roles[grant.id] = _details(call, grant, [group])
    return roles


def _own(call: Call, principal: ObjectRow) -> list[ObjectRow]:
    grants = call.store.collection("role_assignment", _scope(call, principal)).ordered()
    return [grant for grant in grants if call.is_listed(grant)]


def _groups_of(store: Store, principal: ObjectRow) -> list[ObjectRow]:
    if principal.kind == "group":
        return []
    groups = store.collection("group", ORGANIZATION).ordered()
    return [
        group for group in groups if store.get("group_user", group.id, principal.id) is not None
    ]


def _details(call: Call, grant: ObjectRow, sources: list[ObjectRow]) -> dict[str, Any]:
    role = dict(role_of(call, grant.id).body)
    role.pop("object")
    return {
        **role,
        "created_at": grant.body["created_at"],
        "updated_at": None,
        "created_by": None,
        "created_by_user_obj": None,
        "metadata": {},
        "assignment_sources": [_source(source) for source in sources],
    }


def _source(principal: ObjectRow) -> dict[str, str]:
    return {"principal_id": principal.id, "principal_type": principal.kind}


def _grant(call: Call) -> dict[str, Any]:
    id = role_of(call, call.params["role_id"]).id
    grant = _granted(call).get(id)
    if grant is None:
        raise not_found(f"The role '{id}' is not assigned here.", param="role_id")
    return grant


def _principal(call: Call) -> ObjectRow:
    kind = "user" if "user_id" in call.params else "group"
    return call.path_record(kind, ORGANIZATION, f"{kind}_id", f"No {kind} found with id '{{id}}'.")


def _scope(call: Call, principal: ObjectRow) -> str:
    return f"{call.scope_id}/{principal.id}"


def _shown_group(group: ObjectRow) -> dict[str, Any]:
    named = {name: group.body[name] for name in ("id", "name", "created_at")}
    return {"object": "group", **named, "scim_managed": group.body["is_scim_managed"]}


def _log(
    call: Call, event: str, principal: ObjectRow, role: ObjectRow, project: ObjectRow | None
) -> None:
    where = {"resource_id": call.scope_id, "resource_type": role.body["resource_type"]}
    who = {"principal_id": principal.id, "principal_type": principal.kind}
    log(call, event, f"{principal.id}/{role.id}", project=project, **who, **where)


ROUTES = tuple(
    Route(method, path, handler, Access.ADMIN)
    for base in (
        "/organization/users/{user_id}/roles",
        "/organization/groups/{group_id}/roles",
        "/projects/{project_id}/users/{user_id}/roles",
        "/projects/{project_id}/groups/{group_id}/roles",
    )
    for method, path, handler in (
        ("GET", base, list_assignments),
        ("POST", base, assign),
        ("GET", f"{base}/{{role_id}}", retrieve_assignment),
        ("DELETE", f"{base}/{{role_id}}", unassign),
    )
)
