"""Evals: data sources and criteria. Responses differ in form from requests. Runs are in `eval_runs.py`."""

from __future__ import annotations

import uuid
from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.graders import CRITERION
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import (
    anything,
    boolean,
    fields,
    invalid_value,
    listed,
    mapping,
    metadata,
    nullable,
    tagged,
    text,
)

_SOURCE = tagged(
    {
        "custom": fields(
            {"type": anything, "item_schema": mapping}, {"include_sample_schema": boolean()}
        ),
        "logs": fields({"type": anything}, {"metadata": mapping}),
        "stored_completions": fields({"type": anything}, {"metadata": mapping}),
    }
)
_CREATE = fields(
    {"data_source_config": _SOURCE, "testing_criteria": listed(CRITERION)},
    {"name": nullable(text()), "metadata": nullable(metadata)},
)
_UPDATE = fields({}, {"name": text(), "metadata": nullable(metadata)})
_SAMPLE = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "output_text": {"type": "string"},
        "choices": {"type": "array"},
    },
    "required": ["model", "choices"],
}


def list_evals(call: Call) -> dict[str, Any]:
    by = call.query.get("order_by") or "created_at"
    if by not in ("created_at", "updated_at"):
        raise invalid_value(by, "order_by", ("created_at", "updated_at"))
    return call.list_answer(
        call.store.collection("eval", call.project_id),
        page_of(call.query, order="asc", before=False),
    )


def create_eval(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    id = ids.fresh("eval")
    body = {
        "object": "eval",
        "id": id,
        "data_source_config": _shown_source(sent["data_source_config"]),
        "testing_criteria": [_shown_criterion(criterion) for criterion in sent["testing_criteria"]],
        "name": sent.get("name") or f"Eval {id[-6:]}",
        "created_at": call.now,
        "metadata": sent.get("metadata") or {},
    }
    return call.store.add("eval", call.project_id, body).body


def retrieve_eval(call: Call) -> dict[str, Any]:
    return find_eval(call).body


def update_eval(call: Call) -> dict[str, Any]:
    evaluation = find_eval(call)
    sent = call.json(_UPDATE)
    if "metadata" in sent:
        sent["metadata"] = sent["metadata"] or {}
    evaluation.body.update(sent)
    call.store.changed(evaluation)
    return evaluation.body


def delete_eval(call: Call) -> dict[str, Any]:
    evaluation = find_eval(call)
    for run in list(call.store.collection("eval_run", evaluation.id).ordered()):
        call.store.remove(run)
    call.store.remove(evaluation)
    return {"object": "eval.deleted", "deleted": True, "eval_id": evaluation.id}


def find_eval(call: Call) -> ObjectRow:
    """Return the eval in the path, or refuse."""
    return call.path_record("eval", call.project_id, "eval_id", "No eval found with id '{id}'.")


def _shown_source(sent: dict[str, Any]) -> dict[str, Any]:
    """The source as responses show it: one schema of items and, if requested, samples."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"item": sent.get("item_schema", {"type": "object"})},
    }
    if sent["type"] != "custom" or sent.get("include_sample_schema"):
        schema["properties"]["sample"] = _SAMPLE
    schema["required"] = list(schema["properties"])
    if sent["type"] == "custom":
        return {"type": "custom", "schema": schema}
    return {"type": sent["type"], "metadata": sent.get("metadata") or {}, "schema": schema}


def _shown_criterion(sent: dict[str, Any]) -> dict[str, Any]:
    shown = {**sent, "id": f"{sent['name']}-{uuid.uuid4()}"}
    if isinstance(sent.get("input"), list):
        shown["input"] = [_shown_message(message) for message in sent["input"]]
    return shown


def _shown_message(sent: dict[str, Any]) -> dict[str, Any]:
    content = sent["content"]
    if isinstance(content, str):
        content = {"type": "input_text", "text": content}
    return {"type": "message", "role": sent["role"], "content": content}


_ONE = "/evals/{eval_id}"
ROUTES = (
    Route("GET", "/evals", list_evals, Access.PROJECT),
    Route("POST", "/evals", create_eval, Access.PROJECT, status=201),
    Route("GET", _ONE, retrieve_eval, Access.PROJECT),
    Route("POST", _ONE, update_eval, Access.PROJECT),
    Route("DELETE", _ONE, delete_eval, Access.PROJECT),
)
