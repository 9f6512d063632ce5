"""Search in vector stores without vectors: files score by the query words they contain.

That is enough to check that a store holds the expected files.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from reconciler.emulator import indexing
from reconciler.emulator.store import ObjectRow, Store
from reconciler.emulator.validation import choice, fields, listed, number, tagged, text, wrong_type

_SHOWN_CHARACTERS = 3200
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda have, wanted: have in wanted,
    "nin": lambda have, wanted: have not in wanted,
}

RANKING_OPTIONS = fields(
    {}, {"ranker": choice("none", "auto", "default-2024-11-15"), "score_threshold": number(0, 1)}
)


def _value(value: Any, place: str) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return value
    raise wrong_type(value, place, "one of a string, a number, a boolean, or an array of them")


def _nested(value: Any, place: str) -> dict[str, Any]:
    result: dict[str, Any] = FILTER(value, place)
    return result


_COMPARISON = fields({"type": text(), "key": text(), "value": _value})
_COMPOUND = fields({"type": text(), "filters": listed(_nested)})
FILTER = tagged({**dict.fromkeys(_COMPARISONS, _COMPARISON), "and": _COMPOUND, "or": _COMPOUND})


def search(store: Store, vector_store: ObjectRow, sent: dict[str, Any]) -> dict[str, Any]:
    """Return the page of results for a checked body."""
    words = set(re.findall(r"\w+", " ".join(sent["query"]).lower()))
    threshold = sent.get("ranking_options", {}).get("score_threshold", 0.0)
    results = [
        result
        for attachment in store.collection("vector_store_file", vector_store.id).ordered()
        if _passes(sent.get("filters"), attachment.body["attributes"])
        and (result := _result(store, vector_store, attachment, words)) is not None
        and result["score"] > 0
        and result["score"] >= threshold
    ]
    results.sort(key=lambda result: -result["score"])
    limit = sent.get("max_num_results", 10)
    return {
        "object": "vector_store.search_results.page",
        "search_query": sent["query"],
        "data": results[:limit],
        "has_more": len(results) > limit,
        "next_page": None,
    }


def _result(
    store: Store, vector_store: ObjectRow, attachment: ObjectRow, words: set[str]
) -> dict[str, Any] | None:
    found = indexing.content_of(store, vector_store, attachment)
    if found is None:
        return None
    file, content = found
    present = words & set(re.findall(r"\w+", content.lower()))
    return {
        "file_id": file.id,
        "filename": file.body["filename"],
        "score": round(len(present) / len(words), 4) if words else 0.0,
        "attributes": attachment.body["attributes"],
        "content": [{"type": "text", "text": content[:_SHOWN_CHARACTERS]}],
    }


def _passes(condition: dict[str, Any] | None, attributes: dict[str, Any]) -> bool:
    if condition is None:
        return True
    if condition["type"] in ("and", "or"):
        combine = all if condition["type"] == "and" else any
        return combine(_passes(inner, attributes) for inner in condition["filters"])
    if condition["key"] not in attributes:
        return condition["type"] in ("ne", "nin")
    try:
        return _COMPARISONS[condition["type"]](attributes[condition["key"]], condition["value"])
    except TypeError:  # a number and a string: neither is greater
        return False
