"""Who uses an endpoint: kinds and checks with the calls that they declare, commands, and what makes calls of its own.

Declarations speak for themselves. For the rest there is a line here. Whoever it is, `test_coverage` insists on a test
in which our own client makes that call.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from reconciler.api.spending import TYPES
from reconciler.kinds import KINDS
from reconciler.model.kind import Kind
from reconciler.model.types import BundleType, FileSetType, KeySinkType, LocalFileType
from reconciler.render.calls import calls_in, calls_of
from reconciler.rules.operations import OPERATIONS
from tests.coverage.endpoints import Endpoint, all_endpoints, form_of

COMMANDS = {
    "GET /organization/costs": "`reconciler costs`",
    "GET /organization/audit_logs": "`reconciler audit`, `drift --blame`, plans that read only what moved",
    **{f"GET /organization/usage/{type}": f"`reconciler usage --type {type}`" for type in TYPES},
    "GET /models": "tells a kind that is retired from a key that does not work",
    "GET /chat/completions": "`Retention`",
    "GET /chat/completions/{completion_id}": "`Retention`",
    "DELETE /chat/completions/{completion_id}": "`Retention`",
}
"""What commands call, and what rules remove that no manifest declares."""

_UPLOADS = (
    "POST /files",
    "DELETE /files/{file_id}",
    "POST /uploads",
    "POST /uploads/{upload_id}/parts",
    "POST /uploads/{upload_id}/complete",
    "POST /uploads/{upload_id}/cancel",
)
CARRIED = {
    LocalFileType: _UPLOADS,
    FileSetType: (
        *_UPLOADS,
        "GET /files",
        "GET /files/{file_id}",
        "GET {collection}/{id}/files",
        "POST {collection}/{id}/files",
        "GET {collection}/{id}/files/{file_id}",
        "POST {collection}/{id}/files/{file_id}",
        "DELETE {collection}/{id}/files/{file_id}",
        "POST {collection}/{id}/file_batches",
        "GET {collection}/{id}/file_batches/{batch_id}",
        "GET {collection}/{id}/file_batches/{batch_id}/files",
    ),
    BundleType: ("GET {collection}/{id}/content", "POST {collection}/{id}/versions"),
    KeySinkType: (
        "POST {collection}/{id}/api_keys",
        "GET {parent}/api_keys",
        "GET {parent}/api_keys/{key_id}",
        "DELETE {parent}/api_keys/{key_id}",
    ),
}
"""The calls of fields that have calls of their own, by the type of the field; below the object, or beside its list."""


NO_USE = {
    "POST /chat/completions/{completion_id}": "what a check stores it removes again",
    "GET /files/{file_id}/content": "a file is compared by its digest, and most purposes allow no download",
    "POST /evals/{eval_id}/runs/{run_id}": "a run is cancelled at the path that the official client uses",
    "GET /evals/{eval_id}/runs/{run_id}/output_items": "a run is judged by its counts",
    "GET /evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}": "a run is judged by its counts",
    "GET /fine_tuning/jobs/{fine_tuning_job_id}/checkpoints": "permissions name their checkpoint themselves",
    "POST /vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel": "what is attached is wanted",
}
"""Endpoints of the published description that the emulator serves and nothing of ours calls, and why."""


def users_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Who uses an endpoint, each in words."""
    return tuple(_users().get(endpoint.form, {}))


def kinds_of(endpoint: Endpoint) -> frozenset[str]:
    """The names of the kinds that declare a call of an endpoint."""
    declared = {
        name
        for name, kind in KINDS.items()
        for _, call in calls_of(kind)
        if form_of(call) == endpoint.form
    }
    return frozenset(declared)


def call_forms_of_kinds() -> set[str]:
    """The calls that kinds declare, apart from those of single fields."""
    return {form_of(call) for kind in KINDS.values() for _, call in calls_of(kind)}


@cache
def _users() -> dict[str, dict[str, None]]:
    found: dict[str, dict[str, None]] = {}
    for call, user in _uses():
        found.setdefault(form_of(call), {})[user] = None
    return found


def _uses() -> Iterator[tuple[str, str]]:
    for kind in KINDS.values():
        yield from ((call, f"`{kind.name}`: {word}") for word, call in calls_of(kind))
        yield from _of_fields(kind)
    for operation in OPERATIONS.values():
        yield from ((call, f"`Check`: `{operation.name}`") for call in calls_in(operation))
    yield from COMMANDS.items()


def _of_fields(kind: Kind) -> Iterator[tuple[str, str]]:
    for field in kind.own_calls:
        if isinstance(field.type, KeySinkType) and field.type.shown_in:
            continue  # the create itself shows it
        for call in CARRIED[type(field.type)]:
            filled = call.replace("{collection}", kind.collection).replace(
                "{parent}", kind.collection.rpartition("/")[0]
            )
            yield filled, f"`{kind.name}.{field.name}`"


def unknown_uses() -> list[str]:
    """What somebody is said to use, and no endpoint is."""
    known = {endpoint.form for endpoint in all_endpoints()}
    return sorted(form for form in _users() if form not in known)
