"""Containers and their files. Containers cannot be modified; they expire when idle for too long."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import bad_request
from reconciler.emulator.files import find_file
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Reply, Route, Upload
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import choice, fields, integer, listed, tagged, text

_DOMAIN_SECRET = fields(
    {
        "domain": text(minimum=1),
        "name": text(minimum=1),
        "value": text(minimum=1, maximum=10_485_760),
    }
)
_NETWORK = tagged(
    {
        "disabled": fields({"type": choice("disabled")}),
        "allowlist": fields(
            {"type": choice("allowlist"), "allowed_domains": listed(text(), minimum=1)},
            {"domain_secrets": listed(_DOMAIN_SECRET, minimum=1)},
        ),
    }
)
_SOURCE = fields(
    {"type": choice("base64"), "media_type": choice("application/zip"), "data": text(minimum=1)}
)
_SKILL = tagged(
    {
        "skill_reference": fields(
            {"type": choice("skill_reference"), "skill_id": text(minimum=1, maximum=64)},
            {"version": text()},
        ),
        "inline": fields(
            {"type": choice("inline"), "name": text(), "description": text(), "source": _SOURCE}
        ),
    }
)
_CREATE = fields(
    {"name": text()},
    {
        "file_ids": listed(text()),
        "expires_after": fields(
            {"anchor": choice("last_active_at"), "minutes": integer(minimum=1)}
        ),
        "skills": listed(_SKILL),
        "memory_limit": choice("1g", "4g", "16g", "64g"),
        "network_policy": _NETWORK,
    },
)
_ADD_FILE = fields({"file_id": text()})


def list_containers(call: Call) -> dict[str, Any]:
    name = call.query.get("name")
    containers = call.store.collection("container", call.project_id)
    keep = lambda one: name in (None, one.body["name"])  # noqa: E731 - one line of a call
    return call.list_answer(
        containers, page_of(call.query, before=False), render=lambda c: _show(call, c), keep=keep
    )


def create_container(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    files = [
        find_file(call.store, call.project_id, id, param="file_ids")
        for id in sent.get("file_ids", [])
    ]
    network = sent.get("network_policy", {"type": "disabled"})
    body = {
        "id": ids.fresh("container"),
        "object": "container",
        "name": sent["name"],
        "created_at": call.now,
        "status": "running",
        "last_active_at": call.now,
        "expires_after": sent.get("expires_after", {"anchor": "last_active_at", "minutes": 20}),
        "memory_limit": sent.get("memory_limit", "1g"),
        "network_policy": {
            name: value for name, value in network.items() if name != "domain_secrets"
        },
    }
    container = call.store.add("container", call.project_id, body)
    for file in files:
        _put(call, container, file.body["filename"], file.hidden["content"])
    return body


def retrieve_container(call: Call) -> dict[str, Any]:
    return _show(call, _container(call))


def delete_container(call: Call) -> dict[str, Any]:
    container = _container(call)
    for file in list(call.store.collection("container_file", container.id).ordered()):
        call.store.remove(file)
    return call.removed(container, "container.deleted")


def list_files(call: Call) -> dict[str, Any]:
    container = _container(call)
    return call.list_answer(
        call.store.collection("container_file", container.id), page_of(call.query, before=False)
    )


def create_file(call: Call) -> dict[str, Any]:
    container = _container(call)
    if _show(call, container)["status"] == "expired":
        raise bad_request("Container is expired.", param="container_id")
    upload = call.form.get("file")
    if isinstance(upload, Upload):
        return _put(call, container, upload.filename, upload.content).body
    id = call.form.get("file_id") or call.json(_ADD_FILE)["file_id"]
    file = find_file(call.store, call.project_id, str(id), param="file_id")
    return _put(call, container, file.body["filename"], file.hidden["content"]).body


def retrieve_file(call: Call) -> dict[str, Any]:
    return _file(call).body


def read_file(call: Call) -> Reply:
    return Reply(_file(call).hidden["content"], "application/octet-stream")


def delete_file(call: Call) -> dict[str, Any]:
    return call.removed(_file(call), "container.file.deleted")


def _put(call: Call, container: ObjectRow, filename: str, content: bytes) -> ObjectRow:
    body = {
        "id": ids.fresh("container_file"),
        "object": "container.file",
        "container_id": container.id,
        "created_at": call.now,
        "bytes": len(content),
        "path": f"/mnt/data/{filename}",
        "source": "user",
    }
    container.body["last_active_at"] = call.now
    call.store.changed(container)
    return call.store.add("container_file", container.id, body, content=content)


def _show(call: Call, container: ObjectRow) -> dict[str, Any]:
    until = container.body["last_active_at"] + container.body["expires_after"]["minutes"] * 60
    return {
        **container.body,
        "status": "expired" if until <= call.now else container.body["status"],
    }


def _container(call: Call) -> ObjectRow:
    return call.path_record(
        "container", call.project_id, "container_id", "Container with id '{id}' not found."
    )


def _file(call: Call) -> ObjectRow:
    refusal = "File with id '{id}' not found in container '{container_id}'."
    return call.path_record("container_file", _container(call).id, "file_id", refusal)


_ALL = "/containers"
_ONE = f"{_ALL}/{{container_id}}"
_FILES = f"{_ONE}/files"
_FILE = f"{_FILES}/{{file_id}}"
ROUTES = (
    Route("GET", _ALL, list_containers, Access.PROJECT),
    Route("POST", _ALL, create_container, Access.PROJECT),
    Route("GET", _ONE, retrieve_container, Access.PROJECT),
    Route("DELETE", _ONE, delete_container, Access.PROJECT),
    Route("GET", _FILES, list_files, Access.PROJECT),
    Route("POST", _FILES, create_file, Access.PROJECT, takes_form=True),
    Route("GET", _FILE, retrieve_file, Access.PROJECT),
    Route("GET", f"{_FILE}/content", read_file, Access.PROJECT),
    Route("DELETE", _FILE, delete_file, Access.PROJECT),
)
