"""Conversations and their items. There is no list of conversations; deleting one leaves its items."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.paging import envelope, page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import (
    Check,
    anything,
    choice,
    fields,
    listed,
    metadata,
    nullable,
    tagged,
    text,
    wrong_type,
)

_FILE = ("file_data", "file_url", "filename")


_DETAIL = choice("auto", "low", "high", "original")
_NAMES = {"file_id": nullable(text()), "detail": _DETAIL}
_PART = tagged(
    {
        "input_text": fields(
            {"type": anything, "text": text()}, {"prompt_cache_breakpoint": anything}
        ),
        "output_text": fields(
            {"type": anything, "text": text()}, {"annotations": anything, "logprobs": anything}
        ),
        "input_image": fields({"type": anything}, {**_NAMES, "image_url": nullable(text())}),
        "input_file": fields({"type": anything}, {**_NAMES, **dict.fromkeys(_FILE, text())}),
    }
)


def _content(value: Any, place: str) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array of content parts")
    return listed(_PART, minimum=1)(value, place)


_ROLES = ("user", "assistant", "system", "developer")
_ITEM: Check = fields(
    {"role": choice(*_ROLES), "content": _content},
    {"type": choice("message"), "status": anything, "id": text()},
)
_ITEMS = listed(_ITEM, maximum=20)
_CREATE = fields({}, {"metadata": nullable(metadata), "items": nullable(_ITEMS)})
_UPDATE = fields({"metadata": nullable(metadata)})
_ADD = fields({"items": _ITEMS})


def create_conversation(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    body = {
        "id": ids.fresh("conversation"),
        "object": "conversation",
        "created_at": call.now,
        "metadata": sent.get("metadata") or {},
    }
    conversation = call.store.add("conversation", call.project_id, body)
    _add(call, conversation, sent.get("items") or [])
    return body


def retrieve_conversation(call: Call) -> dict[str, Any]:
    return _conversation(call).body


def update_conversation(call: Call) -> dict[str, Any]:
    conversation = _conversation(call)
    conversation.body["metadata"] = call.json(_UPDATE)["metadata"] or {}
    call.store.changed(conversation)
    return conversation.body


def delete_conversation(call: Call) -> dict[str, Any]:
    return call.removed(_conversation(call), "conversation.deleted")


def list_items(call: Call) -> dict[str, Any]:
    conversation = _conversation(call)
    return call.list_answer(
        call.store.collection("item", conversation.id), page_of(call.query, before=False)
    )


def create_items(call: Call) -> dict[str, Any]:
    conversation = _conversation(call)
    return envelope(
        [item.body for item in _add(call, conversation, call.json(_ADD)["items"])], more=False
    )


def retrieve_item(call: Call) -> dict[str, Any]:
    return _item(call).body


def delete_item(call: Call) -> dict[str, Any]:
    conversation = _conversation(call)
    call.store.remove(_item(call))
    return conversation.body


def _add(call: Call, conversation: ObjectRow, items: list[dict[str, Any]]) -> list[ObjectRow]:
    return [call.store.add("item", conversation.id, _shown(item)) for item in items]


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    """An item as responses show it: a string becomes a list of one part."""
    content = item["content"]
    if isinstance(content, str):
        content = [
            {
                "type": "output_text" if item["role"] == "assistant" else "input_text",
                "text": content,
            }
        ]
    parts = [_shown_part(part) for part in content]
    return {
        "id": ids.fresh("message"),
        "type": "message",
        "status": "completed",
        "role": item["role"],
        "content": parts,
    }


def _shown_part(part: dict[str, Any]) -> dict[str, Any]:
    match part["type"]:
        case "output_text":
            return {**part, "annotations": [], "logprobs": []}
        case "input_image":
            return {"detail": "auto", "file_id": None, "image_url": None, **part}
    return part


def _conversation(call: Call) -> ObjectRow:
    refusal = "Conversation with id '{id}' not found."
    return call.path_record("conversation", call.project_id, "conversation_id", refusal)


def _item(call: Call) -> ObjectRow:
    refusal = "Item with id '{id}' not found in conversation '{conversation_id}'."
    return call.path_record("item", _conversation(call).id, "item_id", refusal)


_ALL = "/conversations"
_ONE = f"{_ALL}/{{conversation_id}}"
_ITEMS_PATH = f"{_ONE}/items"
_ITEM_PATH = f"{_ITEMS_PATH}/{{item_id}}"
ROUTES = (
    Route("POST", _ALL, create_conversation, Access.PROJECT),
    Route("GET", _ONE, retrieve_conversation, Access.PROJECT),
    Route("POST", _ONE, update_conversation, Access.PROJECT),
    Route("DELETE", _ONE, delete_conversation, Access.PROJECT),
    Route("GET", _ITEMS_PATH, list_items, Access.PROJECT),
    Route("POST", _ITEMS_PATH, create_items, Access.PROJECT),
    Route("GET", _ITEM_PATH, retrieve_item, Access.PROJECT),
    Route("DELETE", _ITEM_PATH, delete_item, Access.PROJECT),
)
