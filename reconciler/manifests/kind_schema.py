"""The JSON Schema of the documents of a kind."""

from __future__ import annotations

from typing import Any

from reconciler.manifests.load import load_documents
from reconciler.manifests.nulls import may_be_null
from reconciler.manifests.problems import Problems
from reconciler.manifests.type_schema import (
    DIALECT,
    EXPRESSION_TEXT,
    NAME_SCHEMA,
    NOT_GIVEN,
    SinkClasses,
    described,
    field_markdown,
    id_schema,
    is_json,
    type_schema,
    value_or_expression,
)
from reconciler.model.kind import Declaration, Field, Kind, OnRemove, ScopeType
from reconciler.model.sinks import sink_classes
from reconciler.model.types import Text

API_VERSION = "reconciler/v1"


def kind_schema(
    kind: Declaration, *, expressions: bool, sinks: SinkClasses = sink_classes
) -> dict[str, Any]:
    """The schema of one document. `sinks` are the destinations that a key can have."""
    document = document_schema(kind, expressions=expressions, sinks=sinks)
    return {"$schema": DIALECT, **document}


def document_schema(
    kind: Declaration, *, expressions: bool, sinks: SinkClasses = sink_classes
) -> dict[str, Any]:
    """The same schema, as a part of a larger one."""
    properties = {
        "apiVersion": {
            "const": API_VERSION,
            "description": "The version of this format. Optional.",
        },
        "kind": {"const": kind.name, "description": kind.doc},
        "metadata": _metadata(kind, expressions=expressions),
        "for_each": _for_each(),
        "when": _when(),
        "spec": _spec(kind, expressions=expressions, sinks=sinks),
    }
    # A rule has no object, and so no lifecycle.
    if isinstance(kind, Kind):
        properties["lifecycle"] = _lifecycle(kind, expressions=expressions)
    return {
        "title": kind.name,
        "type": "object",
        "description": kind.doc,
        "markdownDescription": _kind_markdown(kind),
        "properties": properties,
        "required": ["kind", "metadata", "spec"],
        "additionalProperties": False,
    }


def _metadata(kind: Declaration, *, expressions: bool) -> dict[str, Any]:
    name = {
        "description": "The name in this configuration: letters, digits, '.', '_' and '-'.",
        **NAME_SCHEMA,
    }
    where = {
        "description": "The project that it belongs to: a declared Project, or an entry of the stack's projects."
    }
    properties = {"name": _or_expression(name, expressions)}
    if kind.scope is not ScopeType.ORGANIZATION:
        properties["project"] = _or_expression({**where, **NAME_SCHEMA}, expressions)
    return {
        "type": "object",
        "description": "The name in this configuration, and the project.",
        "properties": properties,
        "required": ["name", "project"] if kind.scope is ScopeType.PROJECT else ["name"],
        "additionalProperties": False,
    }


def _or_expression(schema: dict[str, Any], expressions: bool) -> dict[str, Any]:
    if not expressions:
        return schema
    # The limits apply to the value only, and the type and the description to both branches.
    rest = dict(schema)
    limits: dict[str, Any] = {}
    for keyword in ("pattern", "patternErrorMessage", "maxLength"):
        if keyword in rest:
            limits[keyword] = rest.pop(keyword)
    return {**rest, "anyOf": value_or_expression(limits)}


def _for_each() -> dict[str, Any]:
    return {
        "description": "Creates one resource per entry of a map or list of strings; at most 10,000.",
        "markdownDescription": "Creates one resource per entry of a map or list of strings; at most 10,000. "
        "`${each.key}` and `${each.value}` insert the key and the value of the entry.",
        # A map or a list is checked again once its expressions are evaluated.
        "type": ["object", "array", "string"],
        "items": {"type": "string"},
        "uniqueItems": True,
        "pattern": EXPRESSION_TEXT["pattern"],
        "patternErrorMessage": "Expected a map, a list of strings, or one expression.",
    }


