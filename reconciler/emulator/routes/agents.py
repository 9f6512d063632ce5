"""Agents (beta): the reusable configuration that succeeded assistants.

Null clears or resets a field where the API says so, an omitted field keeps its value, lists and
metadata are replaced as a whole, and only `experimental` is merged key by key.
"""

from __future__ import annotations

import json
from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import (
    Check,
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
)

BETA = "agents=v1"
_MAXIMUM_TOOLS_BYTES = 3 * 1024 * 1024
_IDENTIFIER = text(minimum=1, maximum=64, pattern="[a-zA-Z0-9_-]+")


def _headers(value: Any, place: str) -> dict[str, Any]:
    return {name: text()(item, f"{place}.{name}") for name, item in mapping(value, place).items()}


_TRANSPORT = tagged(
    {
        "http": fields(
            {"type": anything, "server_url": text(minimum=1)}, {"headers": nullable(_headers)}
        ),
        "stdio": fields(
            {"type": anything, "command": text(minimum=1), "cwd": text(minimum=1)},
            {"args": nullable(listed(text())), "env_vars": nullable(listed(text()))},
        ),
    }
)
_LOCATION = fields(
    {}, {name: nullable(text()) for name in ("city", "country", "region", "timezone")}
)
_TOOLS: dict[str, Check] = {
    "function": fields(
        {"type": anything, "name": _IDENTIFIER, "description": text(), "parameters": mapping},
        {"defer_loading": boolean(), "async": boolean()},
    ),
    "tool_search": fields({"type": anything}),
    "programmatic_tool_calling": fields({"type": anything}, {"enabled": boolean()}),
    "mcp": fields(
        {"type": anything, "server_label": text(minimum=1), "transport": _TRANSPORT},
        {
            "allowed_tools": nullable(listed(text())),
            "connection_origin": nullable(choice("service", "environment")),
            "credential_id": nullable(text()),
            "request_metadata": nullable(mapping),
            "required": boolean(),
        },
    ),
    "web_search": fields(
        {"type": anything},
        {
            "allowed_domains": nullable(listed(text())),
            "context_size": nullable(choice("low", "medium", "high")),
            "location": nullable(_LOCATION),
            "mode": nullable(choice("disabled", "cached", "live")),
        },
    ),
    "computer_use": fields({"type": anything}, {"include_screenshots": boolean()}),
    "automations": fields({"type": anything}),
}
# Defaults that the server fills in for omitted or null fields of a tool.
_TOOL_DEFAULTS: dict[str, dict[str, Any]] = {
    "function": {"defer_loading": False},
    "programmatic_tool_calling": {"enabled": True},
    "mcp": {
        "allowed_tools": None,
        "connection_origin": "service",
        "credential_id": None,
        "request_metadata": {},
        "required": False,
    },
    "web_search": {
        "allowed_domains": None,
        "context_size": "medium",
        "location": None,
        "mode": "live",
    },
    "computer_use": {"include_screenshots": False},
}
_TRANSPORT_DEFAULTS: dict[str, dict[str, Any]] = {
    "http": {"headers": {}},
    "stdio": {"args": [], "env_vars": []},
}

