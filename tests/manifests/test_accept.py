"""The quick answer of the predicates and the full one of the validator are the same."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.kinds import KINDS
from reconciler.manifests.accept import predicate
from reconciler.manifests.kind_schema import kind_schema
from reconciler.manifests.schema import stack_schema
from reconciler.manifests.validate import Checker
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.values import Reference

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))


def words_of(schema: Any) -> set[str]:
    """Every name and choice in a schema: values made of them come close to being right."""
    if isinstance(schema, dict):
        return {word for part in schema.values() for word in words_of(part)} | set(schema.get("properties", {}))
    if isinstance(schema, list):
        return {word for part in schema for word in words_of(part)} | {one for one in schema if isinstance(one, str)}
    return set()


def values(words: set[str]) -> st.SearchStrategy[Any]:
    text = st.sampled_from(sorted(words)) | st.text("aZ0./$ é", max_size=5)
    scalars = st.none() | st.booleans() | st.integers(-1, 5000) | st.floats(-1, 3) | st.just(5.0) | text
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=4), max_leaves=12
    )


def shaped(schema: dict[str, Any], free: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values that mostly follow a schema, so that both answers come up."""
    properties = schema.get("properties", {})
    if "allOf" in schema:
        branches = [{**part["then"], "tag": part["if"]["properties"]["type"]["const"]} for part in schema["allOf"]]
        return st.one_of([free, *(shaped(branch, free) for branch in branches)])
    if properties:
        parts = {name: shaped(part, free) for name, part in properties.items() if isinstance(part, dict)}
        if "tag" in schema:
            parts["type"] = st.just(schema["tag"])
        return st.fixed_dictionaries({}, optional=parts) | free
    if "items" in schema:
        return st.lists(shaped(schema["items"], free), max_size=3) | free
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | free
    return free


@every_kind
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_predicate_accepts_what_the_validator_accepts(kind: Kind, data: st.DataObject) -> None:
    schema = kind_schema(kind, expressions=False)["properties"]["spec"]
    value = data.draw(shaped(schema, values(words_of(schema))))
    assert predicate(schema)(value) is Draft202012Validator(schema).is_valid(value)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_predicate_of_the_stack_accepts_what_the_validator_accepts(data: st.DataObject) -> None:
    schema = stack_schema()["properties"]["spec"]
    value = data.draw(shaped(schema, values(words_of(schema))))
    assert predicate(schema)(value) is Draft202012Validator(schema).is_valid(value)


@every_kind
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_is_declined_has_a_reason(kind: Kind, data: st.DataObject) -> None:
    schema = kind_schema(kind, expressions=False)["properties"]["spec"]
    value = data.draw(shaped(schema, values(words_of(schema))))
    assert bool(list(Checker(schema).findings(value))) is not predicate(schema)(value)


@every_kind
def test_a_value_that_waits_for_the_apply_satisfies_every_field(kind: Kind) -> None:
    later = Reference(Address("Project", "x"))
    spec = {field.name: later for field in kind.fields}
    checker = Checker(kind_schema(kind, expressions=False)["properties"]["spec"])
    assert list(checker.findings(spec)) == []


def test_a_keyword_that_is_not_understood_declines() -> None:
    assert predicate({"type": "string", "format": "email"})("a@b.example") is False


def test_the_validator_has_the_last_word_on_a_keyword_that_is_not_understood() -> None:
    assert list(Checker({"type": "string", "format": "email"}).findings("a@b.example")) == []
