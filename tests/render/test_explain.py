"""`explain` documents every kind, field and type."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

import pytest

from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.model.kind import Kind
from reconciler.render.explain import explain_kind
from reconciler.render.explain_types import children_of
from reconciler.rules import RULE_KINDS

from .goldens import assert_golden

ALL = list(KINDS.values())


def places(kind: Kind) -> Iterator[tuple[str, ...]]:
    """Every path that can be asked for, three levels deep."""
    for field in kind.fields:
        yield (field.name,)
        for name, part in children_of(field.type).items():
            yield (field.name, name)
            yield from ((field.name, name, inner) for inner in children_of(part.type))


@pytest.mark.parametrize("kind", ALL, ids=attrgetter("name"))
def test_every_kind_has_a_page_that_names_all_its_fields(kind: Kind) -> None:
    page = explain_kind(kind)
    assert page.startswith(f"{kind.name}\n")
    assert all(f"\n  {field.name}: " in page for field in kind.fields)
    assert kind.example.split("\n")[0] in page
    assert f"reconciler import {kind.name}/" in page


@pytest.mark.parametrize("kind", ALL, ids=attrgetter("name"))
def test_every_part_of_every_kind_can_be_explained(kind: Kind) -> None:
    for path in places(kind):
        assert explain_kind(kind, path).startswith(f"{kind.name}.{'.'.join(path)}: ")


@pytest.mark.parametrize("name", ["VectorStore", "RateLimit"])
def test_a_page_reads_as_it_did(name: str) -> None:
    assert_golden(f"explain_{name}.txt", explain_kind(KINDS[name]))


def test_a_rule_says_that_it_is_no_object() -> None:
    page = explain_kind(RULE_KINDS["Check"])
    assert "creates   no object and no state entry; plans do not show it\n" in page
    assert "requires  operation; or budget\n" in page
    assert explain_kind(RULE_KINDS["Check"], ["expect", "values", "at_most"]).startswith(
        "Check.expect.values.at_most: "
    )


def test_a_part_reads_as_it_did() -> None:
    assert_golden("explain_Assistant.tools.txt", explain_kind(KINDS["Assistant"], ["tools"]))


def test_a_retired_kind_says_so() -> None:
    assert "! The live platform retired assistants" in explain_kind(KINDS["Assistant"])


def test_an_unknown_part_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match='Did you mean "instructions"'):
        explain_kind(KINDS["Assistant"], ["instuctions"])
    with pytest.raises(UsageError, match='Did you mean "days"'):
        explain_kind(KINDS["VectorStore"], ["expires_after", "day"])


def test_a_plain_value_has_no_parts() -> None:
    with pytest.raises(UsageError, match="has no fields of its own"):
        explain_kind(KINDS["Assistant"], ["model", "name"])
