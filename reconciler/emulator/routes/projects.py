"""Projects: created, renamed and archived, but never deleted or unarchived."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import world
from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION
from reconciler.emulator.validation import choice, fields, nullable, text

_RESIDENCY = choice(
    "GLOBAL",
    "US_STORAGE_PROCESSING",
    "EU_STORAGE_PROCESSING",
    "JP_STORAGE",
    "JP_STORAGE_PROCESSING",
    "KR_STORAGE",
    "CA_STORAGE",
    "SG_STORAGE",
    "IN_STORAGE",
    "IN_STORAGE_PROCESSING",
    "AU_STORAGE",
    "AU_STORAGE_PROCESSING",
    "GB_STORAGE",
    "AE_STORAGE",
    "AE_STORAGE_PROCESSING",
)
_NAME = text(minimum=1)
_CREATE = fields(
    {"name": _NAME}, {"residency": nullable(_RESIDENCY), "external_key_id": nullable(text())}
)
_MODIFY = fields({}, {"name": nullable(_NAME), "external_key_id": nullable(text())})


def list_projects(call: Call) -> dict[str, Any]:
    with_archived = call.query.boolean("include_archived")
    return call.list_answer(
        call.store.collection("project", ORGANIZATION),
        page_of(call.query, order=None, before=False),
        keep=lambda project: with_archived or project.body["status"] == "active",
    )


def create_project(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    project = world.add_project(call.store, sent.pop("name"), **sent)
    log(call, "project.created", project.id, project=project, data=_titled(project.body["name"]))
    return project.body


def retrieve_project(call: Call) -> dict[str, Any]:
    return call.path_project().body


def modify_project(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    sent = call.json(_MODIFY)
    project.body.update(sent)
    call.store.changed(project)
    changes = {"title": sent["name"]} if sent.get("name") else {}
    log(call, "project.updated", project.id, project=project, changes_requested=changes)
    return project.body


def archive_project(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    if project.id == world.default_project(call.store):
        raise bad_request(
            "The default project of an organization cannot be archived.", param="project_id"
        )
    project.body["status"] = "archived"
    project.body["archived_at"] = call.now
    call.store.changed(project)
    log(call, "project.archived", project.id, project=project)
    return project.body


def _titled(name: str) -> dict[str, Any]:
    # The audit log has a project's name under both `name` and `title`.
    return {"name": name, "title": name}


_ALL = "/organization/projects"
_ONE = "/organization/projects/{project_id}"
ROUTES = (
    Route("GET", _ALL, list_projects, Access.ADMIN),
    Route("POST", _ALL, create_project, Access.ADMIN),
    Route("GET", _ONE, retrieve_project, Access.ADMIN),
    Route("POST", _ONE, modify_project, Access.ADMIN),
    Route("POST", f"{_ONE}/archive", archive_project, Access.ADMIN),
)
