"""The page of a kind documents its fields and how they can change."""

from __future__ import annotations

from operator import attrgetter

import pytest

from reconciler.kinds import KINDS
from reconciler.model.kind import Kind
from reconciler.render.calls import calls_of
from reconciler.render.kind_page import kind_page

from .test_explain import places

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))


@every_kind
def test_a_page_has_a_row_for_every_field_and_its_parts(kind: Kind) -> None:
    page = kind_page(kind)
    rows = [f"| `{'.'.join(path)}` | " for path in places(kind)]
    assert [row for row in rows if f"\n{row}" not in page] == []


@every_kind
def test_a_page_writes_ids_as_an_import_takes_them(kind: Kind) -> None:
    assert all(f" {form}`" in kind_page(kind) for form in kind.id_forms)
    for form in kind.id_forms:
        kind.parent_and_id(form)


@pytest.mark.parametrize(
    ("kind", "field", "says"),
    [
        ("Project", "residency", "forces replacement"),
        ("VectorStore", "description", "set at creation only; not always shown by the API"),
        ("ServiceAccount", "key", "in place; never shown by the API"),
        ("ServiceAccount", "role", "in place; kept when removed from the manifest"),
        ("RateLimit", "model", "forces replacement"),
    ],
)
def test_a_page_says_how_a_field_can_change(kind: str, field: str, says: str) -> None:
    row = next(
        line for line in kind_page(KINDS[kind]).splitlines() if line.startswith(f"| `{field}` | ")
    )
    assert f" | {says} | " in row


def test_a_page_of_a_retired_kind_begins_with_its_end() -> None:
    assert (
        kind_page(KINDS["Assistant"])
        .split("\n")[4]
        .startswith("> **Retired.** The live platform retired")
    )


def test_a_bar_in_a_text_does_not_end_its_cell() -> None:
    assert all(
        line.replace("\\|", "").count("|") in (3, 6) for line in tables(kind_page(KINDS["Agent"]))
    )


def tables(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(
    ("kind", "calls"),
    [
        ("RateLimit", ["list GET", "update POST"]),
        ("SpendLimit", ["create POST", "read GET", "update POST", "delete DELETE"]),
        ("Project", ["list GET", "create POST", "read GET", "update POST", "archive POST"]),
    ],
)
def test_the_calls_of_a_kind_are_those_that_it_declares(kind: str, calls: list[str]) -> None:
    declared = [f"{word} {call.split()[0]}" for word, call in calls_of(KINDS[kind])]
    assert list(dict.fromkeys(declared)) == calls
