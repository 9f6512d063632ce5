"""Assistants, as the API had them before their retirement; `retire_assistants` emulates that.

The server fills in many defaults: rankers of a file search, `strict` of a function, the empty file
list of a code interpreter. A reconciler must not mistake them for drift, so all of them are
emulated.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids, indexing
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.files import find_file
from reconciler.emulator.paging import page_of
from reconciler.emulator.routes.vector_stores import create_from
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import (
    anything,
    boolean,
    choice,
    fields,
    integer,
    listed,
    mapping,
    metadata,
    nullable,
    number,
    tagged,
    text,
    wrong_type,
)

BETA = "assistants=v2"
_IDENTIFIER = text(minimum=1, maximum=64, pattern="[a-zA-Z0-9_-]+")
_EFFORT = choice("none", "minimal", "low", "medium", "high", "xhigh", "max")

# --- tools

_FUNCTION = fields(
    {"name": _IDENTIFIER},
    {
        "description": nullable(text()),
        "parameters": nullable(mapping),
        "strict": nullable(boolean()),
    },
)
_RANKING = fields(
    {"score_threshold": number(0, 1)},
    {
        "ranker": choice("auto", "default_2024_08_21"),
        "hybrid_search": nullable(
            fields({"embedding_weight": number(0), "text_weight": number(0)})
        ),
    },
)
_FILE_SEARCH = fields(
    {}, {"max_num_results": integer(1, 50), "ranking_options": nullable(_RANKING)}
)
TOOL = tagged(
    {
        "code_interpreter": fields({"type": anything}),
        "file_search": fields({"type": anything}, {"file_search": nullable(_FILE_SEARCH)}),
        "function": fields({"type": anything, "function": _FUNCTION}),
    }
)

# --- tool resources

_INTERPRETER = fields({}, {"file_ids": listed(text(), maximum=20)})
_INLINE_STORE = fields(
    {},
    {
        "file_ids": listed(text(), maximum=10_000),
        "chunking_strategy": indexing.chunking,
        "metadata": nullable(metadata),
    },
)
_STORES = {"vector_store_ids": listed(text(), maximum=1)}
RESOURCES = fields({}, {"code_interpreter": _INTERPRETER, "file_search": fields({}, _STORES)})
RESOURCES_ON_CREATE = fields(
    {},
    {
        "code_interpreter": _INTERPRETER,
        "file_search": fields({}, {**_STORES, "vector_stores": listed(_INLINE_STORE, maximum=1)}),
    },
)

# --- the response format

_JSON_SCHEMA = fields(
    {"name": _IDENTIFIER},
    {"description": nullable(text()), "schema": nullable(mapping), "strict": nullable(boolean())},
)
_FORMAT = tagged(
    {
        "text": fields({"type": anything}),
        "json_object": fields({"type": anything}),
        "json_schema": fields({"type": anything, "json_schema": _JSON_SCHEMA}),
    }
)


def response_format(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return choice("auto")(value, place)
    if not isinstance(value, dict):
        raise wrong_type(value, place, "one of 'auto' or an object")
    return _FORMAT(value, place)


_MODEL = text(minimum=1)
_OPTIONAL = {
    "name": nullable(text(maximum=256)),
    "description": nullable(text(maximum=512)),
    "instructions": nullable(text(maximum=256_000)),
    "tools": listed(TOOL, maximum=128),
    "metadata": nullable(metadata),
    "temperature": nullable(number(0, 2)),
    "top_p": nullable(number(0, 1)),
    "response_format": nullable(response_format),
    "reasoning_effort": nullable(_EFFORT),
}
_CREATE = fields({"model": _MODEL}, {**_OPTIONAL, "tool_resources": nullable(RESOURCES_ON_CREATE)})
_MODIFY = fields({}, {**_OPTIONAL, "model": _MODEL, "tool_resources": nullable(RESOURCES)})

# The value of a field that was never sent, or cleared with null.
_DEFAULTS: dict[str, Any] = {"top_p": 1.0, "temperature": 1.0, "response_format": "auto"}


def list_assistants(call: Call) -> dict[str, Any]:
    assistants = call.store.collection("assistant", call.project_id)
    return call.list_answer(assistants, page_of(call.query), render=show_assistant)


def create_assistant(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    resources = tool_resources(call, {}, sent.get("tool_resources"))
    body: dict[str, Any] = {
        "id": ids.fresh("assistant"),
        "object": "assistant",
        "created_at": call.now,
        "name": None,
        "description": None,
        "model": sent["model"],
        "instructions": None,
        "tools": [],
        "top_p": None,
        "temperature": None,
        "reasoning_effort": None,
        "tool_resources": {},
        "metadata": {},
        "response_format": None,
    }
    return show_assistant(
        call.store.add("assistant", call.project_id, body | _kept(sent, resources))
    )


def retrieve_assistant(call: Call) -> dict[str, Any]:
    return show_assistant(find_assistant(call, call.params["assistant_id"]))


def modify_assistant(call: Call) -> dict[str, Any]:
    assistant = find_assistant(call, call.params["assistant_id"])
    sent = call.json(_MODIFY)
    resources = tool_resources(call, assistant.body["tool_resources"], sent.get("tool_resources"))
    assistant.body.update(_kept(sent, resources))
    call.store.changed(assistant)
    return show_assistant(assistant)


def delete_assistant(call: Call) -> dict[str, Any]:
    return call.removed(find_assistant(call, call.params["assistant_id"]), "assistant.deleted")


def find_assistant(call: Call, id: str) -> ObjectRow:
    assistant = call.store.get("assistant", call.project_id, id)
    if assistant is None:
        raise not_found(f"No assistant found with id '{id}'.")
    return assistant


def _kept(sent: dict[str, Any], resources: dict[str, Any]) -> dict[str, Any]:
    """Return the sent fields in their stored form."""
    kept = dict(sent)
    if "tools" in sent:
        kept["tools"] = [completed(tool) for tool in sent["tools"]]
    if "tool_resources" in sent:
        kept["tool_resources"] = resources
    if "metadata" in sent:
        kept["metadata"] = sent["metadata"] or {}
    return kept


def completed(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool with the defaults of the server."""
    if tool["type"] == "file_search":
        search = dict(tool.get("file_search") or {})
        ranking = search.pop("ranking_options", None) or {"score_threshold": 0.0}
        search["ranking_options"] = {
            "ranker": ranking.get("ranker", "default_2024_08_21"),
            "score_threshold": ranking["score_threshold"],
            "hybrid_search": ranking.get("hybrid_search"),
        }
        return {"type": "file_search", "file_search": search}
    if tool["type"] == "function":
        sent = tool["function"]
        function = {"name": sent["name"]}
        if sent.get("description") is not None:
            function["description"] = sent["description"]
        function["parameters"] = sent.get("parameters") or {"type": "object", "properties": {}}
        function["strict"] = bool(sent.get("strict"))
        return {"type": "function", "function": function}
    return tool


