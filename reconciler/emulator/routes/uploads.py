"""Uploads: a large file in parts. An upload expires after an hour, and only the responses of its own calls show it."""

from __future__ import annotations

import hashlib
from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import ErrorAnswer, bad_request
from reconciler.emulator.files import PURPOSES, make_file
from reconciler.emulator.routing import Access, Call, Route, Upload
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import choice, fields, integer, listed, text

_LIFETIME = 3600
_MAXIMUM_BYTES = 8 * 1024**3
_MAXIMUM_PART_BYTES = 64 * 1024**2
_EXPIRES_AFTER = fields({"anchor": choice("created_at"), "seconds": integer(3600, 2_592_000)})
_CREATE = fields(
    {
        "filename": text(minimum=1),
        "purpose": choice(*PURPOSES),
        "bytes": integer(1, _MAXIMUM_BYTES),
        "mime_type": text(minimum=1),
    },
    {"expires_after": _EXPIRES_AFTER},
)
_COMPLETE = fields({"part_ids": listed(text(), minimum=1)}, {"md5": text()})


def create_upload(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    body = {
        "id": ids.fresh("upload"),
        "object": "upload",
        "bytes": sent["bytes"],
        "created_at": call.now,
        "filename": sent["filename"],
        "purpose": sent["purpose"],
        "status": "pending",
        "expires_at": call.now + _LIFETIME,
    }
    seconds = sent.get("expires_after", {}).get("seconds")
    return call.store.add("upload", call.project_id, body, seconds=seconds).body


def add_part(call: Call) -> dict[str, Any]:
    upload = _pending(call)
    for name in call.form:
        if name != "data":
            raise bad_request(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    data = call.form.get("data")
    if data is None:
        raise bad_request(
            "Missing required parameter: 'data'.", param="data", code="missing_required_parameter"
        )
    content = data.content if isinstance(data, Upload) else data.encode()
    if len(content) > _MAXIMUM_PART_BYTES:
        raise ErrorAnswer(413, "A part must not be larger than 64 MB.", param="data")
    body = {
        "id": ids.fresh("part"),
        "object": "upload.part",
        "created_at": call.now,
        "upload_id": upload.id,
    }
    return call.store.add("upload_part", upload.id, body, content=content).body


def complete_upload(call: Call) -> dict[str, Any]:
    upload = _pending(call)
    sent = call.json(_COMPLETE)
    content = b"".join(_part(call, upload, id).hidden["content"] for id in sent["part_ids"])
    if len(content) != upload.body["bytes"]:
        raise bad_request(
            f"The parts have {len(content)} bytes in total, but the upload was created for {upload.body['bytes']}.",
            param="part_ids",
        )
    if (
        "md5" in sent
        and hashlib.md5(content, usedforsecurity=False).hexdigest() != sent["md5"].lower()
    ):
        raise bad_request("The md5 checksum does not match the uploaded content.", param="md5")
    file = make_file(
        call.store,
        call.project_id,
        filename=upload.body["filename"],
        purpose=upload.body["purpose"],
        content=content,
        seconds=upload.hidden["seconds"],
    )
    _finish(call, upload, "completed")
    # Only this response shows the file; an upload cannot be read afterwards.
    return {**upload.body, "file": file.body}


def cancel_upload(call: Call) -> dict[str, Any]:
    upload = _pending(call)
    _finish(call, upload, "cancelled")
    return upload.body


def _finish(call: Call, upload: ObjectRow, status: str) -> None:
    upload.body["status"] = status
    call.store.changed(upload)
    for part in list(call.store.collection("upload_part", upload.id).ordered()):
        call.store.remove(part)


def _pending(call: Call) -> ObjectRow:
    upload = call.path_record("upload", call.project_id, "upload_id", "No such Upload object: {id}")
    if upload.body["status"] == "pending" and upload.body["expires_at"] <= call.now:
        _finish(call, upload, "expired")
    if upload.body["status"] != "pending":
        raise bad_request(f"The upload is {upload.body['status']}, so it takes no more changes.")
    return upload


def _part(call: Call, upload: ObjectRow, id: str) -> ObjectRow:
    part = call.store.get("upload_part", upload.id, id)
    if part is None:
        raise bad_request(
            f"No part found with id '{id}' in upload '{upload.id}'.", param="part_ids"
        )
    return part


_ONE = "/uploads/{upload_id}"
ROUTES = (
    Route("POST", "/uploads", create_upload, Access.PROJECT),
    Route("POST", f"{_ONE}/parts", add_part, Access.PROJECT, takes_form=True),
    Route("POST", f"{_ONE}/complete", complete_upload, Access.PROJECT),
    Route("POST", f"{_ONE}/cancel", cancel_upload, Access.PROJECT),
)
