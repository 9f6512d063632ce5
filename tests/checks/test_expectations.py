"""Expectations pass the right answers, and explain the others."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.rules.expectations import CheckedResponse, judge

BODY = {
    "status": "completed",
    "tokens": 812,
    "share": 0.5,
    "ok": True,
    "none": None,
    "tags": ["red", "blue", 1],
    "output": [{"text": "A coat, 30 days."}, {"text": "More."}],
}


def complaints(
    expect: dict[str, Any], *, status: int = 200, body: Any = BODY, seconds: float = 1.0
) -> list[str]:
    return [str(finding) for finding in judge(expect, CheckedResponse(status, body, seconds))]


@pytest.mark.parametrize(
    "test",
    [
        "completed",
        {"equals": "completed"},
        {"not_equals": "failed"},
        {"one_of": ["failed", "completed"]},
        {"contains": "plete"},
        {"not_contains": "fail"},
        {"matches": "^comp.*d$"},
        {"not_matches": "x"},
        {"exists": True},
        {"matches": "comp", "not_equals": "complete"},
    ],
    ids=str,
)
def test_a_text_passes(test: Any) -> None:
    assert complaints({"values": {"status": test}}) == []


@pytest.mark.parametrize(
    ("expression", "test"),
    [
        ("tokens", 812),
        ("tokens", 812.0),
        ("tokens", {"less_than": 813, "at_most": 812, "more_than": 811.5, "at_least": 812}),
        ("share", {"less_than": 1}),
        ("ok", True),
        ("none", {"equals": None}),
        ("none", {"exists": False}),
        ("missing.deeper", {"exists": False}),
        ("tags", {"contains": "red"}),
        ("tags", {"equals": ["red", "blue", 1]}),
        ("length(output)", 2),
        ("output[0]", {"equals": {"text": "A coat, 30 days."}}),
        ("output[].text | join(' ', @)", {"contains": "days. More"}),
    ],
)
def test_a_value_passes(expression: str, test: Any) -> None:
    assert complaints({"values": {expression: test}}) == []


@pytest.mark.parametrize(
    ("expression", "test", "said"),
    [
        ("status", "failed", 'status is "completed"; expected it to be "failed"'),
        ("ok", 1, "ok is true; expected it to be 1"),
        ("tags", {"contains": True}, 'tags is ["red", "blue", 1]; expected it to contain true'),
        ("tokens", {"less_than": 500}, "tokens is 812; expected less than 500"),
        ("status", {"less_than": 500}, 'status is "completed"; expected less than 500'),
        ("ok", {"at_least": 0}, "ok is true; expected at least 0"),
        ("tokens", {"matches": "8"}, 'tokens is 812; expected it to match "8"'),
        ("none", {"not_matches": "8"}, 'none is null; expected it not to match "8"'),
        ("missing", {"exists": True}, "missing is null; expected that it exists: true"),
        ("length(tokens)", 3, "length(tokens) cannot be evaluated: "),
    ],
)
def test_a_mismatch_shows_the_actual_and_the_expected_value(
    expression: str, test: Any, said: str
) -> None:
    [complaint] = complaints({"values": {expression: test}})
    assert complaint.startswith(said)


def test_all_mismatches_are_reported_at_once() -> None:
    expect = {
        "latency_seconds": 0.5,
        "values": {"tokens": {"less_than": 5, "one_of": [1]}},
        "schema": {"required": ["x"]},
    }
    assert complaints(expect) == [
        "latency_seconds is 1.00; expected at most 0.5",
        "tokens is 812; expected less than 5",
        "tokens is 812; expected one of [1]",
        "schema $ 'x' is a required property",
    ]


def test_an_answer_with_another_status_is_not_looked_into() -> None:
    body = {"error": {"message": "No such model."}}
    assert complaints({"values": {"status": "completed"}}, status=404, body=body) == [
        "status is 404 (No such model.); expected 200"
    ]


def test_a_refusal_can_be_expected() -> None:
    body = {"error": {"code": "model_not_found"}}
    assert (
        complaints(
            {"status": 403, "values": {"error.code": "model_not_found"}}, status=403, body=body
        )
        == []
    )


def test_a_long_value_is_quoted_in_part() -> None:
    [complaint] = complaints({"values": {"text": "x"}}, body={"text": "y" * 5000})
    assert len(complaint) < 220


def test_a_schema_cannot_make_us_fetch_anything() -> None:
    [complaint] = complaints({"schema": {"$ref": "http://127.0.0.1:9/schema.json"}})
    assert complaint.startswith("schema cannot be used")
