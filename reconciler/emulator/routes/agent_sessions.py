"""Sessions of agents, without environments: an agent echoes its input and calls each function once.

A session advances each time it is read: in progress, waiting for a function result if any, then
idle.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import page_of
from reconciler.emulator.routes.agents import AGENT, BETA, new_agent
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.speaking import answer_to, example_of, no_stream, tokens, usable
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
    tagged,
    text,
    wrong_type,
)

_PART = tagged(
    {
        "input_text": fields({"type": anything, "text": text()}),
        "input_image": fields({"type": anything, "image_url": text()}),
    }
)
_MESSAGE = fields(
    {"role": choice("user"), "content": listed(_PART, minimum=1)}, {"type": choice("message")}
)


def _input(value: Any, place: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": "user", "content": [{"type": "input_text", "text": value}]}]
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array of messages")
    found: list[dict[str, Any]] = listed(_MESSAGE, minimum=1)(value, place)
    return found


_SPEND = nullable(fields({"limit": nullable(integer(minimum=0))}))
_SETTINGS = {
    "agent": mapping,
    "metadata": nullable(metadata),
    "prompt_cache_options": nullable(mapping),
    "review": choice("none", "auto_review"),
    "spend_control": _SPEND,
}
_CREATE = fields(
    {"environment": fields({"type": choice("none")})},
    {
        **_SETTINGS,
        "agent_id": text(),
        "input": nullable(_input),
        "stream": boolean(),
        "stream_options": mapping,
        "vault_ids": nullable(listed(text())),
    },
)
_UPDATE = fields({}, _SETTINGS)
_EVENT = tagged(
    {
        "agent.session.input.message": fields(
            {"type": anything, "input": listed(_MESSAGE, minimum=1)}
        ),
        "agent.session.input.cancel": fields({"type": anything}),
        "agent.session.input.tool_result": fields(
            {"type": anything, "call_id": text(), "turn_id": text(), "success": boolean()},
            {"error": nullable(text()), "output": anything},
        ),
    }
)
_EVENTS = fields({"events": listed(_EVENT, minimum=1)})


def list_sessions(call: Call) -> dict[str, Any]:
    return call.list_answer(
        call.store.collection("agent_session", call.project_id), page_of(call.query, before=False)
    )


def create_session(call: Call) -> dict[str, Any]:
    sent = no_stream(call.json(_CREATE))
    if not sent.get("input"):
        raise bad_request("'input' is required without an environment.", param="input")
    agent = _agent(call, sent)
    usable(call, agent["model"], "chat")
    body = {
        "id": ids.fresh("agent_session"),
        "object": "agent.session",
        "created_at": call.now,
        "last_active_at": call.now,
        "agent": agent,
        "environment": {"type": "none"},
        "error": None,
        "metadata": sent.get("metadata") or {},
        "required_actions": [],
        "status": "idle",
        "usage": None,
        "vault_ids": sent.get("vault_ids") or [],
    }
    session = call.store.add("agent_session", call.project_id, body)
    _say(call, session, sent["input"])
    return session.body


def retrieve_session(call: Call) -> dict[str, Any]:
    session = _session(call)
    if session.body["status"] == "in_progress":
        _move_on(call, session)
    return session.body


def update_session(call: Call) -> dict[str, Any]:
    session, sent = _session(call), call.json(_UPDATE)
    if "metadata" in sent:
        session.body["metadata"] = sent["metadata"] or {}
    session.body["agent"].update(sent.get("agent") or {})
    call.store.changed(session)
    return session.body


def delete_session(call: Call) -> dict[str, Any]:
    return call.removed(_session(call), "agent.session.deleted")


def list_items(call: Call) -> dict[str, Any]:
    return call.list_answer(
        call.store.collection("agent_item", _session(call).id), page_of(call.query, before=False)
    )


def create_events(call: Call) -> dict[str, Any]:
    session = _session(call)
    for event in call.json(_EVENTS)["events"]:
        kind = event["type"].rpartition(".")[2]
        if kind == "message":
            _say(call, session, event["input"])
        elif kind == "cancel":
            session.body.update(status="idle", required_actions=[])
        else:
            _take_result(session, event)
    call.store.changed(session)
    return {}


def _agent(call: Call, sent: dict[str, Any]) -> dict[str, Any]:
    """The agent of a session: an existing one, an inline definition, or both."""
    described = sent.get("agent") or {}
    if "agent_id" not in sent:
        return _shown(new_agent(call, AGENT(described, "agent")))
    found = call.store.get("agent", call.project_id, sent["agent_id"])
    if found is None:
        raise not_found(f"No agent found with id '{sent['agent_id']}'.", param="agent_id")
    return _shown({**found.body, **described})


def _shown(agent: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in agent.items()
        if name not in ("object", "created_at", "updated_at", "metadata")
    }


def _say(call: Call, session: ObjectRow, messages: list[dict[str, Any]]) -> None:
    session.hidden["turn"] = ids.fresh("turn")
    session.hidden["called"] = False
    for message in messages:
        _add(call, session, "user", message["content"])
    session.body.update(status="in_progress", last_active_at=call.now)
    call.store.changed(session)


def _add(call: Call, session: ObjectRow, role: str, content: list[dict[str, Any]]) -> None:
    head = {
        "id": ids.fresh("message"),
        "type": "message",
        "status": "completed",
        "turn_id": session.hidden["turn"],
    }
    phase = "final_answer" if role == "assistant" else None
    call.store.add(
        "agent_item", session.id, {**head, "role": role, "phase": phase, "content": content}
    )


def _move_on(call: Call, session: ObjectRow) -> None:
    functions = [tool for tool in session.body["agent"]["tools"] if tool["type"] == "function"]
    if functions and not session.hidden["called"]:
        called = {
            "type": "function_call",
            "call_id": ids.fresh("tool_call"),
            "turn_id": session.hidden["turn"],
        }
        arguments = example_of(functions[0].get("parameters") or {"type": "object"})
        action = {**called, "name": functions[0]["name"], "arguments": arguments}
        session.hidden["called"] = True
        session.body.update(status="requires_action", required_actions=[action])
    else:
        items = call.store.collection("agent_item", session.id).ordered()
        said = next(
            part.get("text", "")
            for item in reversed(items)
            if item.body["role"] == "user"
            for part in item.body["content"]
        )
        words = answer_to(said)
        _add(call, session, "assistant", [{"type": "output_text", "text": words}])
        session.body.update(status="idle", usage=_usage(tokens(said), tokens(words)))
    call.store.changed(session)


def _take_result(session: ObjectRow, event: dict[str, Any]) -> None:
    asked = [action["call_id"] for action in session.body["required_actions"]]
    if event["call_id"] not in asked:
        raise bad_request(
            f"No function call '{event['call_id']}' waits for a result.", param="events"
        )
    session.body.update(status="in_progress", required_actions=[])


def _usage(read: int, written: int) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def _session(call: Call) -> ObjectRow:
    return call.path_record(
        "agent_session", call.project_id, "session_id", "No session found with id '{id}'."
    )


_ALL = "/agents/sessions"
_ONE = f"{_ALL}/{{session_id}}"
ROUTES = (
    Route("GET", _ALL, list_sessions, Access.PROJECT, beta=BETA),
    Route("POST", _ALL, create_session, Access.PROJECT, beta=BETA),
    Route("GET", _ONE, retrieve_session, Access.PROJECT, beta=BETA),
    Route("POST", _ONE, update_session, Access.PROJECT, beta=BETA),
    Route("DELETE", _ONE, delete_session, Access.PROJECT, beta=BETA),
    Route("GET", f"{_ONE}/items", list_items, Access.PROJECT, beta=BETA),
    Route("POST", f"{_ONE}/events", create_events, Access.PROJECT, beta=BETA),
)
