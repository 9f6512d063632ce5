"""A compiled predicate accepts exactly the values that the validator accepts."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.kinds import KINDS
from reconciler.manifests.fast_validation import predicate
from reconciler.manifests.kind_schema import kind_schema
from reconciler.manifests.schema import stack_schema
from reconciler.manifests.validate import Checker
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.values import Reference
from tests.properties.strategies import examples

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))


def words_of(schema: Any) -> set[str]:
    """The names and choices in a schema. Values made of them are nearly valid."""
    words: set[str] = set()
    if isinstance(schema, dict):
        words.update(schema.get("properties", {}))
        for part in schema.values():
            words |= words_of(part)
    elif isinstance(schema, list):
        for part in schema:
            words |= {part} if isinstance(part, str) else words_of(part)
    return words


def values(words: set[str]) -> st.SearchStrategy[Any]:
    text = st.sampled_from(sorted(words)) | st.text("aZ0./$ é", max_size=5)
    scalars = (
        st.none() | st.booleans() | st.integers(-1, 5000) | st.floats(-1, 3) | st.just(5.0) | text
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=4),
        max_leaves=12,
    )


def shaped(schema: dict[str, Any], free: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values that mostly follow a schema and are at its limits, so that both answers occur."""
    properties = schema.get("properties", {})
    if "allOf" in schema:
        branches = [
            {**part["then"], "tag": part["if"]["properties"]["type"]["const"]}
            for part in schema["allOf"]
        ]
        return st.one_of([free, *(shaped(branch, free) for branch in branches)])
    if "anyOf" in schema:
        return st.one_of([free, *(shaped(branch, free) for branch in schema["anyOf"])])
    if properties:
        parts = {
            name: shaped(part, free) for name, part in properties.items() if isinstance(part, dict)
        }
        if "tag" in schema:
            parts["type"] = st.just(schema["tag"])
        needed = {name: parts.pop(name) for name in schema.get("required", ()) if name in parts}
        loose = st.fixed_dictionaries({}, optional={**needed, **parts})
        return st.one_of(st.fixed_dictionaries(needed, optional=parts), loose, free)
    if "items" in schema:
        most = schema.get("maxItems", 2) + 1
        return st.lists(shaped(schema["items"], free), max_size=min(most, 4)) | free
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | free
    return at_the_limits(schema) | free


def at_the_limits(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Numbers and texts right at the limits of a schema, and right beyond them."""
    samples: list[Any] = []
    for name in ("minimum", "maximum", "exclusiveMinimum"):
        if name in schema:
            limit = schema[name]
            samples += [limit, limit - 1, limit + 1, float(limit), limit + 0.5]
    for name in ("minLength", "maxLength"):
        size = schema.get(name, 1000)
        # A longer text would slow each example down.
        if size < 1000:
            samples += ["x" * size, "x" * max(0, size - 1), "x" * (size + 1)]
    return st.sampled_from(samples or ["x"])


def near(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that satisfy a schema, or narrowly violate it."""
    return shaped(schema, values(words_of(schema)))


def spec_schema(kind: Kind) -> dict[str, Any]:
    schema: dict[str, Any] = kind_schema(kind, expressions=False)["properties"]["spec"]
    return schema


def agree(schema: dict[str, Any]) -> None:
    """Compare the answers of a schema's predicate with those of the validator."""
    accepts, validator = predicate(schema), Draft202012Validator(schema)

    @examples(50)
    @given(value=near(schema))
    def check(value: Any) -> None:
        assert accepts(value) is validator.is_valid(value)

    check()


@every_kind
def test_a_predicate_accepts_what_the_validator_accepts(kind: Kind) -> None:
    agree(spec_schema(kind))


def test_the_predicate_of_the_stack_accepts_what_the_validator_accepts() -> None:
    agree(stack_schema()["properties"]["spec"])


@every_kind
def test_a_rejected_value_has_a_violation(kind: Kind) -> None:
    schema = spec_schema(kind)
    accepts, checker = predicate(schema), Checker(schema)

    @examples(50)
    @given(value=near(schema))
    def check(value: Any) -> None:
        assert bool(list(checker.violations(value))) is not accepts(value)

    check()


@every_kind
def test_a_value_known_after_apply_satisfies_every_field(kind: Kind) -> None:
    later = Reference(Address("Project", "x"))
    spec = {field.name: later for field in kind.fields}
    checker = Checker(spec_schema(kind))
    assert list(checker.violations(spec)) == []


def test_an_unsupported_keyword_rejects_every_value() -> None:
    assert predicate({"type": "string", "format": "email"})("a@b.example") is False


def test_the_validator_decides_on_an_unsupported_keyword() -> None:
    assert list(Checker({"type": "string", "format": "email"}).violations("a@b.example")) == []
