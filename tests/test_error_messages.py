"""docs/errors.yaml explains what the program can say: no more and no less."""

from __future__ import annotations

import ast

import pytest

from tests import error_messages
from tests.error_messages import ERRORS, Site, explained, messages, summaries, texts, unresolved

pytestmark = pytest.mark.slow  # parses the whole package

PASSED_ON = {
    "summary", "diagnostic", "broken", "str(error)", "error.format_message()",
    "redact(diagnostic.summary)", "replace(diagnostic, severity=Severity.WARNING)",
}  # fmt: skip
"""Arguments that are made elsewhere, where they are collected."""


_EXPLAIN = "give these a cause and a cure in docs/errors.yaml, and run `make golden`"
_REMOVE = "the source has these no more: rename or remove them in docs/errors.yaml"


def test_every_summary_in_the_source_has_a_cause_and_a_cure() -> None:
    assert summaries() - explained()["problems"].keys() == set(), _EXPLAIN


def test_every_explained_summary_is_one_of_the_source() -> None:
    assert explained()["problems"].keys() - summaries() == set(), _REMOVE


def test_a_summary_that_the_source_does_not_show_is_passed_on_from_where_it_is_made() -> None:
    hidden = {
        (path, argument)
        for path, argument in unresolved()
        if argument not in PASSED_ON
        and not argument.endswith(".summary")
        and not argument.startswith("_")
    }
    assert hidden == set()


def test_every_class_of_errors_that_the_source_raises_has_a_cause_and_a_cure() -> None:
    raised = {message.kind for message in messages()}
    assert raised - explained()["errors"].keys() == set(), _EXPLAIN


def test_every_explained_class_is_one_of_the_program() -> None:
    assert explained()["errors"].keys() - ERRORS.keys() == set(), _REMOVE


def as_in_source(text: str) -> str:
    """An explained part of a refusal, with the placeholders of the source."""
    return text.replace("CHANGED", "VERB").replace("REASON", "REFUSAL")


@pytest.mark.parametrize("text", explained()["guards"])
def test_an_explained_refusal_is_a_sentence_of_a_guard(text: str) -> None:
    (source,) = [item for item in error_messages.sources() if item.path == "engine/plan/guard.py"]
    sentences = [
        "".join(texts(Site(node, source, None)))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.JoinedStr)
    ]
    words = as_in_source(text)
    assert any(words in sentence for sentence in sentences)


def test_every_sentence_that_a_guard_yields_is_explained() -> None:
    (source,) = [item for item in error_messages.sources() if item.path == "engine/plan/guard.py"]
    known = [as_in_source(text) for text in explained()["guards"]]
    sentences = [
        "".join(texts(Site(node.value, source, function)))
        for node, function in source.yields
        if isinstance(node.value, ast.JoinedStr)
    ]
    assert sentences
    unexplained = [said for said in sentences if not any(text in said for text in known)]
    assert unexplained == [], _EXPLAIN


@pytest.mark.parametrize("part", ["problems", "guards", "errors"])
def test_an_explanation_has_sentences(part: str) -> None:
    entries = explained()[part].items()
    assert entries
    wrong = [
        name
        for name, entry in entries
        for sentence in (entry["cause"], entry["cure"])
        if not sentence.endswith(".")
    ]
    assert wrong == []
