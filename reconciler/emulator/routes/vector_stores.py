"""Vector stores. Their files are in `vector_store_files.py`."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import indexing
from reconciler.emulator.files import find_file
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.search import FILTER, RANKING_OPTIONS, search
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import (
    boolean,
    choice,
    fields,
    integer,
    listed,
    metadata,
    nullable,
    text,
    wrong_type,
)

_EXPIRES_AFTER = fields({"anchor": choice("last_active_at"), "days": integer(1, 365)})
_CREATE = fields(
    {},
    {
        # The live API answers null here, so clients may send it back.
        "name": nullable(text()),
        "description": nullable(text()),
        "file_ids": listed(text(), maximum=500),
        "expires_after": nullable(_EXPIRES_AFTER),
        "chunking_strategy": indexing.chunking,
        "metadata": nullable(metadata),
    },
)
_MODIFY = fields(
    {},
    {
        "name": nullable(text()),
        "expires_after": nullable(_EXPIRES_AFTER),
        "metadata": nullable(metadata),
    },
)


def list_vector_stores(call: Call) -> dict[str, Any]:
    stores = call.store.collection("vector_store", call.project_id)
    return call.list_answer(
        stores, page_of(call.query), render=lambda s: indexing.show_store(call.store, s)
    )


def create_vector_store(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    return create_from(call, sent)[1]


def create_from(call: Call, sent: dict[str, Any]) -> tuple[ObjectRow, dict[str, Any]]:
    """Create a store and attach its first files; return it, and the response that shows indexing in progress."""
    for id in sent.get("file_ids", []):
        # Check that all files exist before creating anything.
        find_file(call.store, call.project_id, id, param="file_ids")
    vector_store = indexing.make_store(call.store, call.project_id, sent)
    attached = indexing.attach_all(call.store, call.options, vector_store, call.project_id, sent)
    before = min((a.hidden["ready_at"] for a in attached), default=0.0) - 1
    answer = indexing.show_store(call.store, vector_store, at=before if attached else None)
    return vector_store, answer


def retrieve_vector_store(call: Call) -> dict[str, Any]:
    return indexing.show_store(call.store, _store(call))


def modify_vector_store(call: Call) -> dict[str, Any]:
    vector_store = _store(call)
    sent = call.json(_MODIFY)
    indexing.refuse_expired(call.store, vector_store)
    if "metadata" in sent:
        sent["metadata"] = sent["metadata"] or {}
    vector_store.body.update(sent)
    indexing.touch(call.store, vector_store)
    return indexing.show_store(call.store, vector_store)


def delete_vector_store(call: Call) -> dict[str, Any]:
    vector_store = _store(call)
    for kind in ("vector_store_file", "file_batch"):
        for record in list(call.store.collection(kind, vector_store.id).ordered()):
            call.store.remove(record)
    return call.removed(vector_store, "vector_store.deleted")


def _query(value: Any, place: str) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array of strings")
    queries: list[str] = listed(text(minimum=1), minimum=1)(value, place)
    return queries


_SEARCH = fields(
    {"query": _query},
    {
        "rewrite_query": boolean(),
        "max_num_results": integer(1, 50),
        "filters": FILTER,
        "ranking_options": RANKING_OPTIONS,
    },
)


def search_vector_store(call: Call) -> dict[str, Any]:
    vector_store = _store(call)
    sent = call.json(_SEARCH)
    indexing.refuse_expired(call.store, vector_store)
    indexing.touch(call.store, vector_store)
    return search(call.store, vector_store, sent)


def _store(call: Call) -> ObjectRow:
    return indexing.find_store(call.store, call.project_id, call.params["vector_store_id"])


_ALL = "/vector_stores"
_ONE = "/vector_stores/{vector_store_id}"
ROUTES = (
    Route("GET", _ALL, list_vector_stores, Access.PROJECT),
    Route("POST", _ALL, create_vector_store, Access.PROJECT),
    Route("GET", _ONE, retrieve_vector_store, Access.PROJECT),
    Route("POST", _ONE, modify_vector_store, Access.PROJECT),
    Route("DELETE", _ONE, delete_vector_store, Access.PROJECT),
    Route("POST", f"{_ONE}/search", search_vector_store, Access.PROJECT),
)
