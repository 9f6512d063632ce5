"""Parsed manifests are cached by the digest of their text, and used as if they had been parsed again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests.parsed import ParsedFiles
from reconciler.manifests.problems import Problems
from reconciler.manifests.source_map import Document

TWO = """\
kind: Project
metadata: {name: search}
spec: {name: &name Search, on: [1, 2.5, null, true, "1", *name]}
---
kind: Project
metadata:
  name: "über"
spec: {name: other}
"""


def read(parsed: ParsedFiles, text: str, *, is_json: bool = False) -> list[Document]:
    problems = Problems()
    found = parsed.documents(text, "a.yaml", problems, is_json=is_json)
    assert problems.in_reading_order() == ()
    return found


def kept(*texts: str, is_json: bool = False) -> dict[str, bytes]:
    parsed = ParsedFiles()
    for text in texts:
        read(parsed, text, is_json=is_json)
    return dict(parsed.to_keep())


def test_a_cached_text_is_not_parsed() -> None:
    [digest] = kept("a: 1")
    [something_else] = kept("b: 2").values()
    [document] = read(ParsedFiles({digest: something_else}.get), "a: 1")
    assert document.value == {"b": 2}


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        (TWO, False),
        ("", False),
        ("spec: {a: [[y], {b: c}]}", False),
        ('[{"a": 1}, {"a": [2]}]', True),
    ],
)
def test_cached_documents_have_the_same_values_and_positions(text: str, is_json: bool) -> None:
    fresh = read(ParsedFiles(), text, is_json=is_json)
    again = read(ParsedFiles(kept(text, is_json=is_json).get), text, is_json=is_json)
    assert [document.packed for document in again] == [document.packed for document in fresh]
    assert [dict(document.spec_places) for document in again] == [
        dict(document.spec_places) for document in fresh
    ]


@given(st.text(min_size=1))
def test_any_other_text_is_parsed(more: str) -> None:
    known = kept("a: x")
    text = f"a: x{more}"
    problems = Problems()
    parsed = ParsedFiles(known.get)
    parsed.documents(text, "a.yaml", problems)
    assert known.keys().isdisjoint(parsed.to_keep())


def test_one_text_has_separate_entries_as_json_and_as_yaml() -> None:
    text = "[{a: 1}]"
    assert len(read(ParsedFiles(kept(text).get), text)) == 1
    assert kept(text).keys().isdisjoint(kept(text, is_json=True))


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: [", "a: !!python/none x"])
def test_a_problem_of_a_file_is_reported_every_time(text: str) -> None:
    parsed = ParsedFiles()
    parsed.documents(text, "a.yaml", Problems())
    assert parsed.to_keep() == {}


def test_a_file_with_a_number_that_cannot_be_stored_is_parsed_every_time() -> None:
    assert kept("a: 123456789012345678901234567890") == {}


@pytest.mark.parametrize("damage", [b"", b"x", b"\x78\x9c\x03\x00\x00\x00\x00\x01"])
def test_the_text_of_a_damaged_entry_is_parsed_again(damage: bytes) -> None:
    known = dict.fromkeys(kept(TWO), damage)
    parsed = ParsedFiles(known.get)
    assert [document.packed for document in read(parsed, TWO)] == [
        document.packed for document in read(ParsedFiles(), TWO)
    ]
    assert parsed.to_keep() == kept(TWO)


def test_used_entries_are_kept_and_unused_ones_are_not() -> None:
    parsed = ParsedFiles(kept("a: 1", "b: 2").get)
    read(parsed, "a: 1")
    read(parsed, "c: 3")
    assert parsed.to_keep() == kept("a: 1", "c: 3")
