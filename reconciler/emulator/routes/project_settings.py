"""Settings of a project, one object each: allowed models, hosted tools and service tiers."""

from __future__ import annotations

from typing import Any

from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import Check, boolean, choice, fields, listed, nullable, text

_MODELS = fields({"mode": choice("allow_list", "deny_list"), "model_ids": listed(text(minimum=1))})
_TOOLS = ("file_search", "web_search", "image_generation", "mcp", "code_interpreter")
_SWITCHES = fields({}, {tool: nullable(fields({"enabled": boolean()})) for tool in _TOOLS})


def _all_or(item: Check) -> Check:
    return lambda value, place: value if value == "all" else listed(item)(value, place)


_TIERS = fields(
    {},
    {
        "default": choice("standard", "fast", "scale"),
        "enabled_tiers": _all_or(choice("flex", "fast", "ultrafast")),
    },
)


def retrieve_models(call: Call) -> dict[str, Any]:
    return _models(call).body


def set_models(call: Call) -> dict[str, Any]:
    return _set(
        call, "model_permissions", {"object": "project.model_permissions", **call.json(_MODELS)}
    )


def delete_models(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    call.store.remove(_models(call))
    log(
        call,
        "project.updated",
        project.id,
        project=project,
        changes_requested={"model_permissions": None},
    )
    return {"object": "project.model_permissions.deleted", "deleted": True}


def retrieve_tools(call: Call) -> dict[str, Any]:
    stored = call.store.get(
        "hosted_tool_permissions", call.path_project().id, "hosted_tool_permissions"
    )
    return {tool: {"enabled": True} for tool in _TOOLS} if stored is None else stored.body


def set_tools(call: Call) -> dict[str, Any]:
    sent = {tool: switch for tool, switch in call.json(_SWITCHES).items() if switch is not None}
    return _set(call, "hosted_tool_permissions", {**retrieve_tools(call), **sent})


def retrieve_tiers(call: Call) -> dict[str, Any]:
    stored = call.store.get(
        "service_tier_settings", call.path_project().id, "service_tier_settings"
    )
    usual = {
        "object": "project.service_tier_settings",
        "default": "standard",
        "enabled_tiers": "all",
    }
    return usual if stored is None else stored.body


def set_tiers(call: Call) -> dict[str, Any]:
    sent = call.json(_TIERS)
    if not sent:
        raise bad_request(
            "At least one of 'default' and 'enabled_tiers' is required.", param="default"
        )
    return _set(call, "service_tier_settings", {**retrieve_tiers(call), **sent})


def _models(call: Call) -> ObjectRow:
    record = call.store.get("model_permissions", call.path_project().id, "model_permissions")
    if record is None:
        raise not_found("No model permissions are set.")
    return record


def _set(call: Call, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    call.store.add(kind, project.id, body, id=kind)
    # These settings have no audit event of their own; the log shows an update of the project.
    changes = {name: value for name, value in body.items() if name != "object"}
    log(call, "project.updated", project.id, project=project, changes_requested={kind: changes})
    return body


_BASE = "/organization/projects/{project_id}"
ROUTES = (
    Route("GET", f"{_BASE}/model_permissions", retrieve_models, Access.ADMIN),
    Route("POST", f"{_BASE}/model_permissions", set_models, Access.ADMIN),
    Route("DELETE", f"{_BASE}/model_permissions", delete_models, Access.ADMIN),
    Route("GET", f"{_BASE}/hosted_tool_permissions", retrieve_tools, Access.ADMIN),
    Route("POST", f"{_BASE}/hosted_tool_permissions", set_tools, Access.ADMIN),
    Route("GET", f"{_BASE}/service_tier_settings", retrieve_tiers, Access.ADMIN),
    Route("POST", f"{_BASE}/service_tier_settings", set_tiers, Access.ADMIN),
)
