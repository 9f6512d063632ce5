"""Rate limits of a project: one row per model, which can be changed but not created or deleted."""

from __future__ import annotations

from typing import Any

from reconciler.emulator.audit import log
from reconciler.emulator.errors import ErrorAnswer, bad_request, not_found
from reconciler.emulator.models import BY_ID, LIMIT_FIELDS, MAXIMUM_FACTOR, MODELS, POSITIONS, Model
from reconciler.emulator.paging import Listing, envelope, page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import fields, integer

_PREFIX = "rl-"
_UPDATE = fields({}, {name: integer(minimum=0) for name in LIMIT_FIELDS})


def list_rate_limits(call: Call) -> dict[str, Any]:
    project = call.path_project()
    page = page_of(call.query, default=100, maximum=None, order=None)
    loaded = _loaded_rows(call, project)
    if loaded is not None:
        places = {row["id"]: at for at, row in enumerate(loaded)}
        rows, more = Listing(loaded, places.get).cut(page)
        return envelope([_changed(project, row) for row in rows], more)
    models = Listing(MODELS, lambda cursor: POSITIONS.get(cursor.removeprefix(_PREFIX)))
    found, more = models.cut(page)
    return envelope([_row(project, model) for model in found], more)


def update_rate_limit(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    id = call.params["rate_limit_id"]
    loaded = _loaded_rows(call, project)
    if loaded is not None:
        return _update_loaded(call, project, id, loaded)
    model = BY_ID.get(id.removeprefix(_PREFIX)) if id.startswith(_PREFIX) else None
    if model is None:
        raise _unknown(id)
    sent = call.json(_UPDATE)
    for name, value in sent.items():
        _check_fits(model, name, value)
    project.hidden["limits"].setdefault(model.id, {}).update(sent)
    call.store.changed(project)
    log(call, "rate_limit.updated", id, project=project, changes_requested=sent)
    return _row(project, model)


def _unknown(id: str) -> ErrorAnswer:
    code = "rate_limit_does_not_exist_for_org_and_model"
    return not_found(f"No rate limit found with id '{id}'.", param="rate_limit_id", code=code)


def _loaded_rows(call: Call, project: ObjectRow) -> list[dict[str, Any]] | None:
    """The rows of a loaded organization; None unless some were loaded.

    A project that is created afterwards gets the rows of the oldest project that has any.
    """
    if "rows" in project.hidden:
        rows: list[dict[str, Any]] = project.hidden["rows"]
        return rows
    projects = call.store.collection("project", ORGANIZATION).ordered()
    return next((one.hidden["rows"] for one in projects if "rows" in one.hidden), None)


def _update_loaded(
    call: Call, project: ObjectRow, id: str, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Update a loaded row. The highest limits of the organization are not known."""
    row = next((row for row in rows if row["id"] == id), None)
    if row is None:
        raise _unknown(id)
    sent = call.json(_UPDATE)
    for name in sent:
        if name not in row:
            raise bad_request(f"'{name}' does not apply to model '{row['model']}'.", param=name)
    project.hidden["limits"].setdefault(row["model"], {}).update(sent)
    call.store.changed(project)
    log(call, "rate_limit.updated", id, project=project, changes_requested=sent)
    return _changed(project, row)


def _changed(project: ObjectRow, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **project.hidden["limits"].get(row["model"], {})}


def _check_fits(model: Model, name: str, value: int) -> None:
    if name not in model.limits:
        raise bad_request(f"'{name}' does not apply to model '{model.id}'.", param=name)
    maximum = model.limits[name] * MAXIMUM_FACTOR
    if value > maximum:
        raise bad_request(
            f"Invalid '{name}': {value} is above the organization's limit of {maximum} for model '{model.id}'.",
            param=name,
        )


def _row(project: ObjectRow, model: Model) -> dict[str, Any]:
    # Only changed rows are stored, so that thousands of projects cost nothing.
    changed = project.hidden["limits"].get(model.id, {})
    identity = {"object": "project.rate_limit", "id": _PREFIX + model.id, "model": model.id}
    return {**identity, **model.limits, **changed}


_ALL = "/organization/projects/{project_id}/rate_limits"
ROUTES = (
    Route("GET", _ALL, list_rate_limits, Access.ADMIN),
    Route("POST", f"{_ALL}/{{rate_limit_id}}", update_rate_limit, Access.ADMIN),
)
