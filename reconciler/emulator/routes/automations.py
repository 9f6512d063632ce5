"""Automations (beta): schedules of agents. Nothing runs on schedule here: only explicit invocations."""

from __future__ import annotations

import zoneinfo
from typing import Any

from reconciler.emulator import hosted, ids
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import page_of
from reconciler.emulator.routes import agents
from reconciler.emulator.routes.agents import BETA
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import (
    Check,
    choice,
    fields,
    integer,
    listed,
    metadata,
    nullable,
    tagged,
    text,
)

_WORD = text(minimum=1)
_CRON = text(pattern=r"[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}")
_FOLDERS = listed(text(pattern="/.*"))


def _zone(value: Any, place: str) -> str:
    name: str = _WORD(value, place)
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise bad_request(f"Invalid '{place}': expected an IANA time zone.", param=place) from None
    return name


_ENVIRONMENT = tagged(
    {
        "none": fields({"type": choice("none")}),
        "openai_hosted": fields(
            {"type": choice("openai_hosted")},
            {
                "environment_id": _WORD,
                "environment_template_id": _WORD,
                "container_size": choice("small", "medium", "large"),
                **hosted.CHECKS,
            },
        ),
        "self_hosted": fields(
            {"type": choice("self_hosted"), "workspace_directory": text(pattern="/.*")},
            {"capability_directories": nullable(_FOLDERS)},
        ),
    }
)
_CONTENT = tagged(
    {
        "input_text": fields({"type": choice("input_text"), "text": _WORD}),
        "input_image": fields({"type": choice("input_image"), "image_url": _WORD}),
    }
)
_MESSAGE = fields(
    {"role": choice("user"), "content": listed(_CONTENT, minimum=1)}, {"type": choice("message")}
)
_TARGET = tagged(
    {
        "new_session": fields(
            {
                "type": choice("new_session"),
                "environment": _ENVIRONMENT,
                "input": listed(_MESSAGE),
            },
            {
                "agent_id": _WORD,
                "agent": agents.INLINE,
                "metadata": nullable(metadata),
                "vault_ids": nullable(listed(_WORD)),
            },
        ),
        "existing_session": fields(
            {"type": choice("existing_session"), "session_id": _WORD, "instructions": _WORD}
        ),
    }
)
_SHARED: dict[str, Check] = {"name": _WORD, "target": _TARGET}
_WHEN: dict[str, dict[str, Check]] = {
    "periodic": {"expression": _CRON, "timezone": _zone},
    "once": {"run_at": integer(minimum=1)},
}
_CREATE = tagged(
    {
        kind: fields({"type": choice(kind), **_SHARED, **when}, {"metadata": metadata})
        for kind, when in _WHEN.items()
    }
)
_HOSTED = ("capability_directories", "desktop", "files", "network", "packages", "plugins", "skills")


def list_automations(call: Call) -> dict[str, Any]:
    session = call.query.get("session_id")
    automations = call.store.collection("automation", call.project_id)
    page = page_of(call.query, before=False)
    return call.list_answer(
        automations, page, keep=lambda one: session in (None, one.body["target"].get("session_id"))
    )


