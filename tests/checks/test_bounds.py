"""Untrusted checks end with a message, whatever they expect."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.rules.bounded import Work, evaluate
from reconciler.rules.expectations import CheckedResponse, judge, problems_of
from tests.conftest import Workspace

LONG = "a" * 60 + "!"


def complaints(expect: dict[str, Any], body: Any) -> list[str]:
    return [str(finding) for finding in judge(expect, CheckedResponse(200, body, 0.1))]


def flaws(expect: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    return [(flaw.trail, flaw.summary) for flaw in problems_of(expect)]


# --- patterns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expect",
    [
        {"values": {"text": {"matches": "(a|a)*$"}}},
        {"values": {"text": {"not_matches": "(a|a)*$"}}},
        {"schema": {"properties": {"text": {"pattern": "(a|a)*$"}}}},
        {"schema": {"patternProperties": {"(a|a)*$": False}}},
        {"schema": {"patternProperties": {"(a|a)*$": True}, "additionalProperties": False}},
        {"schema": {"propertyNames": {"pattern": "(a|a)*$"}}},
    ],
    ids=str,
)
def test_a_pattern_that_backtracks_ends_within_the_bound(
    expect: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.rules.expectations.Work", lambda: Work(seconds=0.2))
    assert flaws(expect) == []
    (found,) = complaints(expect, {"text": LONG, LONG: LONG})
    assert "it exceeds the time limit of 0.2 seconds" in found


HUGE = "(?:(?:a{1000}){1000}){1000}"
PATTERNS = {
    "no pattern": "(",
    "repeats of repeats": HUGE,
    "repeats of a long group": "(?:" + "ab?" * 300 + "){10000}",
    "repeats of a large class": "(?:["
    + "".join(map(chr, range(0x4E00, 0x4E00 + 900)))
    + "]b?){9000}",
    "large repeats side by side": "a{20000}" * 50,
    "repeats of nothing": "(?:(?:(?:){1000}){1000}){1000}",
    "repeats after what is a class for one package only": f"[[:alpha:][]{HUGE}]",
    "repeats between comments": f"(?#[){HUGE}(?#])",
    "repeats between comments of a verbose pattern": f"(?x)#[\n{HUGE}#]",
    "repeats with spaces": "(?x)(?:(?:a{1 000}){1 000}){1 000}",
    "repeats with comments": "(?x)(?:(?:a{1#}\n000}){1#}\n000}){1#}\n000}",
    "repeats of an approximate match": "(?:(?:(?:a{1000}){e}){1000}[{]){1000}",
    "very long": "a" * 1_001,
    "very deep": "(" * 450 + ")" * 450,
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize(
    ("place", "trail"),
    [
        (lambda text: {"values": {"x": {"matches": text}}}, ("values", "x", "matches")),
        (lambda text: {"values": {"x": {"not_matches": text}}}, ("values", "x", "not_matches")),
        (lambda text: {"schema": {"items": {"pattern": text}}}, ("schema", "items", "pattern")),
        (lambda text: {"schema": {"patternProperties": {text: {}}}}, None),
    ],
)
def test_a_pattern_that_cannot_be_bounded_is_refused_offline(
    pattern: str, place: Any, trail: Any
) -> None:
    assert flaws(place(pattern)) == [
        (trail or ("schema", "patternProperties", pattern), "Invalid regular expression"),
    ]


UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.mark.parametrize(
    "pattern",
    [
        f"^{UUID}/{UUID}/{UUID}$",
        f"^(?:{UUID},?){{1,50}}$",
        f"(?x) {UUID} / {UUID}",
        rf"(?:\d{{4}}-\d{{2}}-\d{{2}}T\d{{2}}:\d{{2}}:\d{{2}}\.\d{{6}}Z) {UUID}",
        f'^{{"id": "{UUID}"}}$',
        rf"\{{{UUID}\}}",
        "^.{1,100000}$",
        "^(?:.{1,1000} ){1,100}$",
    ],
)
def test_a_pattern_of_many_repeats_side_by_side_is_accepted(pattern: str) -> None:
    assert flaws({"values": {"x": {"matches": pattern}}}) == []


def test_a_pattern_that_a_reference_brings_is_looked_at_before_it_is_used() -> None:
    expect = {"values": {"text": {"matches": PATTERNS["repeats of repeats"]}}}
    assert "is not a regular expression" in complaints(expect, {"text": LONG})[0]


# --- JMESPath --------------------------------------------------------------------------------------------------------

DOUBLING = {
    "lists": "|".join(["[@,@]"] * 60),
    "flat lists": "|".join(["[@,@][]"] * 60),
    "maps": "|".join(["{a:@,b:@}"] * 60),
    "texts": "text|" + "|".join(["join('',[@,@])"] * 60),
    "texts of lists": "|".join(["[@,@]"] * 60) + "|to_string(@)",
    "projections": "items" + "".join(["|[*].[@,@][]"] * 40),
}


@pytest.mark.parametrize("expression", DOUBLING.values(), ids=DOUBLING)
def test_an_expression_that_doubles_its_value_ends_within_the_bound(expression: str) -> None:
    test, body = {"exists": True}, {"text": "abc", "items": [1, 2, 3]}
    assert flaws({"values": {expression: test}}) == []
    (found,) = complaints({"values": {expression: test}}, body)
    assert "could not be fully evaluated" in found


def test_a_large_answer_may_be_looked_at_as_it_is() -> None:
    body = {"data": [{"embedding": [0.5] * 300, "text": "a" * 100_000} for _ in range(100)]}
    assert (
        complaints(
            {"values": {"length(data)": 100, "data[0].embedding[0]": 0.5, "@": {"exists": True}}},
            body,
        )
        == []
    )


@pytest.mark.parametrize(
    "expression", ["(" * 900 + "a" + ")" * 900, "a" * 2_001, "[" * 700, "!" * 1_500 + "a"]
)
def test_an_expression_that_is_too_long_or_too_deep_is_refused_offline(expression: str) -> None:
    assert flaws({"values": {expression: "x"}}) == [
        (("values", expression), "Invalid JMESPath expression")
    ]


def test_an_expression_is_bounded_by_the_clock_too() -> None:
    with pytest.raises(Exception, match="time limit of 0 seconds"):
        evaluate("[*].[a,b]", [{"a": 1, "b": 2}] * 5_000, Work(seconds=0))


# --- schemas ---------------------------------------------------------------------------------------------------------

CIRCLES = {
    "itself": {"$ref": "#"},
    "by way of another": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    },
    "in allOf": {"allOf": [{"$ref": "#"}]},
    "in anyOf": {"properties": {"x": {"anyOf": [True, {"$ref": "#/properties/x"}]}}},
    "in not": {"not": {"$ref": "#"}},
    "in if": {"if": {"$ref": "#"}},
    "in dependentSchemas": {"dependentSchemas": {"a": {"$ref": "#"}}},
    "by an anchor": {"$anchor": "top", "oneOf": [{"$ref": "#top"}]},
    "by a dynamic anchor": {"$dynamicAnchor": "top", "oneOf": [{"$dynamicRef": "#top"}]},
    "where no schema is expected": {"$ref": "#/x/y", "x": {"y": {"$ref": "#"}}},
}


@pytest.mark.parametrize("schema", CIRCLES.values(), ids=CIRCLES)
def test_an_endless_schema_is_refused_offline(schema: dict[str, Any]) -> None:
    assert [summary for _, summary in flaws({"schema": schema})] == ["Circular schema"]


REFERENCES = {
    "http://127.0.0.1:9/x": "Reference not possible here",
    "other.json": "Reference not possible here",
    "urn:x:y": "Reference not possible here",
    "#/nowhere": "Unknown reference",
    "#nowhere": "Unknown reference",
    "#/required": "Unknown reference",
    "#/allOf/9": "Unknown reference",
}


@pytest.mark.parametrize(("reference", "summary"), REFERENCES.items())
@pytest.mark.parametrize("place", [lambda ref: ref, lambda ref: {"items": {"contains": ref}}])
def test_a_reference_that_leads_to_no_schema_in_it_is_refused_offline(
    reference: str, summary: str, place: Any
) -> None:
    schema = {"required": ["a"], "allOf": [True], **place({"$ref": reference})}
    assert [found for _, found in flaws({"schema": schema})] == [summary]


@pytest.mark.parametrize(
    "schema",
    [
        {"$id": "https://example.com/x"},
        {"$defs": {"a": {"$id": "other"}}},
        {"patternProperties": {"a": True}, "unevaluatedProperties": False},
    ],
    ids=str,
)
def test_an_unsupported_feature_of_a_check_is_refused_offline(schema: dict[str, Any]) -> None:
    assert [found for _, found in flaws({"schema": schema})] == ["Not supported"]


def test_a_schema_of_a_tree_is_fine() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    assert flaws({"schema": tree}) == []
    assert complaints({"schema": tree}, {"children": [{"children": []}]}) == []
    assert (
        "$.children[0].children" in complaints({"schema": tree}, {"children": [{"children": 3}]})[0]
    )


def doubling(levels: int) -> dict[str, Any]:
    """A schema that is held against a value two to the power of `levels` times."""
    defs = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**defs, f"a{levels}": True}}


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (doubling(60), {}),
        ({**doubling(60), "unevaluatedProperties": False}, {"x": 1}),
        ({"properties": {"x": {"uniqueItems": True}}}, {"x": [{"n": n} for n in range(10_000)]}),
        ({"items": {"enum": list(range(50_000))}}, [-1] * 5_000),
        ({"allOf": [{"type": "string"}] * 200}, {"text": "a" * 500_000}),
    ],
    ids=["doubling", "doubling, unevaluated", "unique", "choices", "messages"],
)
def test_a_schema_that_multiplies_work_ends_within_the_bound(
    schema: dict[str, Any], body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.rules.expectations.Work", lambda: Work(steps=20_000))
    assert flaws({"schema": schema}) == []
    (found,) = complaints({"schema": schema}, body)
    assert "could not be fully evaluated" in found


def test_a_deep_schema_is_refused_offline() -> None:
    schema: dict[str, Any] = {}
    for _ in range(90):
        schema = {"items": schema}
    assert [found for _, found in flaws({"schema": schema})] == ["Schema too large"]


def test_a_deep_answer_is_no_crash() -> None:
    body: dict[str, Any] = {}
    for _ in range(900):
        body = {"a": body}
    tree = {"properties": {"a": {"$ref": "#"}}}
    (found,) = complaints({"schema": tree}, body)
    assert "could not be fully evaluated" in found


def test_additional_properties_are_told_from_those_that_a_pattern_names() -> None:
    schema = {
        "properties": {"a": True},
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
    }
    assert complaints({"schema": schema}, {"a": 1, "x-b": 2}) == []
    assert "'c' was unexpected" in complaints({"schema": schema}, {"a": 1, "x-b": 2, "c": 3})[0]


# --- a run -----------------------------------------------------------------------------------------------------------


def test_one_check_that_takes_too_long_says_nothing_of_the_others(workspace: Workspace) -> None:
    expect = f'{{values: {{"{DOUBLING["lists"]}": x}}}}'
    workspace.declare(
        "kind: Check\nmetadata: {name: good}\nspec: {operation: listModels}\n",
        f"kind: Check\nmetadata: {{name: bad}}\nspec: {{operation: listModels, expect: {expect}}}\n",
    )
    done = workspace.run("check", expect=1)
    assert "✓ Check/good" in done.out
    assert "its result exceeds the maximum size" in done.out
