"""Chat completions: they echo the user's last message; stored ones can be read."""

from __future__ import annotations

import json
from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import Listing, envelope, page_of
from reconciler.emulator.routing import Access, Call, Route
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

_PART = tagged(
    {
        "text": fields({"type": anything, "text": text()}, {"prompt_cache_breakpoint": anything}),
        "image_url": fields({"type": anything, "image_url": mapping}),
        "input_audio": fields({"type": anything, "input_audio": mapping}),
        "file": fields({"type": anything, "file": mapping}),
        "refusal": fields({"type": anything, "refusal": text()}),
    }
)


def _content(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array of objects")
    return listed(_PART, minimum=1)(value, place)


_SAID = {"role": anything, "content": _content}
_NAME = {"name": text()}
_BY_ROLE = {
    "developer": fields(_SAID, _NAME),
    "system": fields(_SAID, _NAME),
    "user": fields(_SAID, _NAME),
    "assistant": fields(
        {"role": anything},
        {
            **_NAME,
            "content": nullable(_content),
            "refusal": nullable(text()),
            "tool_calls": listed(mapping),
            "audio": nullable(mapping),
            "function_call": nullable(mapping),
        },
    ),
    "tool": fields({**_SAID, "tool_call_id": text()}),
    "function": fields({"role": anything, "content": nullable(text()), "name": text()}),
}
_ROLE = fields({"role": choice(*_BY_ROLE)})


def _message(value: Any, place: str) -> Any:
    sent = mapping(value, place)
    role = _ROLE({"role": sent["role"]} if "role" in sent else {}, place)["role"]
    return _BY_ROLE[role](sent, place)


_FUNCTION = fields(
    {"name": text(pattern=r"[a-zA-Z0-9_-]{1,64}")},
    {"description": text(), "parameters": mapping, "strict": nullable(boolean())},
)
_TOOL = tagged(
    {
        "function": fields({"type": anything, "function": _FUNCTION}),
        "custom": fields({"type": anything, "custom": mapping}),
    }
)
_SCHEMA = fields(
    {"name": text(pattern=r"[a-zA-Z0-9_-]{1,64}")},
    {"description": text(), "schema": mapping, "strict": nullable(boolean())},
)
_FORMAT = tagged(
    {
        "text": fields({"type": anything}),
        "json_object": fields({"type": anything}),
        "json_schema": fields({"type": anything, "json_schema": _SCHEMA}),
    }
)


def _tool_choice(value: Any, place: str) -> Any:
    return (
        mapping(value, place)
        if isinstance(value, dict)
        else choice("none", "auto", "required")(value, place)
    )


_CREATE = fields(
    {"model": text(), "messages": listed(_message, minimum=1)},
    {
        "audio": nullable(mapping),
        "frequency_penalty": nullable(number(-2, 2)),
        "function_call": anything,
        "functions": listed(mapping, minimum=1, maximum=128),
        "logit_bias": nullable(mapping),
        "logprobs": nullable(boolean()),
        "max_completion_tokens": nullable(integer(minimum=1)),
        "max_tokens": nullable(integer(minimum=1)),
        "metadata": nullable(metadata),
        "modalities": nullable(listed(choice("text", "audio"))),
        "moderation": nullable(mapping),
        "n": nullable(integer(1, 128)),
        "parallel_tool_calls": boolean(),
        "prediction": nullable(mapping),
        "presence_penalty": nullable(number(-2, 2)),
        "prompt_cache_key": nullable(text()),
        "prompt_cache_options": mapping,
        "prompt_cache_retention": nullable(choice("in_memory", "in-memory", "24h")),
        "reasoning_effort": nullable(
            choice("none", "minimal", "low", "medium", "high", "xhigh", "max")
        ),
        "response_format": _FORMAT,
        "safety_identifier": nullable(text(maximum=64)),
        "seed": nullable(integer()),
        "service_tier": nullable(choice("auto", "default", "flex", "scale", "priority", "fast")),
        "stop": anything,
        "store": nullable(boolean()),
        "stream": nullable(boolean()),
        "stream_options": nullable(mapping),
        "temperature": nullable(number(0, 2)),
        "tool_choice": _tool_choice,
        "tools": listed(_TOOL),
        "top_logprobs": nullable(integer(0, 20)),
        "top_p": nullable(number(0, 1)),
        "user": text(),
        "verbosity": nullable(choice("low", "medium", "high")),
        "web_search_options": mapping,
    },
)
_UPDATE = fields({"metadata": nullable(metadata)})


def create_chat_completion(call: Call) -> dict[str, Any]:
    sent = no_stream(call.json(_CREATE))
    model = usable(call, sent["model"], "chat", "realtime")
    if sent.get("metadata") and not sent.get("store"):
        raise bad_request(
            "The 'metadata' parameter is only allowed when 'store' is enabled.", param="metadata"
        )
    choices = [_choice(sent, index) for index in range(sent.get("n") or 1)]
    read = tokens(*(_text_of(message) for message in sent["messages"]))
    written = tokens(*(choice["message"]["content"] or "{}" for choice in choices))
    body = {
        "id": ids.fresh("chat_completion"),
        "object": "chat.completion",
        "created": call.now,
        "model": model,
        "choices": choices,
        "usage": _usage(read, written),
        "service_tier": "default",
        "system_fingerprint": None,
    }
    if sent.get("store"):
        stored = {**body, **_stored(sent), "metadata": sent.get("metadata") or {}}
        call.store.add("chat_completion", call.project_id, stored, messages=sent["messages"])
    return body


def _stored(sent: dict[str, Any]) -> dict[str, Any]:
    """The parts of the request that a stored completion shows."""
    settings = {"temperature": 1.0, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    return {
        "request_id": ids.fresh("request"),
        "seed": sent.get("seed"),
        **{
            name: unset if sent.get(name) is None else sent[name]
            for name, unset in settings.items()
        },
        "tools": sent.get("tools"),
        "tool_choice": sent.get("tool_choice"),
        "response_format": sent.get("response_format"),
        "input_user": sent.get("user"),
    }


def list_chat_completions(call: Call) -> dict[str, Any]:
    model = call.query.get("model")
    wanted = {
        key[9:-1]: value
        for key, value in call.query.as_dict().items()
        if key.startswith("metadata[")
    }
    return call.list_answer(
        call.store.collection("chat_completion", call.project_id),
        page_of(call.query, order="asc", before=False),
        keep=lambda one: (
            model in (None, one.body["model"]) and wanted.items() <= one.body["metadata"].items()
        ),
    )


def retrieve_chat_completion(call: Call) -> dict[str, Any]:
    return _completion(call).body


def update_chat_completion(call: Call) -> dict[str, Any]:
    completion = _completion(call)
    completion.body["metadata"] = call.json(_UPDATE)["metadata"] or {}
    call.store.changed(completion)
    return completion.body


def delete_chat_completion(call: Call) -> dict[str, Any]:
    return call.removed(_completion(call), "chat.completion.deleted")


def list_messages(call: Call) -> dict[str, Any]:
    completion = _completion(call)
    items = [
        {
            "id": f"{completion.id}-{at}",
            "role": message["role"],
            "content": _text_of(message),
            "refusal": None,
        }
        for at, message in enumerate(completion.hidden["messages"])
    ]
    places = {item["id"]: at for at, item in enumerate(items)}
    return envelope(*Listing(items, places.get).cut(page_of(call.query, order="asc", before=False)))


def _choice(sent: dict[str, Any], index: int) -> dict[str, Any]:
    tool = _called(sent)
    if tool is not None:
        arguments = example_of(tool.get("parameters") or {"type": "object"})
        function = {"name": tool["name"], "arguments": json.dumps(arguments)}
        calls = [{"id": ids.fresh("tool_call"), "type": "function", "function": function}]
        return _chosen(index, {"content": None, "tool_calls": calls}, "tool_calls")
    shape = sent.get("response_format") or {"type": "text"}
    schema = shape.get("json_schema", {}).get("schema")
    said = next(
        (_text_of(message) for message in reversed(sent["messages"]) if message["role"] == "user"),
        "",
    )
    words = answer_to(said, schema, as_json=shape["type"] != "text")
    words, is_cut = shortened(words, sent.get("max_completion_tokens") or sent.get("max_tokens"))
    return _chosen(index, {"content": words}, "length" if is_cut else "stop")


def _called(sent: dict[str, Any]) -> dict[str, Any] | None:
    """The function to call, if the tool choice requires one."""
    wanted = sent.get("tool_choice")
    functions = [tool["function"] for tool in sent.get("tools") or [] if tool["type"] == "function"]
    if isinstance(wanted, dict):
        name = wanted.get("function", {}).get("name")
        return next((function for function in functions if function["name"] == name), None)
    return functions[0] if wanted == "required" and functions else None


def _chosen(index: int, message: dict[str, Any], reason: str) -> dict[str, Any]:
    whole = {"role": "assistant", **message, "refusal": None, "annotations": []}
    return {"index": index, "message": whole, "logprobs": None, "finish_reason": reason}


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content).strip()


def _usage(read: int, written: int) -> dict[str, Any]:
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _completion(call: Call) -> ObjectRow:
    id = call.params["completion_id"]
    record = call.store.get("chat_completion", call.project_id, id)
    if record is None:
        raise not_found(
            f"Chat completion with id '{id}' not found.", param="completion_id", code="not_found"
        )
    return record


_ALL = "/chat/completions"
_ONE = f"{_ALL}/{{completion_id}}"
ROUTES = (
    Route("POST", _ALL, create_chat_completion, Access.PROJECT),
    Route("GET", _ALL, list_chat_completions, Access.PROJECT),
    Route("GET", _ONE, retrieve_chat_completion, Access.PROJECT),
    Route("POST", _ONE, update_chat_completion, Access.PROJECT),
    Route("DELETE", _ONE, delete_chat_completion, Access.PROJECT),
    Route("GET", f"{_ONE}/messages", list_messages, Access.PROJECT),
)
