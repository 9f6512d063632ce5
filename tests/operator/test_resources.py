"""Custom resources: the schemas, the structs, and resources that break the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from reconciler.operator.crds import as_yaml, definitions, organization_spec, stack_spec
from reconciler.operator.resources import (
    ObjectKey,
    OrganizationSpec,
    StackSpec,
    organization_of,
    seconds_of,
    stack_of,
)
from tests.operator.makers import stack_body

ROOT = Path(__file__).parents[2]


def test_the_file_of_definitions_is_what_the_code_prints() -> None:
    file = ROOT / "deploy" / "kubernetes" / "crds.yaml"
    assert file.read_text(encoding="utf-8") == as_yaml()


@pytest.mark.parametrize(
    ("schema", "type"), [(stack_spec(), StackSpec), (organization_spec(), OrganizationSpec)]
)
def test_a_schema_has_exactly_the_fields_that_are_read(schema: Any, type: Any) -> None:
    _compare(schema, msgspec.inspect.type_info(type), "spec")


def test_defaults_of_schemas_are_those_of_the_code() -> None:
    fields = {field.encode_name: field.default for field in msgspec.structs.fields(StackSpec)}
    for name, schema in stack_spec()["properties"].items():
        if "default" in schema:
            assert fields[name] == schema["default"]


def test_both_definitions_have_a_status_subresource_columns_and_a_category() -> None:
    for definition in definitions():
        (version,) = definition["spec"]["versions"]
        assert version["subresources"] == {"status": {}}
        assert version["additionalPrinterColumns"]
        assert definition["spec"]["names"]["categories"] == ["reconciler"]
    assert len(list(yaml.safe_load_all(as_yaml()))) == 2


@pytest.mark.parametrize(
    "spec",
    [
        {"source": {}},
        {"source": {"path": "a", "configMap": {"name": "b"}}},
        {"source": {"path": "../other"}},
        {"source": {"path": "/etc"}},
        {"source": {"path": "a/../../etc"}},
        {"source": {"path": "a//b"}},
        {"source": {"path": "a\\b"}},
        {"source": {"path": "a\n"}},
        {"source": {"path": "a\x00b"}},
        {"source": {"path": "."}},
        {"source": {"path": "a", "subPath": ".."}},
        {"source": {"configMap": {"name": "b"}, "subPath": "x"}},
        {"source": {"configMap": {"name": "../secrets/keys"}}},
        {"source": {"configMap": {"name": "b", "items": [{"key": "a", "path": "../x"}]}}},
        {"source": {"configMap": {"name": "b", "items": [{"key": "a/b", "path": "x"}]}}},
        {"source": "everything"},
        {"source": None},
        {"organizationRef": {"name": "../../x"}},
        {"organizationRef": {"name": "x", "namespace": "a/b"}},
        {"mode": "everything"},
        {"mode": ["apply"]},
        {"interval": "soon"},
        {"interval": 5},
        {"interval": "1m\n"},
        {"suspend": "yes"},
        {"variables": {"a": 1}},
        {"variables": {str(number): "" for number in range(1000)}},
        {"environment": "a/b"},
        {"deletionPolicy": "Destroy"},
        {"allowDelete": ["*/*"]},
        {"allowDelete": ["*"]},
        {"allowDelete": "Project/a"},
        {"policies": [{}]},
        {"policies": [{"path": "a", "configMap": {"name": "b"}}]},
        {"policies": [{"path": "x"}] * 1000},
    ],
)
def test_a_spec_that_breaks_the_rules_is_refused_with_a_sentence(spec: dict[str, Any]) -> None:
    stack = stack_of(stack_body(**spec))
    assert stack is not None
    assert stack.spec is None
    assert stack.problem.endswith(".")


@pytest.mark.parametrize(
    "path", ["a", "team/search", "...", ".hidden/x", "a.b/..c", "a b/ü", "-rf", "a" * 512]
)
def test_ordinary_paths_are_accepted(path: str) -> None:
    stack = stack_of(stack_body(source={"path": path}))
    assert stack is not None
    assert not stack.problem


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"metadata": None},
        {"metadata": {"name": "a"}},
        {"metadata": {"namespace": "a/b", "name": "c"}},
        {"metadata": {"namespace": 1, "name": 2}},
    ],
)
def test_what_is_no_object_is_ignored(body: dict[str, Any]) -> None:
    assert stack_of(body) is None
    assert organization_of(body) is None


def test_metadata_of_the_wrong_type_is_survived() -> None:
    body = stack_body()
    body["metadata"] |= {"annotations": [], "finalizers": "x", "generation": "1", "uid": None}
    body["status"] = []
    stack = stack_of(body)
    assert stack is not None
    assert (stack.approve, stack.finalizers, stack.generation, stack.status) == ("", (), 0, {})


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [("30s", 30), ("10m", 600), ("1h30m", 5400), ("1s", 30), ("9999h", 604_800)],
)
def test_an_interval_stays_within_its_limits(interval: str, seconds: float) -> None:
    stack = stack_of(stack_body(interval=interval))
    assert stack is not None
    assert stack.interval == seconds


def test_an_interval_of_many_digits_is_bounded_work() -> None:
    assert seconds_of("9" * 30 + "h") < 1e14


def test_an_organization_is_for_its_own_namespace_unless_it_says_otherwise() -> None:
    key = {"secretRef": {"name": "keys", "key": "admin"}}
    body = {
        "metadata": {"namespace": "platform", "name": "acme"},
        "spec": {"adminKey": key, "allowedNamespaces": ["team"]},
    }
    organization = organization_of(body)
    assert organization is not None
    assert organization.allows("platform")
    assert organization.allows("team")
    assert not organization.allows("other")
    assert organization.key == ObjectKey("platform", "acme")


@pytest.mark.parametrize("variable", ["PATH", "AWS_PROFILE", "search_key", "A_KEY\n"])
def test_keys_of_projects_have_variables_that_say_so(variable: str) -> None:
    secret = {"name": "keys", "key": "search"}
    body = {
        "metadata": {"namespace": "platform", "name": "acme"},
        "spec": {"projectKeys": [{"variable": variable, "secretRef": secret}]},
    }
    organization = organization_of(body)
    assert organization is not None
    assert organization.spec is None


def _compare(schema: Any, type: Any, where: str) -> None:
    """That a schema and a type have the same fields, all the way down."""
    if isinstance(type, msgspec.inspect.UnionType):
        (type,) = [each for each in type.types if not isinstance(each, msgspec.inspect.NoneType)]
    if isinstance(type, msgspec.inspect.StructType):
        fields = {field.encode_name: field for field in type.fields}
        assert schema["properties"].keys() == fields.keys(), where
        required = {name for name, field in fields.items() if field.required}
        assert set(schema.get("required", ())) == required, where
        for name, field in fields.items():
            _compare(schema["properties"][name], field.type, f"{where}.{name}")
    elif isinstance(type, msgspec.inspect.VarTupleType):
        assert schema["type"] == "array", where
        assert schema["maxItems"] == type.max_length, where
        _compare(schema["items"], type.item_type, f"{where}[]")
    elif isinstance(type, msgspec.inspect.StrType):
        assert schema["type"] == "string", where
        assert schema["maxLength"] == type.max_length, where
        pattern = schema.get("pattern")
        if type.pattern is not None and pattern is not None:
            assert type.pattern == pattern.removesuffix("$") + "\\Z", where
    elif isinstance(type, msgspec.inspect.EnumType):
        assert schema["enum"] == [member.value for member in type.cls], where
