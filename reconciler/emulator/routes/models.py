"""Models: a fixed catalogue, in one answer without pages; see `emulator/models.py` for what is in it."""

from __future__ import annotations

from typing import Any

from reconciler.emulator.errors import forbidden, not_found
from reconciler.emulator.models import BY_ID, MODELS, Model
from reconciler.emulator.routing import Access, Call, Route


def list_models(call: Call) -> dict[str, Any]:  # noqa: ARG001 - the same for everyone
    return {"object": "list", "data": [model.as_json() for model in MODELS]}


def retrieve_model(call: Call) -> dict[str, Any]:
    return _model(call).as_json()


def delete_model(call: Call) -> dict[str, Any]:
    model = _model(call)
    raise forbidden(f"The model '{model.id}' cannot be deleted: only fine-tuned models of your own can.")


def _model(call: Call) -> Model:
    id = call.params["model"]
    if id not in BY_ID:
        raise not_found(f"The model '{id}' does not exist", param="model", code="model_not_found")
    return BY_ID[id]


ROUTES = (
    Route("GET", "/models", list_models, Access.PROJECT),
    Route("GET", "/models/{model}", retrieve_model, Access.PROJECT),
    Route("DELETE", "/models/{model}", delete_model, Access.PROJECT),
)
