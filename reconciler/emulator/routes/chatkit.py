"""Sessions of ChatKit: a client secret that gives a browser access to a workflow until it expires or is cancelled."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.validation import boolean, choice, fields, integer, mapping, text

BETA = "chatkit_beta=v1"

_LIFETIME = 600
_SWITCH = {"enabled": boolean()}
_CREATE = fields(
    {
        "workflow": fields(
            {"id": text(minimum=1)},
            {"version": text(), "state_variables": mapping, "tracing": fields({}, _SWITCH)},
        ),
        "user": text(minimum=1),
    },
    {
        "expires_after": fields({"anchor": choice("created_at"), "seconds": integer(1, 600)}),
        "rate_limits": fields({}, {"max_requests_per_1_minute": integer(minimum=1)}),
        "chatkit_configuration": fields(
            {},
            {
                "automatic_thread_titling": fields({}, _SWITCH),
                "file_upload": fields(
                    {},
                    {**_SWITCH, "max_file_size": integer(1, 512), "max_files": integer(minimum=1)},
                ),
                "history": fields({}, {**_SWITCH, "recent_threads": integer(minimum=1)}),
            },
        ),
    },
)


def create_session(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    workflow, asked = sent["workflow"], sent.get("chatkit_configuration") or {}
    pace = (sent.get("rate_limits") or {}).get("max_requests_per_1_minute", 10)
    body = {
        "id": ids.fresh("chatkit_session"),
        "object": "chatkit.session",
        "expires_at": call.now + (sent.get("expires_after") or {}).get("seconds", _LIFETIME),
        "workflow": {
            "id": workflow["id"],
            "version": workflow.get("version"),
            "state_variables": workflow.get("state_variables"),
            "tracing": {"enabled": True, **workflow.get("tracing", {})},
        },
        "user": sent["user"],
        "rate_limits": {"max_requests_per_1_minute": pace},
        "max_requests_per_1_minute": pace,
        "status": "active",
        "chatkit_configuration": {
            "automatic_thread_titling": {
                "enabled": True,
                **asked.get("automatic_thread_titling", {}),
            },
            "file_upload": {
                "enabled": False,
                "max_file_size": None,
                "max_files": None,
                **asked.get("file_upload", {}),
            },
            "history": {"enabled": True, "recent_threads": None, **asked.get("history", {})},
        },
    }
    call.store.add("chatkit_session", call.project_id, body)
    return {**body, "client_secret": ids.ephemeral_key()}


def cancel_session(call: Call) -> dict[str, Any]:
    session = call.path_record(
        "chatkit_session", call.project_id, "session_id", "No session found with id '{id}'."
    )
    session.body["status"] = "cancelled"
    call.store.changed(session)
    return {**session.body, "client_secret": ""}


ROUTES = (
    Route("POST", "/chatkit/sessions", create_session, Access.PROJECT, beta=BETA),
    Route(
        "POST", "/chatkit/sessions/{session_id}/cancel", cancel_session, Access.PROJECT, beta=BETA
    ),
)
