"""Written YAML reads as the value that was written, in our reader and in those of YAML 1.1."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.export import yaml_text
from reconciler.export.yaml_text import Commented, Raw
from reconciler.manifests.load import load_documents
from reconciler.manifests.problems import Problems

# Surrogates are in no UTF-8 file, and an expression is written with another `$`.
TEXT = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("-:#'\"\\ \n\t{}[],&*!|>%@`?"))  # fmt: skip
AWKWARD = st.sampled_from(
    ["no", "Yes", "~", "12:30", "1_000", "0x1F", "1e5", "2024-01-01", "- a", "a: b", "a #b", "..."]
)
TEXTS = (TEXT | AWKWARD).filter(lambda text: "${" not in text)
SCALARS = TEXTS | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
MAPS = st.dictionaries(TEXTS.filter(lambda key: len(key) < 200), VALUES, min_size=1, max_size=4)


@given(MAPS)
def test_what_is_written_is_read(value: dict[str, Any]) -> None:
    problems = Problems()
    documents = load_documents(yaml_text.document(value), "x.yaml", problems)
    assert problems.in_reading_order() == ()
    assert [document.value for document in documents] == [value]


@given(MAPS)
def test_other_readers_take_no_text_for_something_else(value: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text.document(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"name": "Support bot"}, "name: Support bot\n"),
        ({"on": "no"}, '"on": "no"\n'),
        ({"url": "https://example.com/a"}, "url: https://example.com/a\n"),
        ({"at": "a: b"}, 'at: "a: b"\n'),
        ({"literal": "${x}"}, "literal: $${x}\n"),
        ({"id": Raw("${Agent/a}")}, "id: ${Agent/a}\n"),
        ({"ids": [Raw("${Agent/a}")]}, 'ids: ["${Agent/a}"]\n'),
        ({"text": "a\nb\n"}, "text: |\n  a\n  b\n"),
        ({"text": "a\nb"}, "text: |-\n  a\n  b\n"),
        ({"a": Commented(1, "Why.")}, "# Why.\na: 1\n"),
        ({"a": {"b": {"c": {"d": 1}}}}, "a:\n  b: {c: {d: 1}}\n"),
        ({"a": [{"b": 1}, {"c": [1, 2]}]}, "a:\n  - {b: 1}\n  - {c: [1, 2]}\n"),
        ({"empty": [], "none": {}}, "empty: []\nnone: {}\n"),
    ],
)
def test_yaml_looks_as_a_person_writes_it(value: dict[str, Any], text: str) -> None:
    assert yaml_text.document(value) == text


def test_a_long_line_is_folded_at_words() -> None:
    text = "word " * 30 + "end"
    written = yaml_text.document({"text": text})
    assert written.startswith("text: >-\n")
    assert max(map(len, written.splitlines())) <= yaml_text.WIDTH
    assert yaml.safe_load(written) == {"text": text}