def _when() -> dict[str, Any]:
    return {
        "description": "Whether the document exists: true, false, or an expression.",
        "markdownDescription": "Whether the document exists: `true`, `false`, or an expression such "
        "as `${var.production}`. With `for_each`, it decides for each entry.",
        "type": ["boolean", "string"],
        **_only_expression(),
    }


def _spec(kind: Declaration, *, expressions: bool, sinks: SinkClasses) -> dict[str, Any]:
    examples = _example_spec(kind)
    properties = {}
    for field in kind.fields:
        properties[field.name] = _field(
            field,
            examples.get(field.name, NOT_GIVEN),
            expressions=expressions,
            pasted=isinstance(kind, Kind),
            sinks=sinks,
        )
    return {
        "type": "object",
        "description": "The fields, with the API's names.",
        "properties": properties,
        "required": [field.name for field in kind.fields if field.required],
        "additionalProperties": False,
    }


def _field(
    field: Field, example: Any, *, expressions: bool, pasted: bool, sinks: SinkClasses
) -> dict[str, Any]:
    nullable = field.nullable or (pasted and may_be_null(field))
    schema = type_schema(
        field.type, expressions=expressions, nullable=nullable, pasted=pasted, sinks=sinks
    )
    notes = described(field.doc, field_markdown(field))
    if is_json(field.default):
        notes["default"] = field.default
    if example is not NOT_GIVEN:
        notes["examples"] = [example]
    return {**notes, **schema}


def _lifecycle(kind: Kind, *, expressions: bool) -> dict[str, Any]:
    def flag(doc: str) -> dict[str, Any]:
        if expressions:
            accepted = {"type": ["boolean", "string"], **_only_expression()}
        else:
            accepted = {"type": "boolean"}
        return {**described(doc), **accepted}

    choices = type_schema(Text(choices=tuple(OnRemove)), expressions=expressions)
    written = ""
    if kind.parents:
        written = f", in the form {' or '.join(f'`{form}`' for form in kind.id_forms)}"
    ignored = "Fields to ignore once the object exists: paths such as `tools[0].name`, or `all`."
    return {
        "type": "object",
        "description": "How to handle changes to this resource.",
        "properties": {
            "prevent_destroy": flag("Refuse any plan that would delete or replace the object."),
            "ignore_changes": {
                **described(ignored),
                # The pattern applies to a text only, which is the word all or an expression.
                "type": ["array", "string"],
                "items": {"type": "string", "minLength": 1},
                "pattern": r"^all$|\$\{" if expressions else "^all$",
                "patternErrorMessage": "Expected a list of field paths, or the word all.",
            },
            "on_remove": {
                **described("What happens to the object when this declaration is removed."),
                "default": str(kind.on_remove),
                **choices,
            },
            "adopt": {
                **described(
                    f"Adopt an existing object: true for the one with the same natural key, or its id{written}."
                ),
                "type": ["boolean", "string"],
                **({"minLength": 1} if expressions else id_schema(kind.id_forms)),
            },
            "create_before_destroy": flag(
                "On replacement, create the new object before deleting the old one."
            ),
            "strict": flag(
                "Also keep fields that the manifest does not set at the API's default, as far as it is known."
            ),
            "renamed_from": {
                **described("The earlier address of this resource; the resource keeps its object."),
                "type": "string",
                "examples": [f"{kind.name}/old-name"],
            },
        },
        "additionalProperties": False,
    }


def _only_expression() -> dict[str, Any]:
    return {
        "pattern": EXPRESSION_TEXT["pattern"],
        "patternErrorMessage": "Expected true, false, or an expression.",
    }


def _example_spec(kind: Declaration) -> dict[str, Any]:
    documents = load_documents(kind.example, kind.name, Problems())
    return dict(documents[0].value.get("spec") or {}) if documents else {}


def _kind_markdown(kind: Declaration) -> str:
    retired = f"\n\n{kind.retirement.sentence}" if kind.retirement else ""
    return f"**{kind.name}**: {kind.doc}{retired}\n\n```yaml\n{kind.example}```"
