"""File objects: creation by form or upload, lookup and deletion.

The routes for files, uploads, vector stores and assistants share these functions.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import ErrorAnswer, not_found
from reconciler.emulator.store import ObjectRow, Store

PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
MAXIMUM_BYTES = 512 * 1024 * 1024
_BATCH_LIFETIME = 30 * 86_400


def make_file(
    store: Store,
    project_id: str,
    *,
    filename: str,
    purpose: str,
    content: bytes,
    seconds: int | None = None,
) -> ObjectRow:
    """Add a file. By default, files for batches expire after thirty days."""
    if seconds is None and purpose == "batch":
        seconds = _BATCH_LIFETIME
    now = store.now()
    body: dict[str, Any] = {
        "object": "file",
        "id": ids.fresh("file"),
        "purpose": purpose,
        "filename": filename,
        "bytes": len(content),
        "created_at": now,
        "expires_at": None if seconds is None else now + seconds,
        "status": "processed",
        "status_details": None,
    }
    return store.add("file", project_id, body, content=content)


def find_file(store: Store, project_id: str, id: str, *, param: str = "id") -> ObjectRow:
    """Return a file of a project, or refuse; an expired file counts as absent."""
    file = store.get("file", project_id, id)
    if file is None or has_expired(store, file):
        raise no_such_file(id, param)
    return file


def has_expired(store: Store, file: ObjectRow) -> bool:
    expires_at = file.body["expires_at"]
    return expires_at is not None and expires_at <= store.now()


def no_such_file(id: str, param: str) -> ErrorAnswer:
    return not_found(f"No such File object: {id}", param=param)


def delete_file(store: Store, file: ObjectRow) -> None:
    """Delete a file, and detach it from every vector store that holds it."""
    for store_id in store.holders(file.id):
        attachment = store.get("vector_store_file", store_id, file.id)
        if attachment is not None:
            store.remove(attachment)
    store.remove(file)
