"""Admin keys: created, listed with redacted values, revoked; a deleted key stops working at once."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids, world
from reconciler.emulator.audit import log
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import fields, integer, text

_CREATE = fields(
    {"name": text(minimum=1)}, {"expires_in_seconds": integer(minimum=1, maximum=31_536_000)}
)


def list_keys(call: Call) -> dict[str, Any]:
    keys = call.store.collection("admin_key", ORGANIZATION)
    page = page_of(call.query, order="asc", before=False)
    return call.list_answer(keys, page, render=lambda key: _render(call, key))


def create_key(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    secret, lifetime = ids.secret_admin_key(), sent.get("expires_in_seconds")
    expires_at = None if lifetime is None else call.now + lifetime
    key = world.add_admin_key(call.store, secret, name=sent["name"], expires_at=expires_at)
    log(call, "api_key.created", key.id, data={"scopes": []})
    return {**_render(call, key), "value": secret}


def retrieve_key(call: Call) -> dict[str, Any]:
    return _render(call, _key(call))


def delete_key(call: Call) -> dict[str, Any]:
    key = _key(call)
    log(call, "api_key.deleted", key.id)
    return call.removed(key, "organization.admin_api_key.deleted")


def _render(call: Call, key: ObjectRow) -> dict[str, Any]:
    used = {} if call.options.hide_last_used else {"last_used_at": key.hidden["last_used_at"]}
    return {**key.body, **used}


def _key(call: Call) -> ObjectRow:
    return call.path_record(
        "admin_key", ORGANIZATION, "key_id", "No admin API key found with id '{id}'."
    )


_ALL = "/organization/admin_api_keys"
_ONE = f"{_ALL}/{{key_id}}"
ROUTES = (
    Route("GET", _ALL, list_keys, Access.ADMIN),
    Route("POST", _ALL, create_key, Access.ADMIN),
    Route("GET", _ONE, retrieve_key, Access.ADMIN),
    Route("DELETE", _ONE, delete_key, Access.ADMIN),
)
