"""Vector stores and their files: attaching, indexing over time, counting, expiring.

Nothing runs in the background. An attachment stores when and how its indexing ends, so its status
depends on the clock alone. The counts of a store are computed from its attachments and cached until
one changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.files import find_file, has_expired
from reconciler.emulator.options import EmulatorOptions
from reconciler.emulator.store import ObjectRow, Store
from reconciler.emulator.validation import Check, fields, integer, tagged

UNINDEXABLE = "unindexable"
"""A file with this word in its name fails to be indexed, for rehearsals of failure."""

# fmt: off
EXTENSIONS = frozenset({
    ".c", ".cpp", ".cs", ".css", ".doc", ".docx", ".go", ".html", ".java", ".js", ".json", ".md", ".pdf", ".php",
    ".pptx", ".py", ".rb", ".sh", ".tex", ".ts", ".txt",
})
# fmt: on
"""What a vector store can read. Files with another extension are refused when they are attached; one without any fails
with `unsupported_file`."""
STATUSES = ("in_progress", "completed", "failed", "cancelled")
_DAY = 86_400
_AUTO = {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}

_static = fields({"max_chunk_size_tokens": integer(100, 4096), "chunk_overlap_tokens": integer(0)})


def _checked_static(value: Any, place: str) -> dict[str, Any]:
    sent: dict[str, Any] = _static(value, place)
    if sent["chunk_overlap_tokens"] * 2 > sent["max_chunk_size_tokens"]:
        raise bad_request(
            f"Invalid '{place}.chunk_overlap_tokens': must not exceed half of 'max_chunk_size_tokens'.",
            param=f"{place}.chunk_overlap_tokens",
            code="invalid_value",
        )
    return sent


_tag: Check = lambda value, _place: value  # noqa: E731 - `tagged` has checked it already
chunking: Check = tagged(
    {"auto": fields({"type": _tag}), "static": fields({"type": _tag, "static": _checked_static})}
)
"""The request form of a chunking strategy; `auto` reads back as the static one it stands for."""


# --- stores


def make_store(store: Store, project_id: str, sent: dict[str, Any]) -> ObjectRow:
    now = store.now()
    body: dict[str, Any] = {
        "id": ids.fresh("vector_store"),
        "object": "vector_store",
        "created_at": now,
        "name": sent.get("name"),
        "description": sent.get("description"),
        "expires_after": sent.get("expires_after"),
        "last_active_at": now,
        "metadata": sent.get("metadata") or {},
    }
    return store.add("vector_store", project_id, body)


def find_store(store: Store, project_id: str, id: str, *, param: str | None = None) -> ObjectRow:
    record = store.get("vector_store", project_id, id)
    if record is None:
        raise not_found(f"Vector store with id '{id}' not found.", param=param)
    return record


def expires_at(vector_store: ObjectRow) -> int | None:
    after = vector_store.body["expires_after"]
    return (
        None if after is None else int(vector_store.body["last_active_at"] + after["days"] * _DAY)
    )


def refuse_expired(store: Store, vector_store: ObjectRow) -> None:
    """Refuse to use an expired store; it can only be read and deleted."""
    end = expires_at(vector_store)
    if end is not None and end <= store.now():
        raise bad_request(
            f"Vector store '{vector_store.id}' has expired.", code="vector_store_expired"
        )


def touch(store: Store, vector_store: ObjectRow) -> None:
    """Record a use of the store, which extends its lifetime."""
    vector_store.body["last_active_at"] = store.now()
    store.changed(vector_store)


def show_store(store: Store, vector_store: ObjectRow, *, at: float | None = None) -> dict[str, Any]:
    """Return the store in its current state, as clients see it."""
    counts, usage = _counts(store, vector_store.id, store.clock() if at is None else at)
    body = vector_store.body
    end = expires_at(vector_store)
    status = "in_progress" if counts["in_progress"] else "completed"
    return {
        "id": body["id"],
        "object": body["object"],
        "created_at": body["created_at"],
        "name": body["name"],
        "description": body["description"],
        "usage_bytes": usage,
        "file_counts": counts,
        "status": "expired" if end is not None and end <= store.now() else status,
        "expires_after": body["expires_after"],
        "expires_at": end,
        "last_active_at": body["last_active_at"],
        "metadata": body["metadata"],
    }


def _counts(store: Store, store_id: str, now: float) -> tuple[dict[str, int], int]:
    cached = store.file_counts_cache.get(store_id)
    if cached is not None and cached[0]:
        return dict(cached[1]), cached[2]
    attachments = store.collection("vector_store_file", store_id).ordered()
    statuses = [status_of(attachment, now) for attachment in attachments]
    usage = sum(
        a.hidden["bytes"] for a, s in zip(attachments, statuses, strict=True) if s == "completed"
    )
    counts = tally(statuses)
    # Cache the counts only once no indexing is under way.
    settled = counts["in_progress"] == 0
    store.file_counts_cache[store_id] = (settled, counts, usage)
    return dict(counts), usage


def tally(statuses: list[str]) -> dict[str, int]:
    counts = {status: statuses.count(status) for status in STATUSES}
    return {**counts, "total": len(statuses)}


# --- attachments


def refuse_unread(files: Iterable[ObjectRow]) -> None:
    """Refuse to attach files with unsupported extensions; one such file refuses the whole call."""
    suffixes = {PurePosixPath(file.body["filename"]).suffix.lower() for file in files}
    unread = sorted(suffixes - EXTENSIONS - {""})
    if unread:
        raise bad_request(
            f"Files with extensions [{', '.join(unread)}] are not supported for retrieval"
        )


def attach(
    store: Store,
    options: EmulatorOptions,
    vector_store: ObjectRow,
    file: ObjectRow,
    *,
    attributes: dict[str, Any] | None = None,
    chunking_strategy: dict[str, Any] | None = None,
) -> ObjectRow:
    """Attach a file; attaching it again replaces the earlier attachment."""
    static = chunking_strategy is not None and chunking_strategy["type"] == "static"
    body = {
        "id": file.id,
        "object": "vector_store.file",
        "created_at": store.now(),
        "vector_store_id": vector_store.id,
        "chunking_strategy": chunking_strategy if static else _AUTO,
        "attributes": attributes or {},
    }
    old = store.get("vector_store_file", vector_store.id, file.id)
    if old is not None:
        store.remove(old)
    return store.add(
        "vector_store_file",
        vector_store.id,
        body,
        bytes=file.body["bytes"],
        error=_indexing_error(file),
        ready_at=store.clock() + options.index_delay_ms / 1000,
        cancelled=False,
    )


def attach_all(
    store: Store,
    options: EmulatorOptions,
    vector_store: ObjectRow,
    project_id: str,
    sent: dict[str, Any],
) -> list[ObjectRow]:
    """Attach the files in `file_ids`, after checking that all of them exist."""
    files = [find_file(store, project_id, id, param="file_ids") for id in sent.get("file_ids", [])]
    refuse_unread(files)
    return [
        attach(
            store,
            options,
            vector_store,
            file,
            attributes=sent.get("attributes"),
            chunking_strategy=sent.get("chunking_strategy"),
        )
        for file in {file.id: file for file in files}.values()
    ]


def _indexing_error(file: ObjectRow) -> dict[str, str] | None:
    name = file.body["filename"]
    if UNINDEXABLE in name:
        return {"code": "invalid_file", "message": "The file could not be parsed."}
    if PurePosixPath(name).suffix.lower() not in EXTENSIONS:
        return {"code": "unsupported_file", "message": "The file type is not supported."}
    if file.body["bytes"] == 0:
        return {"code": "invalid_file", "message": "The file is empty."}
    return None


def status_of(attachment: ObjectRow, now: float) -> str:
    return outcome(attachment.hidden, now)


def outcome(indexing: dict[str, Any], now: float) -> str:
    """Return the current state of an indexing."""
    if indexing["cancelled"]:
        return "cancelled"
    if now < indexing["ready_at"]:
        return "in_progress"
    return "completed" if indexing["error"] is None else "failed"


def show_attachment(attachment: ObjectRow, now: float) -> dict[str, Any]:
    """Return the attachment in its current state, as clients see it."""
    body = attachment.body
    status = status_of(attachment, now)
    return {
        "id": body["id"],
        "object": body["object"],
        "usage_bytes": attachment.hidden["bytes"] if status == "completed" else 0,
        "created_at": body["created_at"],
        "vector_store_id": body["vector_store_id"],
        "status": status,
        "last_error": attachment.hidden["error"] if status == "failed" else None,
        "chunking_strategy": body["chunking_strategy"],
        "attributes": body["attributes"],
    }


def content_of(
    store: Store, vector_store: ObjectRow, attachment: ObjectRow
) -> tuple[ObjectRow, str] | None:
    """Return the file of an attachment and its text, or None if it is gone or not indexed."""
    file = store.get("file", vector_store.scope, attachment.id)
    if (
        file is None
        or has_expired(store, file)
        or status_of(attachment, store.clock()) != "completed"
    ):
        return None
    return file, file.hidden["content"].decode("utf-8", errors="replace")
