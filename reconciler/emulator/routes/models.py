"""Models: a fixed catalogue and the project's fine-tuned models, in one response without pages.

See `emulator/models.py` for the catalogue. Only fine-tuned models can be deleted.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator.errors import forbidden, not_found
from reconciler.emulator.models import BY_ID, MODELS
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow


def list_models(call: Call) -> dict[str, Any]:
    own = [record.body for record in call.store.collection("model", call.project_id).ordered()]
    return {"object": "list", "data": [*(model.as_json() for model in MODELS), *own]}


def retrieve_model(call: Call) -> dict[str, Any]:
    own = _own(call)
    return own.body if own is not None else BY_ID[call.params["model"]].as_json()


def delete_model(call: Call) -> dict[str, Any]:
    own = _own(call)
    if own is None:
        raise forbidden(
            f"The model '{call.params['model']}' cannot be deleted: only fine-tuned models of your own can."
        )
    return call.removed(own, "model")


def _own(call: Call) -> ObjectRow | None:
    """The fine-tuned model in the path; None for a model of the catalogue."""
    id = call.params["model"]
    own = call.store.get("model", call.project_id, id)
    if own is None and id not in BY_ID:
        raise not_found(f"The model '{id}' does not exist", param="model", code="model_not_found")
    return own


ROUTES = (
    Route("GET", "/models", list_models, Access.PROJECT),
    Route("GET", "/models/{model}", retrieve_model, Access.PROJECT),
    Route("DELETE", "/models/{model}", delete_model, Access.PROJECT),
)