_REASONING = fields(
    {},
    {
        "effort": nullable(choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
        "summary": nullable(choice("concise", "detailed", "auto")),
    },
)
_TEXT_FORMAT = tagged(
    {
        "text": fields({"type": anything}),
        "json_schema": fields({"type": anything, "schema": mapping}),
    }
)
_TEXT = fields(
    {}, {"format": nullable(_TEXT_FORMAT), "verbosity": nullable(choice("low", "medium", "high"))}
)
_MULTI_AGENT = fields({"enabled": boolean()}, {"max_concurrent_subagents": integer(minimum=1)})
_SERVICE_TIER = choice("auto", "default", "flex", "priority", "fast", "ultrafast")
_MODEL = text(minimum=1)
_OF_SAVED = ("id", "object", "created_at", "updated_at", "name", "metadata")
_OPTIONAL = {
    "name": nullable(text()),
    "instructions": nullable(text()),
    "metadata": nullable(metadata),
    "tools": nullable(listed(tagged(_TOOLS))),
    "reasoning": nullable(_REASONING),
    "text": nullable(_TEXT),
    "service_tier": nullable(_SERVICE_TIER),
    "multi_agent": nullable(_MULTI_AGENT),
    "compaction": nullable(fields({}, {"async": nullable(boolean())})),
    "experimental": fields({}, {"time_awareness": boolean()}),
}
AGENT = fields({"model": _MODEL}, _OPTIONAL)
INLINE = fields(
    {"model": _MODEL}, {name: check for name, check in _OPTIONAL.items() if name not in _OF_SAVED}
)
"""An agent inside something else, which has neither a name nor metadata of its own."""
_UPDATE = fields({}, {"model": _MODEL, **_OPTIONAL})


def list_agents(call: Call) -> dict[str, Any]:
    return call.list_answer(
        call.store.collection("agent", call.project_id), page_of(call.query, before=False)
    )


def create_agent(call: Call) -> dict[str, Any]:
    return call.store.add("agent", call.project_id, new_agent(call, call.json(AGENT))).body


def new_agent(call: Call, sent: dict[str, Any]) -> dict[str, Any]:
    """An agent as responses show it, from a checked body; sessions can have inline agents."""
    body: dict[str, Any] = {
        "id": ids.fresh("agent"),
        "object": "agent",
        "created_at": call.now,
        "updated_at": call.now,
        "name": None,
        "model": sent["model"],
        "instructions": None,
        "experimental": {"time_awareness": False},
        **{name: resolve(None) for name, resolve in _RESOLVERS.items()},
    }
    _merge(body, sent)
    return body


def inline(call: Call, sent: dict[str, Any]) -> dict[str, Any]:
    """An agent as shown inside another object."""
    return {name: value for name, value in new_agent(call, sent).items() if name not in _OF_SAVED}


def retrieve_agent(call: Call) -> dict[str, Any]:
    return _agent(call).body


def update_agent(call: Call) -> dict[str, Any]:
    agent = _agent(call)
    _merge(agent.body, call.json(_UPDATE))
    agent.body["updated_at"] = call.now
    call.store.changed(agent)
    return agent.body


def delete_agent(call: Call) -> dict[str, Any]:
    return call.removed(_agent(call), "agent.deleted")


def _agent(call: Call) -> ObjectRow:
    return call.path_record("agent", call.project_id, "agent_id", "No agent found with id '{id}'.")


def _merge(body: dict[str, Any], sent: dict[str, Any]) -> None:
    resolved = {name: _RESOLVERS[name](value) for name, value in sent.items() if name in _RESOLVERS}
    experimental = {**body["experimental"], **sent.get("experimental", {})}
    body.update(sent | resolved | {"experimental": experimental})


# --- fields: each function takes the value that was sent, or None, and returns the shown one


def _resolved_tools(sent: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    if (
        len(
            json.dumps(sent, separators=(",", ":"), ensure_ascii=False).encode(
                "utf-8", "surrogatepass"
            )
        )
        > _MAXIMUM_TOOLS_BYTES
    ):
        raise bad_request(
            f"'tools' must fit within {_MAXIMUM_TOOLS_BYTES} bytes of JSON.", param="tools"
        )
    return [_resolved_tool(tool) for tool in sent or []]


def _resolved_tool(tool: dict[str, Any]) -> dict[str, Any]:
    shown = _filled(tool, _TOOL_DEFAULTS.get(tool["type"], {}))
    if "transport" in shown:
        transport = shown["transport"]
        shown["transport"] = _filled(transport, _TRANSPORT_DEFAULTS[transport["type"]])
    if shown.get("location") is not None:
        shown["location"] = _filled(
            shown["location"], dict.fromkeys(("city", "country", "region", "timezone"))
        )
    return shown


def _filled(sent: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return defaults | {name: value for name, value in sent.items() if value is not None}


def _resolved_multi_agent(sent: dict[str, Any] | None) -> dict[str, Any]:
    enabled = bool(sent and sent["enabled"])
    return {
        "enabled": enabled,
        "max_concurrent_subagents": (sent or {}).get("max_concurrent_subagents", 6)
        if enabled
        else None,
    }


_RESOLVERS: dict[str, Any] = {
    "tools": _resolved_tools,
    "metadata": lambda sent: sent or {},
    "reasoning": lambda sent: _filled(sent or {}, {"effort": None, "summary": None}),
    "text": lambda sent: _filled(sent or {}, {"format": {"type": "text"}, "verbosity": "medium"}),
    "service_tier": lambda sent: sent or "auto",
    "multi_agent": _resolved_multi_agent,
    "compaction": lambda sent: {"async": bool((sent or {}).get("async"))},
}

_ALL = "/agents"
_ONE = "/agents/{agent_id}"
ROUTES = (
    Route("GET", _ALL, list_agents, Access.PROJECT, beta=BETA),
    Route("POST", _ALL, create_agent, Access.PROJECT, beta=BETA),
    Route("GET", _ONE, retrieve_agent, Access.PROJECT, beta=BETA),
    Route("POST", _ONE, update_agent, Access.PROJECT, beta=BETA),
    Route("DELETE", _ONE, delete_agent, Access.PROJECT, beta=BETA),
)
