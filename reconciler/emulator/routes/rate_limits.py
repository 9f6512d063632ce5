"""Rate limits of a project: one row per model, which can be changed but not created or deleted."""

from __future__ import annotations

from typing import Any

from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.models import BY_ID, LIMIT_FIELDS, MAXIMUM_FACTOR, MODELS, POSITIONS, Model
from reconciler.emulator.paging import Listing, envelope, page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import Record
from reconciler.emulator.validation import fields, integer

_PREFIX = "rl-"
_UPDATE = fields({}, {name: integer(minimum=0) for name in LIMIT_FIELDS})


def list_rate_limits(call: Call) -> dict[str, Any]:
    project = call.path_project()
    rows = Listing(MODELS, lambda cursor: POSITIONS.get(cursor.removeprefix(_PREFIX)))
    found, more = rows.cut(page_of(call.query, default=100, maximum=None, order=None))
    return envelope([_row(project, model) for model in found], more)


def update_rate_limit(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    id = call.params["rate_limit_id"]
    model = BY_ID.get(id.removeprefix(_PREFIX)) if id.startswith(_PREFIX) else None
    if model is None:
        code = "rate_limit_does_not_exist_for_org_and_model"
        raise not_found(f"No rate limit found with id '{id}'.", param="rate_limit_id", code=code)
    sent = call.json(_UPDATE)
    for name, value in sent.items():
        _check_fits(model, name, value)
    project.hidden["limits"].setdefault(model.id, {}).update(sent)
    call.store.changed(project)
    log(call, "rate_limit.updated", id, project=project, changes_requested=sent)
    return _row(project, model)


def _check_fits(model: Model, name: str, value: int) -> None:
    if name not in model.limits:
        raise bad_request(f"'{name}' does not apply to model '{model.id}'.", param=name)
    maximum = model.limits[name] * MAXIMUM_FACTOR
    if value > maximum:
        raise bad_request(
            f"Invalid '{name}': {value} is above the organization's limit of {maximum} for model '{model.id}'.",
            param=name,
        )


def _row(project: Record, model: Model) -> dict[str, Any]:
    # Only changed rows are stored, so that thousands of projects cost nothing.
    changed = project.hidden["limits"].get(model.id, {})
    identity = {"object": "project.rate_limit", "id": _PREFIX + model.id, "model": model.id}
    return {**identity, **model.limits, **changed}


_ALL = "/organization/projects/{project_id}/rate_limits"
ROUTES = (
    Route("GET", _ALL, list_rate_limits, Access.ADMIN),
    Route("POST", f"{_ALL}/{{rate_limit_id}}", update_rate_limit, Access.ADMIN),
)
