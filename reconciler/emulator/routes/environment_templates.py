"""Environment templates (beta): the initial contents of an agent's hosted environment.

An omitted field keeps its value, a given one is replaced as a whole, null resets it. Variables and
setup commands are write-only.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator import hosted, ids
from reconciler.emulator.paging import page_of
from reconciler.emulator.routes.agents import BETA
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import fields, nullable, text

_BODY = fields({}, {"name": nullable(text()), **hosted.CHECKS})
_DEFAULTS: dict[str, Any] = {
    "capability_directories": [],
    "desktop": {"enabled": False},
    "files": [],
    "network": {"access": "enabled"},
    "packages": {},
    "plugins": [],
    "skills": [],
}


def list_templates(call: Call) -> dict[str, Any]:
    found = call.store.collection("environment_template", call.project_id)
    return call.list_answer(found, page_of(call.query, before=False))


def create_template(call: Call) -> dict[str, Any]:
    sent = call.json(_BODY)
    body = {
        "id": ids.fresh("environment_template"),
        "object": "agent.environment.template",
        "created_at": call.now,
        "updated_at": call.now,
        "name": None,
        **{name: hosted.shown(name, value) for name, value in _DEFAULTS.items()},
    }
    template = call.store.add(
        "environment_template", call.project_id, body, env={}, setup_commands=[]
    )
    _take(template, sent)
    return template.body


def retrieve_template(call: Call) -> dict[str, Any]:
    return _template(call).body


def update_template(call: Call) -> dict[str, Any]:
    template = _template(call)
    _take(template, call.json(_BODY))
    template.body["updated_at"] = call.now
    call.store.changed(template)
    return template.body


def delete_template(call: Call) -> dict[str, Any]:
    return call.removed(_template(call), "agent.environment.template.deleted")


def _template(call: Call) -> ObjectRow:
    refusal = "No environment template found with id '{id}'."
    return call.path_record(
        "environment_template", call.project_id, "environment_template_id", refusal
    )


def _take(template: ObjectRow, sent: dict[str, Any]) -> None:
    for name, value in sent.items():
        if name in hosted.CONFIDENTIAL:
            template.hidden[name] = value or type(template.hidden[name])()
        else:
            template.body[name] = hosted.shown(
                name, _DEFAULTS.get(name) if value is None else value
            )


_ALL = "/agents/environments/templates"
_ONE = "/agents/environments/templates/{environment_template_id}"
ROUTES = (
    Route("GET", _ALL, list_templates, Access.PROJECT, beta=BETA),
    Route("POST", _ALL, create_template, Access.PROJECT, beta=BETA),
    Route("GET", _ONE, retrieve_template, Access.PROJECT, beta=BETA),
    Route("POST", _ONE, update_template, Access.PROJECT, beta=BETA),
    Route("DELETE", _ONE, delete_template, Access.PROJECT, beta=BETA),
)
