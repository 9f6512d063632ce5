"""The published description of the API, and the violations of it in recorded traffic.

The description comes from the path in RECONCILER_OPENAPI. The live API answers nulls where the description allows
none, and so does the emulator; that is the one general relaxation, and it covers nothing but a value that is null.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.emulator.recorder import RequestRecord

DESCRIPTION = os.environ.get("RECONCILER_OPENAPI")
needs_description = pytest.mark.skipif(
    not DESCRIPTION, reason="RECONCILER_OPENAPI names no published description"
)

# Where the live API was recorded to differ from the description in more than a null: path, and what the error says.
RECORDED_DIFFERENCES = [
    (r"/vector_stores/[^/]+/file_batches", "'vector_store.file_batch' is not one of"),
    (r"/fine_tuning/jobs", r"error: {} is not valid under any of the given schemas"),
    (r"/chat/completions/[^/]+/messages", "'user' is not one of ['assistant']"),
    *(
        (r"/threads/[^/]+/messages", f"'{name}' is a required property")
        for name in ("status", "completed_at", "incomplete_at", "incomplete_details")
    ),
    # The description is older than these events.
    (r"/organization/audit_logs", "'external_storage.registered' is not one of"),
    (r"/organization/audit_logs", "'external_storage.removed' is not one of"),
]


class Description:
    """The published description, with the operation of a request and the mistakes in a value."""

    def __init__(self, path: str) -> None:
        self.document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        self.paths = {
            re.compile(re.sub(r"\{[^}]+\}", "[^/]+", template)): item
            for template, item in self.document["paths"].items()
        }

    def operation(self, record: RequestRecord) -> dict[str, Any] | None:
        matching = [item for pattern, item in self.paths.items() if pattern.fullmatch(record.path)]
        for item in matching:
            if record.method.lower() in item:
                return item[record.method.lower()]  # type: ignore[no-any-return]
        return None

    def mistakes(self, value: Any, schema: dict[str, Any]) -> list[str]:
        rooted = {**schema, "components": self.document["components"]}
        errors = jsonschema.Draft202012Validator(rooted).iter_errors(value)
        return [
            f"{error.json_path}: {error.message}" for error in errors if not is_about_null(error)
        ]


def is_about_null(error: jsonschema.ValidationError) -> bool:
    """Say whether a mistake is that a value is null, also where it may have one of several shapes."""
    if error.instance is None:
        return True
    branches: dict[Any, list[jsonschema.ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    return any(all(is_about_null(inner) for inner in errors) for errors in branches.values())


def mistakes_in_requests(records: Iterable[RequestRecord], description: Description) -> list[str]:
    """What the accepted JSON bodies have against the description; multipart bodies are not looked into."""
    return [
        f"{record.method} {record.path} {mistake}"
        for record in records
        if record.status in (200, 201) and record.request_body is not None
        for operation in [description.operation(record)]
        if operation is not None and "requestBody" in operation
        for mistake in description.mistakes(
            record.request_body, operation["requestBody"]["content"]["application/json"]["schema"]
        )
    ]


def mistakes_in_answers(records: Iterable[RequestRecord], description: Description) -> list[str]:
    """What the answers have against the description, recorded differences apart."""
    return [
        f"{record.method} {record.path} {record.status} {mistake}"
        for record in records
        if record.response_body is not None
        for schema in [answer_schema(record, description)]
        if schema is not None
        for mistake in description.mistakes(record.response_body, schema)
        if not is_recorded_difference(record, mistake)
    ]


def unknown_parameters(records: Iterable[RequestRecord], description: Description) -> list[str]:
    """Query parameters that an operation does not have."""
    found = []
    for record in records:
        operation = description.operation(record)
        known = {
            item["name"]
            for item in (operation or {}).get("parameters", ())
            if item["in"] == "query"
        }
        # A parameter that is an object is sent as one for each of its parts: `effective_at[gte]`.
        sent = {name: name.partition("[")[0] for name in record.query}
        unknown = [name for name, whole in sent.items() if not {name, whole} & known]
        found += [f"{record.method} {record.path} {name}" for name in unknown if operation]
    return found


def answer_schema(record: RequestRecord, description: Description) -> dict[str, Any] | None:
    operation = description.operation(record)
    if operation is None or re.fullmatch("/files/[^/]+/content", record.path):
        return None
    if record.status not in (200, 201):
        return {"$ref": "#/components/schemas/ErrorResponse"}
    content = operation["responses"][str(record.status)].get("content", {})
    return content["application/json"]["schema"] if "application/json" in content else None


def is_recorded_difference(record: RequestRecord, mistake: str) -> bool:
    return any(
        re.match(path, record.path) and text in mistake for path, text in RECORDED_DIFFERENCES
    )
