"""Customer-managed buckets in four clouds, each for one project: registered and removed, never changed."""

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


def _of(type: str, names: str) -> Check:
    return fields({"type": choice(type), **dict.fromkeys(names.split(), _SOME)})


_PROVIDER = tagged(
    {
        "aws": _of("aws", "bucket role_arn"),
        "azure": _of("azure", "account_name container resource_group subscription_id tenant_id"),
        "gcp": _of(
            "gcp",
            "bucket workload_identity_pool_id workload_identity_project_number workload_identity_provider_id",
        ),
        "oci": _of("oci", "bucket region tenancy_ocid"),
    }
)
_CREATE = fields({"project_id": _SOME, "provider": _PROVIDER})
_FOUND_OUT: dict[str, dict[str, str]] = {
    "aws": {"account_id": "111122223333", "external_id": "openai-emulator", "region": "us-east-1"},
    "azure": {"region": "eastus"},
    "gcp": {"audience": "//iam.googleapis.com/emulator", "region": "us-central1"},
    "oci": {},
}
"""What the server adds to a provider."""


def list_storage(call: Call) -> dict[str, Any]:
    project = call.query.get("project_id")
    return call.list_answer(
        call.store.collection("external_storage", ORGANIZATION),
        page_of(call.query, order="desc", before=False),
        keep=lambda storage: project in (None, storage.body["project_id"]),
    )


def register_storage(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    project = call.store.get("project", ORGANIZATION, sent["project_id"])
    if project is None or project.body["status"] != "active":
        raise bad_request(
            f"No active project found with id '{sent['project_id']}'.", param="project_id"
        )
    body = {
        "object": "organization.external_storage",
        "id": ids.fresh("external_storage"),
        "created_at": call.now,
        "project_id": project.id,
        "provider": {**sent["provider"], **_FOUND_OUT[sent["provider"]["type"]]},
        "geography": "US",
        "status": "pending",
    }
    storage = call.store.add("external_storage", ORGANIZATION, body)
    log(call, "external_storage.registered", storage.id, project=project)
    return body


def retrieve_storage(call: Call) -> dict[str, Any]:
    return _storage(call).body


def remove_storage(call: Call) -> dict[str, Any]:
    storage = _storage(call)
    project = call.store.get("project", ORGANIZATION, storage.body["project_id"])
    log(call, "external_storage.removed", storage.id, project=project)
    return call.removed(storage, "organization.external_storage.deleted")


def validate_storage(call: Call) -> dict[str, Any]:
    storage = _storage(call)
    storage.body["status"] = "validated"
    call.store.changed(storage)
    return storage.body


def _storage(call: Call) -> ObjectRow:
    refusal = "No external storage found with id '{id}'."
    return call.path_record("external_storage", ORGANIZATION, "external_storage_id", refusal)


_ALL = "/organization/external_storage"
_ONE = f"{_ALL}/{{external_storage_id}}"
ROUTES = (
    Route("GET", _ALL, list_storage, Access.ADMIN),
    Route("POST", _ALL, register_storage, Access.ADMIN),
    Route("GET", _ONE, retrieve_storage, Access.ADMIN),
    Route("DELETE", _ONE, remove_storage, Access.ADMIN),
    Route("POST", f"{_ONE}/validate", validate_storage, Access.ADMIN),
)
