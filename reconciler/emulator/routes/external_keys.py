"""Customer-managed encryption keys, in four clouds. They can be registered and removed, but not changed."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import Check, choice, fields, tagged, text

_SOME = text(minimum=1)
_PURPOSE = choice("ekm", "psp_decryption")


def _of(type: str, required: str, optional: str = "") -> Check:
    names = dict.fromkeys(("name", *required.split()), _SOME)
    return fields(
        {"type": choice(type), **names},
        {"purpose": _PURPOSE, **dict.fromkeys(optional.split(), _SOME)},
    )


_CREATE = tagged(
    {
        "aws": _of("aws", "external_id kms_arn role_arn"),
        "gcp": _of(
            "gcp",
            "audience kms_key_location kms_key_name kms_key_ring_name kms_project_id workload_identity_pool_id "
            "workload_identity_project_number workload_identity_provider_id",
            "kms_key_version",
        ),
        "azure": _of("azure", "key_name tenant_id vault_uri", "key_version"),
        "oci": _of("oci", "key_ocid region vault_ocid", "key_version_ocid"),
    }
)


def list_keys(call: Call) -> dict[str, Any]:
    purpose = call.query.get("purpose")
    if purpose is not None:
        _PURPOSE(purpose, "purpose")
    return call.list_answer(
        call.store.collection("external_key", ORGANIZATION),
        page_of(call.query, order="desc", before=False),
        render=lambda key: _render(call, key),
        keep=lambda key: purpose in (None, key.body["purpose"]),
    )


def register_key(call: Call) -> dict[str, Any]:
    body = {
        "object": "organization.external_key",
        "id": ids.fresh("external_key"),
        "created_at": call.now,
        "workspace_id": ORGANIZATION,
        "purpose": "ekm",
        **call.json(_CREATE),
    }
    key = call.store.add("external_key", ORGANIZATION, body)
    log(call, "external_key.registered", key.id, data={})
    return _render(call, key)


def retrieve_key(call: Call) -> dict[str, Any]:
    return _render(call, _key(call))


def remove_key(call: Call) -> dict[str, Any]:
    key = _key(call)
    if _users(call, key):
        raise bad_request(
            "The key is used by a project and cannot be removed.", param="external_key_id"
        )
    log(call, "external_key.removed", key.id)
    shown = _render(call, key)
    call.store.remove(key)
    return shown


def validate_key(call: Call) -> dict[str, Any]:
    _key(call)
    return {"status": "valid"}


def _render(call: Call, key: ObjectRow) -> dict[str, Any]:
    return {**key.body, "api_project_ids": _users(call, key)}


def _users(call: Call, key: ObjectRow) -> list[str]:
    projects = call.store.collection("project", ORGANIZATION).ordered()
    active = [project for project in projects if project.body["status"] == "active"]
    return [project.id for project in active if project.body["external_key_id"] == key.id]


def _key(call: Call) -> ObjectRow:
    return call.path_record(
        "external_key", ORGANIZATION, "external_key_id", "No external key found with id '{id}'."
    )


_ALL = "/organization/external_keys"
_ONE = f"{_ALL}/{{external_key_id}}"
ROUTES = (
    Route("GET", _ALL, list_keys, Access.ADMIN),
    Route("POST", _ALL, register_key, Access.ADMIN),
    Route("GET", _ONE, retrieve_key, Access.ADMIN),
    Route("DELETE", _ONE, remove_key, Access.ADMIN),
    Route("POST", f"{_ONE}/validate", validate_key, Access.ADMIN),
)
