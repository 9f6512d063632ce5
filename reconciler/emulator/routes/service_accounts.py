"""Service accounts: the machine identities of a project, and their keys.

Only the response that creates a key shows its value. Names of accounts are not unique.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids, world
from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import boolean, choice, fields, integer, listed, nullable, text

_NAME = text(minimum=1)
_LIFETIME = integer(minimum=1)
_CREATE = fields(
    {"name": _NAME},
    {"create_service_account_only": nullable(boolean()), "expires_in_seconds": nullable(_LIFETIME)},
)
_UPDATE = fields({}, {"name": _NAME, "role": choice("member", "owner")})
_CREATE_KEY = fields(
    {}, {"name": text(), "scopes": listed(text()), "expires_in_seconds": nullable(_LIFETIME)}
)
_DEFAULT_KEY_NAME = "Secret Key"


def list_service_accounts(call: Call) -> dict[str, Any]:
    project = call.path_project()
    accounts = call.store.collection("service_account", project.id)
    return call.list_answer(accounts, page_of(call.query, order=None, before=False))


def create_service_account(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    sent = call.json(_CREATE)
    bare = bool(sent.get("create_service_account_only"))
    lifetime = sent.get("expires_in_seconds")
    if bare and lifetime is not None:
        raise bad_request(
            "'expires_in_seconds' cannot be used together with 'create_service_account_only'.",
            param="expires_in_seconds",
        )
    account = world.add_service_account(
        call.store, project, sent["name"], "none" if bare else "member"
    )
    log(
        call,
        "service_account.created",
        account.id,
        project=project,
        data={"role": account.body["role"]},
    )
    key = (
        None
        if bare
        else _make_key(call, project, account, name=_DEFAULT_KEY_NAME, lifetime=lifetime)
    )
    return {**account.body, "api_key": key}


def retrieve_service_account(call: Call) -> dict[str, Any]:
    return _account(call).body


def update_service_account(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    account = _account(call)
    sent = call.json(_UPDATE)
    account.body.update(sent)
    call.store.changed(account)
    changes = {"role": sent["role"]} if "role" in sent else {}
    log(call, "service_account.updated", account.id, project=project, changes_requested=changes)
    return account.body


def delete_service_account(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    account = _account(call)
    for key in list(call.store.collection("api_key", project.id).ordered()):
        if key.hidden["owner"]["id"] == account.id:
            call.store.remove(key)
    log(call, "service_account.deleted", account.id, project=project)
    return call.removed(account, "organization.project.service_account.deleted")


def create_key(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    account = _account(call)
    sent = call.json(_CREATE_KEY)
    return _make_key(
        call,
        project,
        account,
        name=sent.get("name", _DEFAULT_KEY_NAME),
        lifetime=sent.get("expires_in_seconds"),
        scopes=sent.get("scopes"),
    )


def _make_key(
    call: Call,
    project: ObjectRow,
    account: ObjectRow,
    *,
    name: str,
    lifetime: int | None,
    scopes: list[str] | None = None,
) -> dict[str, Any]:
    secret = ids.secret_key()
    key = world.add_key(
        call.store,
        project,
        secret,
        name=name,
        owner={"type": "service_account", "id": account.id},
        expires_at=None if lifetime is None else call.now + lifetime,
        scopes=scopes,
    )
    log(call, "api_key.created", key.id, project=project, data={"scopes": scopes or []})
    return {
        "object": "organization.project.service_account.api_key",
        "value": secret,
        "name": name,
        "created_at": key.body["created_at"],
        "expires_at": key.body["expires_at"],
        "id": key.id,
    }


def _account(call: Call) -> ObjectRow:
    refusal = "No service account found with id '{id}'."
    return call.path_record(
        "service_account", call.path_project().id, "service_account_id", refusal
    )


_ALL = "/organization/projects/{project_id}/service_accounts"
_ONE = f"{_ALL}/{{service_account_id}}"
ROUTES = (
    Route("GET", _ALL, list_service_accounts, Access.ADMIN),
    Route("POST", _ALL, create_service_account, Access.ADMIN),
    Route("GET", _ONE, retrieve_service_account, Access.ADMIN),
    Route("POST", _ONE, update_service_account, Access.ADMIN),
    Route("DELETE", _ONE, delete_service_account, Access.ADMIN),
    Route("POST", f"{_ONE}/api_keys", create_key, Access.ADMIN),
)
