"""The schemas are valid, equal to the committed ones, and satisfied by every manifest of this repository."""

from __future__ import annotations

import json
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.kinds import KINDS as OBJECT_KINDS
from reconciler.manifests.load import load_documents
from reconciler.manifests.module_schema import module_schema
from reconciler.manifests.problems import Problems
from reconciler.manifests.schema import (
    kind_schema,
    main,
    manifest_schema,
    schema_files,
    stack_schema,
    write_schemas,
)
from reconciler.model.kind import Declaration as Kind
from reconciler.rules import RULE_KINDS

KINDS = {**OBJECT_KINDS, **RULE_KINDS}
REPOSITORY = Path(__file__).parents[2]
EXAMPLES = sorted(
    path for path in (REPOSITORY / "examples").rglob("*.yaml") if "secrets" not in path.parts
)
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))


def documents(text: str) -> list[Any]:
    return [document.value for document in load_documents(text, "a.yaml", Problems())]


def errors(schema: dict[str, Any], value: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


def fields_of(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield from (
            part for part in schema.get("properties", {}).values() if isinstance(part, dict)
        )
        for part in schema.values():
            yield from fields_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from fields_of(part)


@pytest.mark.parametrize(
    ("name", "text"), schema_files(KINDS).items(), ids=schema_files(KINDS).keys()
)
def test_the_committed_schemas_are_those_of_the_kinds(name: str, text: str) -> None:
    path = REPOSITORY / "schemas" / name
    assert path.exists(), f"schemas/{name} is missing: run `make schemas`"
    assert path.read_text(encoding="utf-8") == text, (
        f"schemas/{name} is outdated: run `make schemas`"
    )


def test_no_schema_of_a_removed_kind_is_committed() -> None:
    committed = {path.name for path in (REPOSITORY / "schemas").iterdir()}
    assert committed - schema_files(KINDS).keys() == set(), "remove these files from schemas/"


@pytest.mark.parametrize("text", schema_files(KINDS).values(), ids=schema_files(KINDS).keys())
def test_every_schema_is_a_valid_schema(text: str) -> None:
    Draft202012Validator.check_schema(json.loads(text))


@every_kind
@pytest.mark.parametrize("expressions", [True, False])
def test_the_example_of_a_kind_satisfies_its_schema(kind: Kind, expressions: bool) -> None:
    schema = kind_schema(kind, expressions=expressions)
    assert [
        errors(schema, document)
        for document in documents(kind.example)
        if document["kind"] == kind.name
    ] == [[]]


@pytest.mark.parametrize(
    "path", EXAMPLES, ids=lambda path: path.relative_to(REPOSITORY / "examples").as_posix()
)
def test_every_example_satisfies_the_editors_schema(path: Path) -> None:
    schemas = {"reconciler.yaml": stack_schema(), "module.yaml": module_schema()}
    schema = schemas.get(path.name) or manifest_schema(KINDS)
    assert [
        errors(schema, document) for document in documents(path.read_text(encoding="utf-8"))
    ] == [[] for _ in documents(path.read_text(encoding="utf-8"))]


@every_kind
def test_every_field_has_hover_text(kind: Kind) -> None:
    schema = kind_schema(kind, expressions=True)["properties"]
    wordless = [
        part for part in fields_of(schema) if "const" not in part and not part.get("description")
    ]
    assert wordless == []


@every_kind
@pytest.mark.parametrize("expression", ["${var.x}", "a ${file:b} c", "${each.value.x}"])
def test_an_expression_may_stand_for_any_field_in_an_editor(kind: Kind, expression: str) -> None:
    carried = {field.name for field in kind.own_calls if field.name != "files"}
    spec = {field.name: expression for field in kind.fields if field.name not in carried}
    example = documents(kind.example)[0]
    assert (
        errors(
            kind_schema(kind, expressions=True), {**example, "spec": {**example["spec"], **spec}}
        )
        == []
    )


@every_kind
def test_a_plain_text_is_no_value_of_another_type(kind: Kind) -> None:
    example = documents(kind.example)[0]
    for field in kind.fields:
        schema = kind_schema(kind, expressions=True)["properties"]["spec"]["properties"][field.name]
        if "string" not in schema["type"] or "pattern" in schema:
            assert errors(
                kind_schema(kind, expressions=True),
                {**example, "spec": {**example["spec"], field.name: "x"}},
            )


@pytest.mark.parametrize(
    ("document", "accepted"),
    [
        ({"kind": "Project", "metadata": {"name": "a"}, "spec": {"name": "A"}}, True),
        ({"kind": "Project", "metadata": {"name": "a"}, "spec": {"name": "A", "x": 1}}, False),
        (
            {"kind": "Project", "metadata": {"name": "a", "project": "b"}, "spec": {"name": "A"}},
            False,
        ),
        ({"kind": "RateLimit", "metadata": {"name": "a"}, "spec": {"model": "A"}}, False),
        (
            {
                "kind": "RateLimit",
                "metadata": {"name": "a", "project": "b"},
                "spec": {"model": "A"},
            },
            True,
        ),
        ({"kind": "Nothing", "metadata": {"name": "a"}, "spec": {}}, False),
        ({"metadata": {"name": "a"}, "spec": {}}, False),
        (
            {
                "kind": "Agent",
                "metadata": {"name": "${each.key}"},
                "for_each": ["a"],
                "spec": {"model": "m"},
            },
            True,
        ),
        ({"kind": "Agent", "metadata": {"name": "a b"}, "spec": {"model": "m"}}, False),
        (
            {"kind": "Agent", "metadata": {"name": "a"}, "for_each": "x", "spec": {"model": "m"}},
            False,
        ),
        (
            {
                "kind": "Agent",
                "metadata": {"name": "a"},
                "for_each": "${var.x}",
                "spec": {"model": "m"},
            },
            True,
        ),
    ],
)
def test_the_manifest_schema_knows_each_kind_by_its_name(
    document: dict[str, Any], accepted: bool
) -> None:
    assert (errors(manifest_schema(KINDS), document) == []) is accepted


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    assert len(write_schemas(tmp_path)) == len(KINDS) + 3
    assert write_schemas(tmp_path) == []


def test_the_schema_of_a_removed_kind_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "old.schema.json").write_text("{}")
    write_schemas(tmp_path)
    assert not (tmp_path / "old.schema.json").exists()


def test_a_check_lists_outdated_schemas_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", str(tmp_path)]) == 1
    assert "project.schema.json is out of date" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_check_of_current_schemas_succeeds(tmp_path: Path) -> None:
    main([str(tmp_path)])
    assert main(["--check", str(tmp_path)]) == 0


def test_wrong_usage_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert "usage" in capsys.readouterr().err
