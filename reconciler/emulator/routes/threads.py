"""Threads and their messages, as the API had them before assistants retired. There is no list of threads.

Text sent as a string reads back as a list of parts. A file attached to a message is added to the
resources of the thread's tools; a thread without a vector store gets one for it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from reconciler.emulator import ids, indexing
from reconciler.emulator.errors import bad_request
from reconciler.emulator.files import find_file
from reconciler.emulator.paging import page_of
from reconciler.emulator.routes.assistants import (
    BETA,
    RESOURCES,
    RESOURCES_ON_CREATE,
    tool_resources,
)
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

ACTIVE = ("queued", "in_progress", "requires_action", "cancelling")
"""The states in which a run holds its thread."""

_DETAIL = {"detail": choice("auto", "low", "high")}
_PART = tagged(
    {
        "text": fields({"type": anything, "text": text(minimum=1)}),
        "image_file": fields(
            {"type": anything, "image_file": fields({"file_id": text()}, _DETAIL)}
        ),
        "image_url": fields(
            {"type": anything, "image_url": fields({"url": text(minimum=1)}, _DETAIL)}
        ),
    }
)


def _content(value: Any, place: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"type": "text", "text": text(minimum=1)(value, place)}]
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array of content parts")
    parts: list[dict[str, Any]] = listed(_PART, minimum=1)(value, place)
    return parts


_TOOL = fields({"type": choice("code_interpreter", "file_search")})
_ATTACHMENT = fields({"file_id": text(), "tools": listed(_TOOL)})
MESSAGE: Check = fields(
    {"role": choice("user", "assistant"), "content": _content},
    {"attachments": nullable(listed(_ATTACHMENT)), "metadata": nullable(metadata)},
)
THREAD: Check = fields(
    {},
    {
        "messages": listed(MESSAGE),
        "tool_resources": nullable(RESOURCES_ON_CREATE),
        "metadata": nullable(metadata),
    },
)
_MODIFY = fields({}, {"tool_resources": nullable(RESOURCES), "metadata": nullable(metadata)})
_RELABEL = fields({}, {"metadata": nullable(metadata)})

# --- threads


def create_thread(call: Call) -> dict[str, Any]:
    return make_thread(call, call.json(THREAD)).body


def retrieve_thread(call: Call) -> dict[str, Any]:
    return find_thread(call).body


def modify_thread(call: Call) -> dict[str, Any]:
    thread, sent = find_thread(call), call.json(_MODIFY)
    if "tool_resources" in sent:
        sent["tool_resources"] = tool_resources(
            call, thread.body["tool_resources"], sent["tool_resources"]
        )
    return _changed(call, thread, sent)


def delete_thread(call: Call) -> dict[str, Any]:
    thread = find_thread(call)
    runs = call.store.collection("run", thread.id).ordered()
    steps = [step for run in runs for step in call.store.collection("run_step", run.id).ordered()]
    for record in (*steps, *runs, *call.store.collection("thread_message", thread.id).ordered()):
        call.store.remove(record)
    return call.removed(thread, "thread.deleted")


def make_thread(call: Call, sent: dict[str, Any]) -> ObjectRow:
    body = {
        "id": ids.fresh("thread"),
        "object": "thread",
        "created_at": call.now,
        "metadata": sent.get("metadata") or {},
        "tool_resources": tool_resources(call, {}, sent.get("tool_resources")),
    }
    for message in sent.get("messages", []):
        find_files(call, message)
    thread = call.store.add("thread", call.project_id, body)
    for message in sent.get("messages", []):
        make_message(call, thread, message)
    return thread


def find_thread(call: Call) -> ObjectRow:
    return call.path_record(
        "thread", call.project_id, "thread_id", "No thread found with id '{id}'.", with_param=False
    )


# --- messages


def list_messages(call: Call) -> dict[str, Any]:
    thread, run_id = find_thread(call), call.query.get("run_id")
    keep = lambda one: run_id in (None, one.body["run_id"])  # noqa: E731 - one line of a call
    return call.list_answer(
        call.store.collection("thread_message", thread.id), page_of(call.query), keep=keep
    )


def create_message(call: Call) -> dict[str, Any]:
    thread, sent = find_thread(call), call.json(MESSAGE)
    find_files(call, sent)
    refuse_while_running(
        call, thread, "Can't add messages to {thread} while a run {run} is active."
    )
    return make_message(call, thread, sent).body


def retrieve_message(call: Call) -> dict[str, Any]:
    return _message(call).body


def modify_message(call: Call) -> dict[str, Any]:
    return _changed(call, _message(call), call.json(_RELABEL))


def delete_message(call: Call) -> dict[str, Any]:
    return call.removed(_message(call), "thread.message.deleted")


def make_message(
    call: Call, thread: ObjectRow, sent: dict[str, Any], *, run: ObjectRow | None = None
) -> ObjectRow:
    """Add a message of a user or, with `run`, of its assistant."""
    body = {
        "id": ids.fresh("thread_message"),
        "object": "thread.message",
        "created_at": call.now,
        "thread_id": thread.id,
        "assistant_id": run.body["assistant_id"] if run else None,
        "run_id": run.id if run else None,
        "role": sent["role"],
        "content": [_shown(part) for part in sent["content"]],
        "attachments": sent.get("attachments") or [],
        "metadata": sent.get("metadata") or {},
    }
    _share(call, thread, body["attachments"])
    return call.store.add("thread_message", thread.id, body)


def refuse_while_running(call: Call, thread: ObjectRow, sentence: str) -> None:
    for run in call.store.collection("run", thread.id).ordered():
        if run.body["status"] in ACTIVE:
            raise bad_request(sentence.format(thread=thread.id, run=run.id))


def _shown(part: dict[str, Any]) -> dict[str, Any]:
    """A part of a content as responses show it."""
    kind = part["type"]
    if kind == "text":
        return {"type": kind, "text": {"value": part["text"], "annotations": []}}
    return {"type": kind, kind: {"detail": "auto", **part[kind]}}


def find_files(call: Call, message: dict[str, Any]) -> None:
    for part in message["content"]:
        if part["type"] == "image_file":
            find_file(call.store, call.project_id, part["image_file"]["file_id"], param="content")
    for attachment in message.get("attachments") or []:
        find_file(call.store, call.project_id, attachment["file_id"], param="attachments")


def _share(call: Call, thread: ObjectRow, attachments: list[dict[str, Any]]) -> None:
    """Add attached files to the resources of their tools."""
    resources = deepcopy(thread.body["tool_resources"])
    pairs = []
    for attachment in attachments:
        pairs += [(attachment["file_id"], tool["type"]) for tool in attachment["tools"]]
    for id, tool in pairs:
        if tool == "code_interpreter":
            files = resources.setdefault(tool, {}).setdefault("file_ids", [])
            files += [] if id in files else [id]
            continue
        stores = resources.setdefault(tool, {}).setdefault("vector_store_ids", [])
        if not stores:
            unused = {"expires_after": {"anchor": "last_active_at", "days": 7}}
            stores.append(indexing.make_store(call.store, call.project_id, unused).id)
        store = indexing.find_store(call.store, call.project_id, stores[0])
        indexing.attach(call.store, call.options, store, find_file(call.store, call.project_id, id))
    thread.body["tool_resources"] = resources
    call.store.changed(thread)


def _message(call: Call) -> ObjectRow:
    refusal = "No message found with id '{id}'."
    return call.path_record(
        "thread_message", find_thread(call).id, "message_id", refusal, with_param=False
    )


def _changed(call: Call, record: ObjectRow, sent: dict[str, Any]) -> dict[str, Any]:
    record.body.update({name: value or {} for name, value in sent.items()})
    call.store.changed(record)
    return record.body


_ALL = "/threads"
_ONE = f"{_ALL}/{{thread_id}}"
_MESSAGES = f"{_ONE}/messages"
_MESSAGE_PATH = f"{_MESSAGES}/{{message_id}}"
ROUTES = (
    Route("POST", _ALL, create_thread, Access.PROJECT, beta=BETA),
    Route("GET", _ONE, retrieve_thread, Access.PROJECT, beta=BETA),
    Route("POST", _ONE, modify_thread, Access.PROJECT, beta=BETA),
    Route("DELETE", _ONE, delete_thread, Access.PROJECT, beta=BETA),
    Route("GET", _MESSAGES, list_messages, Access.PROJECT, beta=BETA),
    Route("POST", _MESSAGES, create_message, Access.PROJECT, beta=BETA),
    Route("GET", _MESSAGE_PATH, retrieve_message, Access.PROJECT, beta=BETA),
    Route("POST", _MESSAGE_PATH, modify_message, Access.PROJECT, beta=BETA),
    Route("DELETE", _MESSAGE_PATH, delete_message, Access.PROJECT, beta=BETA),
)
