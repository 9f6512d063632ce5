"""Responses: they echo the user's last message, or the best match of a file search.

A background response advances each time it is read: queued, in progress, completed. Stored
responses can be read and deleted; this leaves the items of conversations alone.
"""

from __future__ import annotations

import json
from typing import Any

from reconciler.emulator import ids, indexing
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import Listing, envelope, page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.search import RANKING_OPTIONS, search
from reconciler.emulator.speaking import answer_to, example_of, no_stream, shortened, tokens, usable
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

_ROLES = ("user", "assistant", "system", "developer")
_PASSAGE = 600


def _content(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array of content parts")
    return listed(_PART)(value, place)


def _part(**required: Any) -> Any:
    return fields(
        {"type": anything, **required},
        {"annotations": anything, "logprobs": anything, "detail": anything},
    )


_PART = tagged(
    {
        "input_text": _part(text=text()),
        "output_text": _part(text=text()),
        "refusal": _part(refusal=text()),
        "input_image": fields(
            {"type": anything},
            {"image_url": nullable(text()), "file_id": nullable(text()), "detail": anything},
        ),
        "input_file": mapping,
    }
)
_MESSAGE = fields(
    {"role": choice(*_ROLES), "content": _content},
    {"type": choice("message"), "id": text(), "status": anything, "phase": anything},
)


def _item(value: Any, place: str) -> dict[str, Any]:
    sent = mapping(value, place)
    if sent.get("type", "message") == "message":
        result: dict[str, Any] = _MESSAGE(sent, place)
        return result
    fields({"type": text(minimum=1)})({"type": sent["type"]}, place)
    return sent


def _input(value: Any, place: str) -> list[dict[str, Any]]:
    """The items; a string is a message of the user."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array of input items")
    return [_item(item, f"{place}[{index}]") for index, item in enumerate(value)]


_FUNCTION = fields(
    {"type": anything, "name": text(pattern=r"[a-zA-Z0-9_-]{1,64}")},
    {
        "description": nullable(text()),
        "parameters": nullable(mapping),
        "strict": nullable(boolean()),
        "defer_loading": anything,
        "output_schema": anything,
        "allowed_callers": anything,
    },
)
_FILE_SEARCH = fields(
    {"type": anything, "vector_store_ids": listed(text(), minimum=1)},
    {
        "max_num_results": integer(1, 50),
        "filters": nullable(mapping),
        "ranking_options": RANKING_OPTIONS,
    },
)


def _tool(value: Any, place: str) -> Any:
    sent = mapping(value, place)
    shape = {"function": _FUNCTION, "file_search": _FILE_SEARCH}.get(str(sent.get("type")))
    return (
        shape(sent, place)
        if shape
        else fields({"type": text(minimum=1)})({"type": sent.get("type")}, place) | sent
    )


def _tool_choice(value: Any, place: str) -> Any:
    return (
        mapping(value, place)
        if isinstance(value, dict)
        else choice("none", "auto", "required")(value, place)
    )


_FORMAT = tagged(
    {
        "text": fields({"type": anything}),
        "json_object": fields({"type": anything}),
        "json_schema": fields(
            {"type": anything, "name": text(pattern=r"[a-zA-Z0-9_-]{1,64}"), "schema": mapping},
            {"description": text(), "strict": nullable(boolean())},
        ),
    }
)
_TEXT = fields({}, {"format": _FORMAT, "verbosity": nullable(choice("low", "medium", "high"))})
_REASONING = fields(
    {},
    {
        "effort": nullable(choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
        "summary": nullable(choice("auto", "concise", "detailed")),
        "generate_summary": anything,
        "mode": anything,
        "context": anything,
    },
)
_ASKED = {
    "model": nullable(text()),
    "input": nullable(_input),
    "previous_response_id": nullable(text()),
    "instructions": nullable(text()),
}
_COUNTED = {
    **_ASKED,
    "tools": nullable(listed(_tool)),
    "tool_choice": nullable(_tool_choice),
    "text": nullable(_TEXT),
    "reasoning": nullable(_REASONING),
    "truncation": nullable(choice("auto", "disabled")),
    "conversation": anything,
    "parallel_tool_calls": nullable(boolean()),
}
_CREATE = fields(
    {},
    {
        **_COUNTED,
        "background": nullable(boolean()),
        "context_management": anything,
        "include": nullable(listed(text())),
        "max_output_tokens": nullable(integer(minimum=16)),
        "max_tool_calls": nullable(integer(minimum=1)),
        "metadata": nullable(metadata),
        "moderation": nullable(mapping),
        "prompt": nullable(mapping),
        "prompt_cache_key": nullable(text()),
        "prompt_cache_options": nullable(mapping),
        "prompt_cache_retention": nullable(choice("in_memory", "in-memory", "24h")),
        "safety_identifier": nullable(text(maximum=64)),
        "service_tier": nullable(choice("auto", "default", "fast", "flex", "priority", "scale")),
        "store": nullable(boolean()),
        "stream": nullable(boolean()),
        "stream_options": nullable(mapping),
        "temperature": nullable(number(0, 2)),
        "top_logprobs": nullable(integer(0, 20)),
        "top_p": nullable(number(0, 1)),
        "user": text(),
    },
)
_COUNT = fields({}, {**_COUNTED, "personality": text()})
_COMPACT = fields(
    {"model": nullable(text())},
    {
        **{name: shape for name, shape in _ASKED.items() if name != "model"},
        "prompt_cache_key": nullable(text(maximum=64)),
        "prompt_cache_retention": nullable(choice("in_memory", "24h")),
        "prompt_cache_options": nullable(mapping),
        "service_tier": nullable(choice("auto", "default", "fast", "flex", "priority")),
    },
)

# --- the routes


def create_response(call: Call) -> dict[str, Any]:
    sent = no_stream(call.json(_CREATE))
    if not sent.get("model"):
        raise bad_request(
            "Missing required parameter: 'model'.", param="model", code="missing_required_parameter"
        )
    usable(call, sent["model"], "chat")
    if sent.get("conversation") is not None:
        raise bad_request(
            "The emulator puts no responses into conversations.", param="conversation"
        )
    stored, background = sent.get("store") is not False, bool(sent.get("background"))
    if background and not stored:
        raise bad_request("Background mode requires 'store' to be true.", param="background")
    items = _items(call, sent)
    outcome = _outcome(call, sent, items)
    body = {
        **_shown(sent),
        "id": ids.fresh("response"),
        "created_at": call.now,
        "background": background,
    }
    if not background:
        body |= {**outcome, "completed_at": call.now}
    if stored:
        call.store.add("response", call.project_id, body, items=items, outcome=outcome)
    return body


def retrieve_response(call: Call) -> dict[str, Any]:
    response = _response(call)
    status = response.body["status"]
    if status == "queued":
        response.body["status"] = "in_progress"
        call.store.changed(response)
    elif status == "in_progress":
        response.body.update(response.hidden["outcome"], completed_at=call.now)
        call.store.changed(response)
    return response.body


def delete_response(call: Call) -> dict[str, Any]:
    return call.removed(_response(call), "response")


def cancel_response(call: Call) -> dict[str, Any]:
    response = _response(call)
    if not response.body["background"]:
        raise bad_request("Cannot cancel a synchronous response.")
    if response.body["status"] in ("queued", "in_progress"):
        response.body["status"] = "cancelled"
        call.store.changed(response)
    return response.body


def list_input_items(call: Call) -> dict[str, Any]:
    items = [_as_item(item) for item in _response(call).hidden["items"]]
    places = {item["id"]: at for at, item in enumerate(items)}
    return envelope(*Listing(items, places.get).cut(page_of(call.query, before=False)))


def count_input_tokens(call: Call) -> dict[str, Any]:
    sent = call.json(_COUNT)
    if sent.get("model"):
        usable(call, sent["model"], "chat")
    texts = [
        sent.get("instructions") or "",
        *map(_text_of, _items(call, sent)),
        json.dumps(sent.get("tools") or "")[1:-1],
    ]
    return {"object": "response.input_tokens", "input_tokens": tokens(*texts)}


def compact_conversation(call: Call) -> dict[str, Any]:
    sent = call.json(_COMPACT)
    usable(call, sent["model"] or "", "chat")
    items = _items(call, sent)
    kept = [_as_item(item) for item in items if item.get("role") == "user"]
    summary = {
        "id": ids.fresh("compaction"),
        "type": "compaction",
        "encrypted_content": f"{len(items)} items",
    }
    return {
        "id": ids.fresh("response"),
        "object": "response.compaction",
        "created_at": call.now,
        "output": [*kept, summary],
        "usage": _usage(tokens(*map(_text_of, items)), 1),
    }


# --- response bodies


def _items(call: Call, sent: dict[str, Any]) -> list[dict[str, Any]]:
    """All items: of previous responses, and of this request."""
    before = sent.get("previous_response_id")
    earlier: list[dict[str, Any]] = []
    if before is not None:
        response = call.store.get("response", call.project_id, before)
        if response is None:
            raise bad_request(
                f"Previous response with id '{before}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        earlier = [*response.hidden["items"], *response.body["output"]]
    items = [*earlier, *(sent.get("input") or [])]
    return [{"id": ids.fresh("message"), **item} for item in items]


def _shown(sent: dict[str, Any]) -> dict[str, Any]:
    """A new response with the sent fields and the defaults of the others."""
    return {
        "object": "response",
        "status": "queued",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": sent.get("instructions"),
        "max_output_tokens": sent.get("max_output_tokens"),
        "metadata": sent.get("metadata") or {},
        "model": sent["model"],
        "output": [],
        "parallel_tool_calls": sent.get("parallel_tool_calls") is not False,
        "previous_response_id": sent.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None, **(sent.get("reasoning") or {})},
        "service_tier": "default",
        "temperature": _or(sent.get("temperature"), 1.0),
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(sent.get("text") or {})},
        "tool_choice": sent.get("tool_choice") or "auto",
        "tools": [_completed(tool) for tool in sent.get("tools") or []],
        "top_p": _or(sent.get("top_p"), 1.0),
        "truncation": sent.get("truncation") or "disabled",
        "usage": None,
        "store": sent.get("store") is not False,
    }


def _completed(tool: dict[str, Any]) -> dict[str, Any]:
    if tool["type"] == "function":
        return {"description": None, "parameters": None, "strict": True, **tool}
    return tool


def _outcome(call: Call, sent: dict[str, Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    """Output, usage and status of a completed response."""
    said = next((_text_of(item) for item in reversed(items) if item.get("role") == "user"), "")
    function = _called(sent)
    output: list[dict[str, Any]] = []
    is_cut = False
    if function is not None:
        arguments = json.dumps(example_of(function.get("parameters") or {"type": "object"}))
        head = {"id": ids.fresh("function_call"), "type": "function_call", "status": "completed"}
        output.append(
            {
                **head,
                "call_id": ids.fresh("tool_call"),
                "name": function["name"],
                "arguments": arguments,
            }
        )
    else:
        shape = (sent.get("text") or {}).get("format") or {"type": "text"}
        found, passage = _searched(call, sent, said)
        words = passage or answer_to(said, shape.get("schema"), as_json=shape["type"] != "text")
        words, is_cut = shortened(words, sent.get("max_output_tokens"))
        output += [*found, _said(words, "incomplete" if is_cut else "completed")]
    written = tokens(*(_text_of(item) for item in output)) or 1
    return {
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": output,
        "usage": _usage(tokens(sent.get("instructions") or "", *map(_text_of, items)), written),
    }


def _searched(call: Call, sent: dict[str, Any], said: str) -> tuple[list[dict[str, Any]], str]:
    """The file search calls, and their best match."""
    calls, best = [], (0.0, "")
    for tool in sent.get("tools") or [] if sent.get("tool_choice") != "none" else []:
        if tool["type"] != "file_search":
            continue
        for id in tool["vector_store_ids"]:
            store = indexing.find_store(call.store, call.project_id, id)
            for result in search(
                call.store, store, {"query": [said], "filters": tool.get("filters")}
            )["data"]:
                if result["score"] > best[0]:
                    passage = result["content"][0]["text"][:_PASSAGE]
                    best = result["score"], f"{result['filename']} says: {passage}"
        head = {
            "id": ids.fresh("file_search_call"),
            "type": "file_search_call",
            "status": "completed",
        }
        calls.append({**head, "queries": [said], "results": None})
    return calls, best[1]


def _called(sent: dict[str, Any]) -> dict[str, Any] | None:
    """The function to call, if the tool choice requires one."""
    wanted = sent.get("tool_choice")
    functions = [tool for tool in sent.get("tools") or [] if tool["type"] == "function"]
    if isinstance(wanted, dict):
        return next(
            (function for function in functions if function["name"] == wanted.get("name")), None
        )
    return functions[0] if wanted == "required" and functions else None


def _said(words: str, status: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": words, "annotations": [], "logprobs": []}
    return {
        "id": ids.fresh("message"),
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [part],
    }


def _as_item(item: dict[str, Any]) -> dict[str, Any]:
    """An item as lists show it: a string becomes a list of one part."""
    if item.get("type", "message") != "message":
        return item
    content = item["content"]
    if isinstance(content, str):
        kind = "output_text" if item["role"] == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    parts = [
        {"annotations": [], "logprobs": [], **part} if part["type"] == "output_text" else part
        for part in content
    ]
    return {
        "id": item["id"],
        "type": "message",
        "role": item["role"],
        "status": "completed",
        "content": parts,
    }


def _text_of(item: dict[str, Any]) -> str:
    content = item.get("content") or item.get("output") or item.get("arguments") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content).strip()


def _usage(read: int, written: int) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value


def _response(call: Call) -> ObjectRow:
    refusal = "Response with id '{id}' not found."
    return call.path_record("response", call.project_id, "response_id", refusal, with_param=False)


_ALL = "/responses"
_ONE = f"{_ALL}/{{response_id}}"
ROUTES = (
    Route("POST", f"{_ALL}/compact", compact_conversation, Access.PROJECT),
    Route("POST", f"{_ALL}/input_tokens", count_input_tokens, Access.PROJECT),
    Route("POST", _ALL, create_response, Access.PROJECT),
    Route("GET", _ONE, retrieve_response, Access.PROJECT),
    Route("DELETE", _ONE, delete_response, Access.PROJECT),
    Route("POST", f"{_ONE}/cancel", cancel_response, Access.PROJECT),
    Route("GET", f"{_ONE}/input_items", list_input_items, Access.PROJECT),
)
