"""What an editor offers while somebody writes a manifest.

`offers` walks a schema as yaml-language-server does: it starts at the root, follows `$ref`, `allOf`, and of `if` the
branch that the unfinished document selects, and offers the properties of the map at the cursor.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.kinds import KINDS
from reconciler.manifests.schema import kind_schema, manifest_schema, stack_schema
from reconciler.model.kind import Declaration
from reconciler.model.sinks import sink_classes
from reconciler.rules import RULE_KINDS

ALL = {**KINDS, **RULE_KINDS}
MANIFEST = manifest_schema(ALL)
SINKS = {sink.name: sink for sink in sink_classes()}


def applicable(schema: Any, value: Any) -> Iterator[dict[str, Any]]:
    """The parts of a schema that say something about an unfinished value."""
    if not isinstance(schema, dict):
        return
    yield schema
    if "$ref" in schema:
        yield from applicable(MANIFEST["$defs"][schema["$ref"].split("/")[-1]], value)
    for part in schema.get("allOf", ()):
        yield from applicable(part, value)
    if "if" in schema:
        holds = Draft202012Validator(schema["if"]).is_valid(value)
        yield from applicable(schema.get("then" if holds else "else"), value)


def offers(document: Any, *path: str | int) -> dict[str, dict[str, Any]]:
    """The properties that an editor offers at a path of a document, with their schemas."""
    schemas, value = list(applicable(MANIFEST, document)), document
    for step in path:
        value = value[step]
        below = [
            schema.get("items")
            if isinstance(step, int)
            else schema.get("properties", {}).get(step, schema.get("additionalProperties"))
            for schema in schemas
        ]
        schemas = [part for schema in below for part in applicable(schema, value)]
    offered: dict[str, dict[str, Any]] = {}
    for schema in schemas:
        for name, part in schema.get("properties", {}).items():
            if isinstance(part, dict):
                offered.setdefault(name, part)
    return offered


def account(write_to: Any) -> dict[str, Any]:
    spec = {"key": {"write_to": write_to}}
    return {"kind": "ServiceAccount", "metadata": {"name": "a", "project": "b"}, "spec": spec}


def store(entry: Any) -> dict[str, Any]:
    metadata = {"name": "a", "project": "b"}
    return {"kind": "VectorStore", "metadata": metadata, "spec": {"files": [entry]}}


@pytest.mark.parametrize("kind", ALL.values(), ids=attrgetter("name"))
def test_the_title_of_a_schema_is_the_name_of_its_kind(kind: Declaration) -> None:
    assert kind_schema(kind, expressions=True)["title"] == kind.name
    assert MANIFEST["$defs"][kind.name]["title"] == kind.name


def test_an_empty_document_is_offered_every_kind() -> None:
    assert set(offers({})["kind"]["enum"]) == set(ALL)


@pytest.mark.parametrize("kind", ALL.values(), ids=attrgetter("name"))
def test_an_empty_spec_is_offered_every_field_of_its_kind_with_its_description(
    kind: Declaration,
) -> None:
    offered = offers({"kind": kind.name, "spec": {}}, "spec")
    assert set(offered) == {field.name for field in kind.fields}
    assert [name for name, part in offered.items() if not part.get("description")] == []


@pytest.mark.parametrize(
    ("write_to", "path"),
    [({}, ()), (None, ()), ([{}], (0,)), ([None], (0,))],
    ids=["map", "nothing", "list", "nothing in a list"],
)
def test_write_to_is_offered_every_sink_with_its_description(
    write_to: Any, path: tuple[int, ...]
) -> None:
    offered = offers(account(write_to), "spec", "key", "write_to", *path)
    assert {name: part["description"] for name, part in offered.items()} == {
        name: sink.description for name, sink in SINKS.items()
    }


@pytest.mark.parametrize("write_to", [{"vault": {}}, [{"vault": {}}]], ids=["map", "list"])
def test_a_sink_is_offered_its_fields_with_their_descriptions(write_to: Any) -> None:
    path = ("vault",) if isinstance(write_to, dict) else (0, "vault")
    offered = offers(account(write_to), "spec", "key", "write_to", *path)
    assert {"path", "field"} <= set(offered)
    assert [name for name, part in offered.items() if not part.get("description")] == []


def test_an_empty_entry_of_files_is_offered_both_forms_with_their_descriptions() -> None:
    offered = offers(store({}), "spec", "files", 0)
    assert {"path", "ignore", "allow_empty", "file_id", "attributes", "chunking_strategy"} == set(
        offered
    )
    assert [name for name, part in offered.items() if not part.get("description")] == []


@pytest.mark.parametrize(
    ("entry", "accepted"),
    [
        ({"path": "a/*.md", "ignore": ["b"]}, True),
        ({"file_id": "file-1", "attributes": {"team": "cx"}}, True),
        ({"path": "a/*.md", "file_id": "file-1"}, False),
        ({"file_id": "file-1", "ignore": ["b"]}, False),
        ({"attributes": {}}, False),
        ({"path": 1}, False),
        ({"path": "a", "allow_emtpy": True}, False),
    ],
)
def test_an_entry_of_files_has_one_form(entry: dict[str, Any], accepted: bool) -> None:
    assert Draft202012Validator(MANIFEST).is_valid(store(entry)) == accepted


def test_a_module_is_offered_its_source_and_variables() -> None:
    offered = offers({"kind": "Module", "metadata": {"name": "a"}, "spec": {}}, "spec")
    assert "module.yaml" in offered["source"]["description"]
    assert set(offered) == {"source", "variables"}


def branches(schema: Any) -> Iterator[dict[str, Any]]:
    """Every branch of an `anyOf`, except inside conditions, which editors do not show."""
    if isinstance(schema, dict):
        yield from schema.get("anyOf", ())
        for name, part in schema.items():
            if name not in ("if", "examples", "default"):
                yield from branches(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from branches(part)


@pytest.mark.parametrize("schema", [MANIFEST, stack_schema()], ids=["manifest", "stack"])
def test_every_alternative_has_a_title(schema: dict[str, Any]) -> None:
    assert [branch for branch in branches(schema) if not branch.get("title")] == []


@pytest.mark.parametrize(
    ("write_to", "accepted"),
    [
        ({"file": "secrets/a"}, True),
        ([{"file": "secrets/a"}, {"command": ["b"]}], True),
        ({"file": "secrets/a", "command": ["b"]}, False),
        ([{"file": "secrets/a", "command": ["b"]}], False),
        ({}, False),
        ([], False),
        ("${var.target}", True),
        ("secrets/a", False),
    ],
)
def test_each_entry_of_write_to_names_one_sink(write_to: Any, accepted: bool) -> None:
    assert Draft202012Validator(MANIFEST).is_valid(account(write_to)) == accepted


def test_no_map_of_alternatives_is_full_while_its_first_key_is_written() -> None:
    """Editors count the unfinished key, and offer nothing in a map that is full."""
    offered = offers(account({}), "spec", "key")["write_to"]
    assert "maxProperties" not in offered
    assert "maxProperties" not in offered["items"]


def test_a_name_that_begins_another_is_offered_fields_of_its_own_kind_only() -> None:
    """Editors accept the beginning of a constant while they complete, but not of a pattern."""
    conditions = [part["if"]["properties"]["kind"] for part in MANIFEST["allOf"]]
    assert [condition for condition in conditions if "const" in condition] == []