def create_automation(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    _require_future(call, sent)
    body = {
        "id": ids.fresh("automation"),
        "object": "agent.automation",
        "created_at": call.now,
        "created_by": {"type": "developer"},
        "status": "active",
        "pause_reason": None,
        "metadata": {},
        **sent,
        "target": _shown_target(call, sent["target"]),
    }
    return call.store.add("automation", call.project_id, body, env=_env_of(sent["target"])).body


def retrieve_automation(call: Call) -> dict[str, Any]:
    return _automation(call).body


def update_automation(call: Call) -> dict[str, Any]:
    automation = _automation(call)
    sent = call.json(
        fields({}, {**_SHARED, "metadata": metadata, **_WHEN[automation.body["type"]]})
    )
    _require_future(call, sent)
    if "target" in sent:
        if sent["target"]["type"] != automation.body["target"]["type"]:
            raise bad_request(
                "Invalid 'target.type': the type of a target cannot be changed.",
                param="target.type",
            )
        automation.hidden["env"] = _env_of(sent["target"])
        sent = {**sent, "target": _shown_target(call, sent["target"])}
    automation.body.update(sent)
    call.store.changed(automation)
    return automation.body


def delete_automation(call: Call) -> dict[str, Any]:
    return call.removed(_automation(call), "agent.automation.deleted")


def pause_automation(call: Call) -> dict[str, Any]:
    return _switched(call, "paused")


def resume_automation(call: Call) -> dict[str, Any]:
    return _switched(call, "active")


def list_invocations(call: Call) -> dict[str, Any]:
    invocations = call.store.collection("invocation", _automation(call).id)
    return call.list_answer(invocations, page_of(call.query, before=False))


def create_invocation(call: Call) -> dict[str, Any]:
    automation = _automation(call)
    body = {
        "id": ids.fresh("invocation"),
        "object": "agent.automation.invocation",
        "automation_id": automation.id,
        "created_at": call.now,
        "error": None,
        "scheduled_at": None,
        "session_id": automation.body["target"].get("session_id"),
        "skip_reason": None,
        "source": {"type": "manual"},
        "status": "queued",
    }
    return call.store.add("invocation", automation.id, body).body


def retrieve_invocation(call: Call) -> dict[str, Any]:
    refusal = "No invocation found with id '{id}'."
    return call.path_record("invocation", _automation(call).id, "invocation_id", refusal).body


def _automation(call: Call) -> ObjectRow:
    return call.path_record(
        "automation", call.project_id, "automation_id", "No automation found with id '{id}'."
    )


def _switched(call: Call, status: str) -> dict[str, Any]:
    automation = _automation(call)
    automation.body["status"] = status
    call.store.changed(automation)
    return automation.body


def _require_future(call: Call, sent: dict[str, Any]) -> None:
    if sent.get("run_at", call.now + 1) <= call.now:
        raise bad_request(
            "Invalid 'run_at': expected a time that is still to come.", param="run_at"
        )


def _shown_target(call: Call, target: dict[str, Any]) -> dict[str, Any]:
    if target["type"] == "existing_session":
        return target
    environment = target["environment"]
    if ("agent" in target) == ("agent_id" in target):
        raise bad_request(
            "Exactly one of 'agent' and 'agent_id' is required.", param="target.agent_id"
        )
    if environment.get("environment_id") and environment.keys() - {"type", "environment_id"}:
        detail = "'environment_id' cannot be combined with a template or inline configuration."
        raise bad_request(detail, param="target.environment.environment_id")
    _require(call, "agent", [target["agent_id"]] if "agent_id" in target else [], "target.agent_id")
    _require(call, "vault", target.get("vault_ids") or [], "target.vault_ids")
    template = environment.get("environment_template_id")
    _require(call, "environment_template", [template] if template else [], "target.environment")
    return {
        **target,
        "agent_id": target.get("agent_id"),
        "agent": agents.inline(call, target["agent"]) if "agent" in target else None,
        "environment": _shown_environment(environment),
        "input": [{"type": "message", **message} for message in target["input"]],
        "metadata": target.get("metadata") or {},
        "vault_ids": target.get("vault_ids") or [],
    }


def _shown_environment(environment: dict[str, Any]) -> dict[str, Any]:
    match environment["type"]:
        case "self_hosted":
            folders = environment.get("capability_directories") or []
            return {**environment, "environment_id": None, "capability_directories": folders}
        case "openai_hosted":
            parts = {name: environment.get(name) for name in _HOSTED}
            names = ("type", "environment_id", "environment_template_id", "container_size")
            return {
                **{name: environment.get(name) for name in names},
                **{
                    name: None if value is None else hosted.shown(name, value)
                    for name, value in parts.items()
                },
            }
    return environment


def _env_of(target: dict[str, Any]) -> dict[str, str]:
    return (target.get("environment") or {}).get("env") or {}


def _require(call: Call, kind: str, found: list[str], param: str) -> None:
    for id in found:
        if call.store.get(kind, call.project_id, id) is None:
            raise bad_request(f"Invalid '{param}': no {kind} found with id '{id}'.", param=param)


_ALL, _ONE = "/agents/automations", "/agents/automations/{automation_id}"
_INVOCATIONS = f"{_ONE}/invocations"
ROUTES = (
    Route("GET", _ALL, list_automations, Access.PROJECT, beta=BETA),
    Route("POST", _ALL, create_automation, Access.PROJECT, beta=BETA),
    Route("GET", _ONE, retrieve_automation, Access.PROJECT, beta=BETA),
    Route("POST", _ONE, update_automation, Access.PROJECT, beta=BETA),
    Route("DELETE", _ONE, delete_automation, Access.PROJECT, beta=BETA),
    Route("POST", f"{_ONE}/pause", pause_automation, Access.PROJECT, beta=BETA),
    Route("POST", f"{_ONE}/resume", resume_automation, Access.PROJECT, beta=BETA),
    Route("GET", _INVOCATIONS, list_invocations, Access.PROJECT, beta=BETA),
    Route("POST", _INVOCATIONS, create_invocation, Access.PROJECT, beta=BETA),
    Route(
        "GET", f"{_INVOCATIONS}/{{invocation_id}}", retrieve_invocation, Access.PROJECT, beta=BETA
    ),
)
