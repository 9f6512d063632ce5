"""The files of a vector store: attached singly or in batches, annotated with attributes, detached.

Detaching removes the link and keeps the file. Indexing takes time, so the response to an attach
always says `in_progress`, and only a later read shows the result.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids, indexing
from reconciler.emulator.errors import bad_request
from reconciler.emulator.files import find_file
from reconciler.emulator.paging import Listing, Page, envelope, page_of
from reconciler.emulator.query import Query
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import attributes, choice, fields, listed, nullable, text

_OPTIONAL = {"attributes": nullable(attributes), "chunking_strategy": indexing.chunking}
_ATTACH = fields({"file_id": text()}, _OPTIONAL)
_MODIFY = fields({"attributes": nullable(attributes)})
_BATCH = fields(
    {},
    {
        "file_ids": listed(text(), minimum=1, maximum=2000),
        "files": listed(_ATTACH, minimum=1, maximum=2000),
        **_OPTIONAL,
    },
)


def list_attached(call: Call) -> dict[str, Any]:
    vector_store = _store(call)
    status = _status_filter(call.query)
    now = call.store.clock()
    return call.list_answer(
        call.store.collection("vector_store_file", vector_store.id),
        page_of(call.query),
        render=lambda attachment: indexing.show_attachment(attachment, now),
        keep=lambda attachment: status in (None, indexing.status_of(attachment, now)),
    )


def attach_file(call: Call) -> dict[str, Any]:
    vector_store = _store(call)
    sent = call.json(_ATTACH)
    indexing.refuse_expired(call.store, vector_store)
    indexing.refuse_unread(
        [find_file(call.store, call.project_id, sent["file_id"], param="file_id")]
    )
    attachment = _attach(call, vector_store, sent)
    indexing.touch(call.store, vector_store)
    return indexing.show_attachment(attachment, attachment.hidden["ready_at"] - 1)


def retrieve_attached(call: Call) -> dict[str, Any]:
    attachment = _attachment(call)
    return indexing.show_attachment(attachment, call.store.clock())


def modify_attributes(call: Call) -> dict[str, Any]:
    vector_store, attachment = _store(call), _attachment(call)
    sent = call.json(_MODIFY)
    indexing.refuse_expired(call.store, vector_store)
    attachment.body["attributes"] = sent["attributes"] or {}
    call.store.changed(attachment)
    return indexing.show_attachment(attachment, call.store.clock())


def detach_file(call: Call) -> dict[str, Any]:
    return call.removed(_attachment(call), "vector_store.file.deleted")


def attached_content(call: Call) -> dict[str, Any]:
    vector_store, attachment = _store(call), _attachment(call)
    found = indexing.content_of(call.store, vector_store, attachment)
    if found is None:
        raise bad_request(
            f"File '{attachment.id}' has no content in vector store '{vector_store.id}'."
        )
    return {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": found[1]}],
        "has_more": False,
        "next_page": None,
    }


# --- batches


def create_batch(call: Call) -> dict[str, Any]:
    vector_store = _store(call)
    sent = call.json(_BATCH)
    if ("file_ids" in sent) == ("files" in sent):
        raise bad_request("Exactly one of 'file_ids' and 'files' is required.", param="file_ids")
    indexing.refuse_expired(call.store, vector_store)
    items = sent.get("files") or [{**sent, "file_id": id} for id in sent["file_ids"]]
    indexing.refuse_unread(
        [
            find_file(call.store, call.project_id, item["file_id"], param="file_ids")
            for item in items
        ]
    )
    attached = {item["file_id"]: _attach(call, vector_store, item) for item in items}
    body = {
        "id": ids.fresh("file_batch"),
        "object": "vector_store.file_batch",
        "created_at": call.now,
        "vector_store_id": vector_store.id,
    }
    # A batch keeps the results of its files, even of those detached since.
    files = {
        id: {name: attachment.hidden[name] for name in ("ready_at", "error", "cancelled")}
        for id, attachment in attached.items()
    }
    batch = call.store.add("file_batch", vector_store.id, body, files=files)
    indexing.touch(call.store, vector_store)
    return _show_batch(batch, min(file["ready_at"] for file in files.values()) - 1)


def retrieve_batch(call: Call) -> dict[str, Any]:
    return _show_batch(_batch(call), call.store.clock())


def cancel_batch(call: Call) -> dict[str, Any]:
    batch, now = _batch(call), call.store.clock()
    if _show_batch(batch, now)["status"] != "in_progress":
        raise bad_request(f"Batch '{batch.id}' is not in progress, so it cannot be cancelled.")
    batch.hidden["cancelled"] = True
    for id, file in batch.hidden["files"].items():
        if indexing.outcome(file, now) == "in_progress":
            file["cancelled"] = True
            attachment = call.store.get("vector_store_file", batch.scope, id)
            if attachment is not None:
                attachment.hidden["cancelled"] = True
                call.store.changed(attachment)
    call.store.changed(batch)
    return _show_batch(batch, now)


def list_batch_files(call: Call) -> dict[str, Any]:
    batch, now = _batch(call), call.store.clock()
    collection = call.store.collection("vector_store_file", batch.scope)
    attached = [a for id in batch.hidden["files"] if (a := collection.get(id)) is not None]
    attached.sort(key=lambda attachment: attachment.seq)
    positions = {attachment.id: index for index, attachment in enumerate(attached)}
    status, page = _status_filter(call.query), page_of(call.query)
    found, more = _cut(attached, positions, page, status, now)
    return envelope([indexing.show_attachment(attachment, now) for attachment in found], more)


def _cut(
    attached: list[ObjectRow], positions: dict[str, int], page: Page, status: str | None, now: float
) -> tuple[list[ObjectRow], bool]:
    return Listing(attached, positions.get).cut(
        page, lambda attachment: status in (None, indexing.status_of(attachment, now))
    )


def _show_batch(batch: ObjectRow, now: float) -> dict[str, Any]:
    statuses = [indexing.outcome(file, now) for file in batch.hidden["files"].values()]
    counts = indexing.tally(statuses)
    status = "in_progress" if counts["in_progress"] else "completed"
    return {
        "id": batch.id,
        "object": batch.body["object"],
        "created_at": batch.body["created_at"],
        "status": "cancelled" if batch.hidden.get("cancelled") else status,
        "vector_store_id": batch.scope,
        "file_counts": counts,
    }


# --- helpers


def _store(call: Call) -> ObjectRow:
    return indexing.find_store(call.store, call.project_id, call.params["vector_store_id"])


def _attachment(call: Call) -> ObjectRow:
    refusal = "No file found with id '{id}' in vector store '{vector_store_id}'."
    return call.path_record(
        "vector_store_file", _store(call).id, "file_id", refusal, with_param=False
    )


def _batch(call: Call) -> ObjectRow:
    refusal = "No file batch found with id '{id}' in vector store '{vector_store_id}'."
    return call.path_record("file_batch", _store(call).id, "batch_id", refusal, with_param=False)


def _attach(call: Call, vector_store: ObjectRow, item: dict[str, Any]) -> ObjectRow:
    return indexing.attach(
        call.store,
        call.options,
        vector_store,
        find_file(call.store, call.project_id, item["file_id"], param="file_id"),
        attributes=item.get("attributes"),
        chunking_strategy=item.get("chunking_strategy"),
    )


def _status_filter(query: Query) -> str | None:
    wanted = query.get("filter")
    if wanted is not None:
        choice(*indexing.STATUSES)(wanted, "filter")
    return wanted


_FILES = "/vector_stores/{vector_store_id}/files"
_FILE = f"{_FILES}/{{file_id}}"
_BATCHES = "/vector_stores/{vector_store_id}/file_batches"
_ONE_BATCH = f"{_BATCHES}/{{batch_id}}"
ROUTES = (
    Route("GET", _FILES, list_attached, Access.PROJECT),
    Route("POST", _FILES, attach_file, Access.PROJECT),
    Route("GET", _FILE, retrieve_attached, Access.PROJECT),
    Route("POST", _FILE, modify_attributes, Access.PROJECT),
    Route("DELETE", _FILE, detach_file, Access.PROJECT),
    Route("GET", f"{_FILE}/content", attached_content, Access.PROJECT),
    Route("POST", _BATCHES, create_batch, Access.PROJECT),
    Route("GET", _ONE_BATCH, retrieve_batch, Access.PROJECT),
    Route("POST", f"{_ONE_BATCH}/cancel", cancel_batch, Access.PROJECT),
    Route("GET", f"{_ONE_BATCH}/files", list_batch_files, Access.PROJECT),
)