def tool_resources(call: Call, old: dict[str, Any], sent: dict[str, Any] | None) -> dict[str, Any]:
    """Return the new tool resources; tools that were not sent keep theirs, null clears all."""
    if sent is None:
        return {}
    for id in sent.get("code_interpreter", {}).get("file_ids", []):
        find_file(call.store, call.project_id, id, param="tool_resources.code_interpreter.file_ids")
    search = dict(sent.get("file_search", {}))
    for id in search.get("vector_store_ids", []):
        place = "tool_resources.file_search.vector_store_ids"
        indexing.find_store(call.store, call.project_id, id, param=place)
    inline = search.pop("vector_stores", None)
    if inline is not None:
        if "vector_store_ids" in search:
            raise bad_request(
                "Only one of 'vector_store_ids' and 'vector_stores' can be given.",
                param="tool_resources.file_search",
            )
        search["vector_store_ids"] = [create_from(call, store)[0].id for store in inline]
    return {**old, **sent, **({"file_search": search} if "file_search" in sent else {})}


def show_assistant(assistant: ObjectRow) -> dict[str, Any]:
    shown = dict(assistant.body)
    for name, default in _DEFAULTS.items():
        if shown[name] is None:
            shown[name] = default
    interprets = any(tool["type"] == "code_interpreter" for tool in shown["tools"])
    if interprets and "code_interpreter" not in shown["tool_resources"]:
        shown["tool_resources"] = {"code_interpreter": {"file_ids": []}, **shown["tool_resources"]}
    return shown


_ALL = "/assistants"
_ONE = "/assistants/{assistant_id}"
ROUTES = (
    Route("GET", _ALL, list_assistants, Access.PROJECT, beta=BETA),
    Route("POST", _ALL, create_assistant, Access.PROJECT, beta=BETA),
    Route("GET", _ONE, retrieve_assistant, Access.PROJECT, beta=BETA),
    Route("POST", _ONE, modify_assistant, Access.PROJECT, beta=BETA),
    Route("DELETE", _ONE, delete_assistant, Access.PROJECT, beta=BETA),
)
