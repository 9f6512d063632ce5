"""Groups of users and their members. Their lists use the continuation token `next`."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import page_of, token_envelope
from reconciler.emulator.routes.role_assignments import forget_principal
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import fields, text

_NAME = fields({"name": text(minimum=1, maximum=255)})
_ADD = fields({"user_id": text(minimum=1)})


def list_groups(call: Call) -> dict[str, Any]:
    page = page_of(call.query, default=100, maximum=1000, order="asc", before=False)
    found, more = call.page(call.store.collection("group", ORGANIZATION), page)
    return token_envelope([group.body for group in found], found[-1].id if more else None)


def create_group(call: Call) -> dict[str, Any]:
    sent = call.json(_NAME)
    body = {
        "id": ids.fresh("group"),
        "name": sent["name"],
        "created_at": call.now,
        "is_scim_managed": False,
        "group_type": "group",
    }
    group = call.store.add("group", ORGANIZATION, body)
    log(call, "group.created", group.id, data={"group_name": sent["name"]})
    return group.body


def retrieve_group(call: Call) -> dict[str, Any]:
    return _group(call).body


def update_group(call: Call) -> dict[str, Any]:
    group = _group(call, to_change=True)
    sent = call.json(_NAME)
    group.body.update(sent)
    call.store.changed(group)
    log(call, "group.updated", group.id, changes_requested={"group_name": sent["name"]})
    return {name: value for name, value in group.body.items() if name != "group_type"}


def delete_group(call: Call) -> dict[str, Any]:
    group = _group(call, to_change=True)
    for member in list(call.store.collection("group_user", group.id).ordered()):
        call.store.remove(member)
    forget_principal(call.store, group.id)
    for place in call.store.all("project_group"):
        if place.id == group.id:
            call.store.remove(place)
    log(call, "group.deleted", group.id)
    return call.removed(group, "group.deleted")


def list_members(call: Call) -> dict[str, Any]:
    page = page_of(call.query, default=100, maximum=1000, order="desc", before=False)
    found, more = call.page(call.store.collection("group_user", _group(call).id), page)
    return token_envelope(
        [_shown(call, member) for member in found], found[-1].id if more else None
    )


def add_member(call: Call) -> dict[str, Any]:
    group = _group(call, to_change=True)
    id = call.json(_ADD)["user_id"]
    if call.store.get("user", ORGANIZATION, id) is None:
        raise not_found(f"No user found with id '{id}'.", param="user_id")
    if call.store.get("group_user", group.id, id) is not None:
        raise bad_request("User already exists in group.", param="user_id")
    call.store.add("group_user", group.id, {"id": id})
    log(call, "group.updated", group.id, changes_requested={"added_user": id})
    return {"object": "group.user", "user_id": id, "group_id": group.id}


def retrieve_member(call: Call) -> dict[str, Any]:
    member = _member(call)
    user = _shown(call, member)
    return {**user, "picture": None, "is_service_account": False, "user_type": "user"}


def remove_member(call: Call) -> dict[str, Any]:
    group = _group(call, to_change=True)
    member = _member(call)
    call.store.remove(member)
    log(call, "group.updated", group.id, changes_requested={"removed_user": member.id})
    return {"object": "group.user.deleted", "deleted": True}


def _group(call: Call, *, to_change: bool = False) -> ObjectRow:
    group = call.path_record("group", ORGANIZATION, "group_id", "No group found with id '{id}'.")
    if to_change and group.body["is_scim_managed"]:
        raise bad_request(
            "The group is managed through SCIM and cannot be changed here.", param="group_id"
        )
    return group


def _member(call: Call) -> ObjectRow:
    refusal = "No user found with id '{id}' in group '{group_id}'."
    return call.path_record("group_user", _group(call).id, "user_id", refusal)


def _shown(call: Call, member: ObjectRow) -> dict[str, Any]:
    user = call.store.get("user", ORGANIZATION, member.id)
    known = {} if user is None else user.body
    return {"id": member.id, "name": known.get("name", ""), "email": known.get("email")}


_ALL = "/organization/groups"
_ONE = f"{_ALL}/{{group_id}}"
_MEMBERS = f"{_ONE}/users"
_MEMBER = f"{_MEMBERS}/{{user_id}}"
ROUTES = (
    Route("GET", _ALL, list_groups, Access.ADMIN),
    Route("POST", _ALL, create_group, Access.ADMIN),
    Route("GET", _ONE, retrieve_group, Access.ADMIN),
    Route("POST", _ONE, update_group, Access.ADMIN),
    Route("DELETE", _ONE, delete_group, Access.ADMIN),
    Route("GET", _MEMBERS, list_members, Access.ADMIN),
    Route("POST", _MEMBERS, add_member, Access.ADMIN),
    Route("GET", _MEMBER, retrieve_member, Access.ADMIN),
    Route("DELETE", _MEMBER, remove_member, Access.ADMIN),
)
