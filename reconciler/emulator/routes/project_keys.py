"""Project keys: listed with redacted values, and revoked; a deleted key stops working at once."""

from __future__ import annotations

from typing import Any

from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import choice, fields, integer, listed, text

_UPDATE = fields({}, {"scopes": listed(text()), "expires_in_seconds": integer(minimum=1)})


def list_keys(call: Call) -> dict[str, Any]:
    project = call.path_project()
    wanted = call.query.get("owner_project_access")
    if wanted is not None:
        choice("active", "inactive", "any")(wanted, "owner_project_access")
    return call.list_answer(
        call.store.collection("api_key", project.id),
        page_of(call.query, order=None, before=False),
        render=lambda key: _render(call, key),
        keep=lambda key: wanted in (None, "any", _access(call, key)),
    )


def retrieve_key(call: Call) -> dict[str, Any]:
    return _render(call, _key(call))


def update_key(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    key = _key(call)
    sent = call.json(_UPDATE)
    if not sent:
        raise bad_request(
            "At least one of 'scopes' and 'expires_in_seconds' is required.", param="scopes"
        )
    if "scopes" in sent:
        key.hidden["scopes"] = sent["scopes"]
    if "expires_in_seconds" in sent:
        key.body["expires_at"] = call.now + sent["expires_in_seconds"]
    call.store.changed(key)
    changes = {"scopes": sent["scopes"]} if "scopes" in sent else {}
    log(call, "api_key.updated", key.id, project=project, changes_requested=changes)
    return _render(call, key)


def delete_key(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    key = _key(call)
    of_account = key.hidden["owner"]["type"] == "service_account"
    if of_account and not call.options.service_account_keys_deletable:
        raise bad_request(
            "A key of a service account cannot be deleted; delete the service account instead."
        )
    log(call, "api_key.deleted", key.id, project=project)
    return call.removed(key, "organization.project.api_key.deleted")


def _key(call: Call) -> ObjectRow:
    return call.path_record(
        "api_key", call.path_project().id, "api_key_id", "No API key found with id '{id}'."
    )


def _render(call: Call, key: ObjectRow) -> dict[str, Any]:
    used = {} if call.options.hide_last_used else {"last_used_at": key.hidden["last_used_at"]}
    return {
        **key.body,
        **used,
        "owner_project_access": _access(call, key),
        "owner": _owner(call, key),
    }


def _member(call: Call, key: ObjectRow) -> ObjectRow | None:
    owner = key.hidden["owner"]
    kind = "service_account" if owner["type"] == "service_account" else "project_user"
    return call.store.get(kind, key.scope, owner["id"])


def _access(call: Call, key: ObjectRow) -> str:
    member = _member(call, key)
    return "inactive" if member is None or member.body["role"] == "none" else "active"


def _owner(call: Call, key: ObjectRow) -> dict[str, Any]:
    owner = key.hidden["owner"]
    member = _member(call, key)
    if owner["type"] == "service_account":
        if member is None:
            return {"type": "service_account"}
        account = {name: member.body[name] for name in ("id", "name", "created_at", "role")}
        return {"type": "service_account", "service_account": account}
    user = call.store.get("user", ORGANIZATION, owner["id"])
    if user is None:
        return {"type": "user"}
    person = {
        "id": user.id,
        "email": user.body["email"],
        "name": user.body["name"],
        "created_at": user.body["created"],
        "role": user.body["role"] if member is None else member.body["role"],
    }
    return {"type": "user", "user": person}


_ALL = "/organization/projects/{project_id}/api_keys"
_ONE = f"{_ALL}/{{api_key_id}}"
ROUTES = (
    Route("GET", _ALL, list_keys, Access.ADMIN),
    Route("GET", _ONE, retrieve_key, Access.ADMIN),
    Route("POST", _ONE, update_key, Access.ADMIN),
    Route("DELETE", _ONE, delete_key, Access.ADMIN),
)
