"""Files: bytes with a purpose. They cannot be modified, and those for assistants cannot be read back."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from reconciler.emulator.errors import ErrorAnswer, bad_request
from reconciler.emulator.files import (
    MAXIMUM_BYTES,
    PURPOSES,
    delete_file,
    find_file,
    has_expired,
    make_file,
)
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Form, Reply, Route, Upload

_ANCHOR = "expires_after[anchor]"
_SECONDS = "expires_after[seconds]"
_FIELDS = ("file", "purpose", _ANCHOR, _SECONDS)


def list_files(call: Call) -> dict[str, Any]:
    purpose = call.query.get("purpose")
    answer = call.list_answer(
        call.store.collection("file", call.project_id),
        page_of(call.query, default=10_000, maximum=10_000, before=False),
        keep=lambda f: purpose in (None, f.body["purpose"]) and not has_expired(call.store, f),
    )
    # The only list whose envelope has its keys in this order.
    return {name: answer[name] for name in ("object", "data", "has_more", "first_id", "last_id")}


def create_file(call: Call) -> dict[str, Any]:
    form = call.form
    for name in form:
        if name not in _FIELDS:
            raise _schema_error(
                f"Additional properties are not allowed ('{name}' was unexpected)", name
            )
    upload = _required(form, "file")
    if not isinstance(upload, Upload):
        raise _schema_error(
            "Expected file to be of type 'file', got 'str' instead - 'file'", "file"
        )
    purpose = _required(form, "purpose")
    if purpose not in PURPOSES:
        raise _schema_error(f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'", "purpose")
    if not upload.content:
        raise ErrorAnswer(400, "File is empty.", param="file")
    if len(upload.content) > MAXIMUM_BYTES:
        raise ErrorAnswer(413, "The file is larger than 512 MB.", param="file")
    file = make_file(
        call.store,
        call.project_id,
        filename=upload.filename,
        purpose=str(purpose),
        content=upload.content,
        seconds=_lifetime(form),
    )
    return file.body


def retrieve_file(call: Call) -> dict[str, Any]:
    return find_file(call.store, call.project_id, call.params["file_id"]).body


def remove_file(call: Call) -> dict[str, Any]:
    file = find_file(call.store, call.project_id, call.params["file_id"])
    delete_file(call.store, file)
    return {"object": "file", "deleted": True, "id": file.id}


def download_file(call: Call) -> Reply:
    file = find_file(call.store, call.project_id, call.params["file_id"])
    if file.body["purpose"] == "assistants":
        raise bad_request("Not allowed to download files of purpose: assistants")
    name = file.body["filename"]
    plain = name.isascii() and name.isprintable() and '"' not in name and "\\" not in name
    shown = f'filename="{name}"' if plain else f"filename*=UTF-8''{quote(name)}"
    return Reply(
        file.hidden["content"],
        "application/octet-stream",
        {"content-disposition": f"attachment; {shown}"},
    )


def _required(form: Form, name: str) -> str | Upload:
    if name not in form:
        raise _schema_error(f"'{name}' is a required property", name)
    return form[name]


def _lifetime(form: Form) -> int | None:
    """Parse the two form fields that set after how many seconds a file expires."""
    if _ANCHOR not in form and _SECONDS not in form:
        return None
    anchor, seconds = _required(form, _ANCHOR), _required(form, _SECONDS)
    if anchor != "created_at":
        raise _schema_error(f"'{anchor}' is not one of ['created_at'] - '{_ANCHOR}'", _ANCHOR)
    if not isinstance(seconds, str) or not seconds.isascii() or not seconds.isdigit():
        raise _schema_error(f"'{seconds}' is not of type 'integer' - '{_SECONDS}'", _SECONDS)
    if not 3600 <= int(seconds) <= 2_592_000:
        raise _schema_error(f"{seconds} is not between 3600 and 2592000 - '{_SECONDS}'", _SECONDS)
    return int(seconds)


def _schema_error(message: str, param: str) -> ErrorAnswer:
    return bad_request(message, param=param)


_ONE = "/files/{file_id}"
ROUTES = (
    Route("GET", "/files", list_files, Access.PROJECT, repeats_detail=True),
    Route("POST", "/files", create_file, Access.PROJECT, takes_form=True, repeats_detail=True),
    Route("GET", _ONE, retrieve_file, Access.PROJECT, repeats_detail=True),
    Route("DELETE", _ONE, remove_file, Access.PROJECT, repeats_detail=True),
    Route("GET", f"{_ONE}/content", download_file, Access.PROJECT, repeats_detail=True),
)
