"""Strict mode as tables: undeclared differences in, changes back to the default out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from reconciler.engine.diff import (
    MOVED_NOTE,
    STRICT_NOTE,
    answered_otherwise,
    beyond_defaults,
    fixed_fields,
    is_unknown,
    moved_fields,
    seen_values,
    strict_changes,
    unseen_fields,
)
from reconciler.kinds import KINDS
from reconciler.model.change import Origin
from reconciler.model.resource import IGNORE_ALL
from tests.engine.tables import recorded, shown

ASSISTANT = {
    "id": "asst_1",
    "name": "Bot",
    "description": None,
    "model": "gpt-4o",
    "instructions": None,
    "tools": [],
    "top_p": 1.0,
    "temperature": 1.0,
    "reasoning_effort": None,
    "tool_resources": {},
    "metadata": {},
    "response_format": "auto",
}
DECLARED = ("name", "model")


def assistant(**changes: Any) -> Any:
    return shown("Assistant", "asst_1", {**ASSISTANT, **changes})


class Row(NamedTuple):
    """What the API shows, and the changes back: path, the live value, the value to set, and the remark."""

    what: str
    shown: dict[str, Any]
    changes: Sequence[tuple[str, Any, Any, str]] = ()
    declared: Sequence[str] = DECLARED
    changed: Sequence[str] = ()
    ignore: tuple[str, ...] = ()
    seen: Mapping[str, Any] = {}


ROWS = [
    Row("everything is at its default", {}),
    Row(
        "an undeclared field has a value",
        {"instructions": "Be brief."},
        [("instructions", "Be brief.", None, STRICT_NOTE)],
    ),
    Row(
        "two undeclared fields, in the order of the kind",
        {"top_p": 0.5, "temperature": 0.2},
        [("temperature", 0.2, 1, STRICT_NOTE), ("top_p", 0.5, 1, STRICT_NOTE)],
    ),
    Row("a declared field is left to the plain diff", {"name": "Robot"}),
    Row(
        "a field that the plan changes anyway is put back by its write",
        {"instructions": "Be brief."},
        changed=["instructions"],
    ),
    Row("an ignored field", {"instructions": "Be brief."}, ignore=("instructions",)),
    Row(
        "an ignored path leaves out its whole field",
        {"metadata": {"owner": "fay"}},
        ignore=("metadata.owner",),
    ),
    Row("everything is ignored", {"instructions": "Be brief."}, ignore=(IGNORE_ALL,)),
    Row("an answer of another type proves nothing", {"temperature": ["hot"]}),
    Row("an answer without the field proves nothing", {"temperature": None}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_strict_mode_sets_undeclared_fields_back(row: Row) -> None:
    changes = strict_changes(
        KINDS["Assistant"],
        declared=row.declared,
        changed=row.changed,
        live=assistant(**row.shown),
        ignore=row.ignore,
        seen=row.seen,
    )
    shown_changes = [(each.dotted, each.before, each.after, each.note) for each in changes]
    assert sorted(shown_changes) == sorted(row.changes)
    assert all(change.origin is Origin.DRIFT for change in changes)


PROJECT_LIMIT = KINDS["RateLimit"]


class SeenRow(NamedTuple):
    """A field without a known default: the value after the last apply and the one now."""

    what: str
    seen: dict[str, Any]
    now: Any
    moves: bool


@pytest.mark.parametrize(
    "row",
    [
        SeenRow("it stays as it was seen", {"max_requests_per_1_minute": 500}, 500, False),
        SeenRow("it moved since", {"max_requests_per_1_minute": 500}, 90, True),
        SeenRow("it was never seen", {}, 90, False),
        SeenRow("the answer lacks it", {"max_requests_per_1_minute": 500}, None, False),
        SeenRow("the answer has another type", {"max_requests_per_1_minute": 500}, "x", False),
    ],
    ids=lambda row: row.what,
)
def test_a_field_without_a_known_default_is_compared_with_what_was_seen(row: SeenRow) -> None:
    live = shown("RateLimit", "rl-gpt", {"model": "gpt", "max_requests_per_1_minute": row.now})
    changes = strict_changes(
        PROJECT_LIMIT, declared=["model"], changed=[], live=live, ignore=(), seen=row.seen
    )
    expected = [("max_requests_per_1_minute", 90, 500, MOVED_NOTE)] if row.moves else []
    assert [(each.dotted, each.before, each.after, each.note) for each in changes] == expected


def test_only_fields_that_could_be_put_back_are_remembered() -> None:
    values = {"model": "gpt", "max_requests_per_1_minute": 500, "max_images_per_1_minute": None}
    seen = seen_values(PROJECT_LIMIT, values=values, declared=["model"])
    assert seen == {"max_requests_per_1_minute": 500}
    # A field with a known default goes back to it, whatever it was.
    assert seen_values(KINDS["Assistant"], values={"top_p": 0.5}, declared=[]) == {}


@pytest.mark.parametrize(
    ("asked", "stored", "otherwise"),
    [
        ({"temperature": 0.5}, 0.5, {}),
        ({"temperature": 0.5}, 0.6, {"temperature": 0.6}),
        ({"temperature": None}, 0.6, {}),
        ({"temperature": 0.5}, "hot", {}),
    ],
    ids=["as sent", "as another value", "the default was asked for", "another type"],
)
def test_a_value_that_the_api_stored_differently_is_noted(
    asked: dict[str, Any], stored: Any, otherwise: dict[str, Any]
) -> None:
    live = assistant(temperature=stored)
    assert answered_otherwise(KINDS["Assistant"], asked=asked, live=live) == otherwise


def test_values_that_a_new_object_has_anyway_are_not_beyond_its_defaults() -> None:
    values = {"temperature": 1, "top_p": 0.5, "instructions": None, "name": "Bot"}
    assert beyond_defaults(KINDS["Assistant"], values) == {"top_p": 0.5, "name": "Bot"}
    # The API chooses the limits of a new project, so no limit is beyond a default.
    assert beyond_defaults(PROJECT_LIMIT, {"max_requests_per_1_minute": 500}) == {}


@pytest.mark.parametrize(
    ("applied", "desired", "fixed"),
    [
        ({"description": "Docs"}, {"description": "Docs"}, []),
        ({"description": "Docs"}, {"description": "Pages"}, ["description"]),
        (None, {"description": "Docs"}, []),
    ],
    ids=["as created", "changed since", "not created by us"],
)
def test_a_fixed_field_that_the_manifest_changed_since_creation_is_reported(
    applied: dict[str, Any] | None, desired: dict[str, Any], fixed: list[str]
) -> None:
    record = None if applied is None else recorded("VectorStore/docs", "vs_1", applied)
    fields = fixed_fields(KINDS["VectorStore"], desired=desired, record=record)
    assert [field.name for field in fields] == fixed


@pytest.mark.parametrize(
    ("has_record", "applied", "unknown"),
    [(False, {}, True), (True, {}, True), (True, {"key": {"file": "ci.key"}}, False)],
)
def test_a_hidden_field_of_another_object_is_unknown_without_a_record_of_it(
    has_record: bool, applied: dict[str, Any], unknown: bool
) -> None:
    field = KINDS["AdminKey"].by_name["key"]
    record = recorded("AdminKey/ci", "key_1", applied) if has_record else None
    assert is_unknown(field, record) is unknown


def test_images_are_compared_field_by_field() -> None:
    seen = {"name": "Bot", "temperature": 1, "metadata": {"a": "1"}}
    now = {"name": "Bot", "temperature": 0.5, "metadata": {"a": "2"}}
    changes = moved_fields(KINDS["Assistant"], seen=seen, now=now, but=["temperature"])
    assert [(each.dotted, each.before, each.after) for each in changes] == [
        ("metadata.a", "1", "2")
    ]


def test_a_field_that_the_answer_lacks_is_unseen() -> None:
    attributes = {name: value for name, value in ASSISTANT.items() if name != "tools"}
    unseen = unseen_fields(KINDS["Assistant"], shown("Assistant", "asst_1", attributes))
    assert "tools" in unseen
    assert "name" not in unseen
