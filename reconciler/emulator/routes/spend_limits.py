"""Spend limits: one for the organization and one for each project, or none."""

from __future__ import annotations

from typing import Any

from reconciler.emulator.audit import log
from reconciler.emulator.errors import not_found
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, Record
from reconciler.emulator.validation import choice, fields, integer

_SET = fields({"threshold_amount": integer(minimum=1), "currency": choice("USD"), "interval": choice("month")})


def retrieve(call: Call) -> dict[str, Any]:
    return _limit(call).body


def update(call: Call) -> dict[str, Any]:
    scope, what = _scope(call, to_change=True), _what(call)
    body = {"object": what, **call.json(_SET), "enforcement": {"status": "inactive"}}
    call.store.add("spend_limit", scope, body, id="spend_limit")
    log(call, f"{what}.updated", scope, project=_project(call))
    return body


def delete(call: Call) -> dict[str, Any]:
    call.store.remove(_limit(call, to_change=True))
    log(call, f"{_what(call)}.deleted", _scope(call), project=_project(call))
    return {"object": f"{_what(call)}.deleted", "deleted": True}


def _limit(call: Call, *, to_change: bool = False) -> Record:
    found = call.store.get("spend_limit", _scope(call, to_change=to_change), "spend_limit")
    if found is None:
        raise not_found("No spend limit is set.")
    return found


def _project(call: Call, *, to_change: bool = False) -> Record | None:
    return call.path_project(to_change=to_change) if "project_id" in call.params else None


def _scope(call: Call, *, to_change: bool = False) -> str:
    project = _project(call, to_change=to_change)
    return ORGANIZATION if project is None else project.id


def _what(call: Call) -> str:
    return "project.spend_limit" if "project_id" in call.params else "organization.spend_limit"


ROUTES = tuple(
    Route(method, path, handler, Access.ADMIN)
    for path in ("/organization/spend_limit", "/organization/projects/{project_id}/spend_limit")
    for method, handler in (("GET", retrieve), ("POST", update), ("DELETE", delete))
)
