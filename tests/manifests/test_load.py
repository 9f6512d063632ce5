"""YAML and JSON become documents: the meaning of values, their locations, and refused texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests.load import (
    MAX_BYTES,
    MAX_DEPTH,
    load_documents,
    parse_flow,
    plain_value,
    read_text,
)
from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.manifests.source_map import Document


def documents(text: str, *, is_json: bool = False) -> list[Document]:
    problems = Problems()
    found = load_documents(text, "a.yaml", problems, is_json=is_json)
    assert problems.in_reading_order() == ()
    return found


def value(text: str) -> Any:
    return documents(text)[0].value


def problems_of(text: str, *, is_json: bool = False) -> list[str]:
    problems = Problems()
    load_documents(text, "a.yaml", problems, is_json=is_json)
    return [str(one) for one in problems.in_reading_order()]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("true", True), ("false", False), ("True", "True"), ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"),
        ("null", None), ("~", None), ("", None), ("Null", "Null"),
        ("12", 12), ("-3", -3), ("007", 7), ("0x1f", 31), ("0o17", 15), ("1_000", "1_000"), ("12:30", "12:30"),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1e999", "1e999"), (".inf", ".inf"), (".nan", ".nan"),
        ("2026-08-26", "2026-08-26"), ("2026-08-26T10:00:00Z", "2026-08-26T10:00:00Z"), ("gpt-4.1", "gpt-4.1"),
    ],
)  # fmt: skip
def test_a_plain_scalar_means_what_yaml_1_2_says(text: str, meant: Any) -> None:
    found = plain_value(text)
    assert (found, type(found)) == (meant, type(meant))


@pytest.mark.parametrize(
    ("text", "meant"), [("'12'", "12"), ('"true"', "true"), ("|\n  12\n", "12\n"), ("!!str 1", "1")]
)
def test_a_quoted_scalar_stays_text(text: str, meant: str) -> None:
    assert value(f"a: {text}") == {"a": meant}


def test_empty_documents_are_left_out() -> None:
    assert [one.value for one in documents("---\n---\n# nothing\n---\na: 1\n")] == [{"a": 1}]


def test_an_alias_repeats_the_value_of_its_anchor() -> None:
    assert value("a: &x {b: [1]}\nc: *x") == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_an_anchor_ends_with_its_document() -> None:
    assert problems_of("a: &x 1\n---\nb: *x\n") == [
        'a.yaml:3:4: error: Alias "*x" cannot be followed: No earlier anchor has that name.'
    ]


def test_json_with_surrogate_pairs_and_escaped_slashes_is_read() -> None:
    found = documents('{"a": "\\ud83d\\ude00 \\/ \\\\ud83d"}', is_json=True)
    assert found[0].value == {"a": "😀 / \\ud83d"}


def test_the_items_of_a_json_list_are_documents() -> None:
    found = documents('[{"a": 1},\n {"b": 2}]', is_json=True)
    assert [(one.value, str(one.place)) for one in found] == [
        ({"a": 1}, "a.yaml:1:2"),
        ({"b": 2}, "a.yaml:2:2"),
    ]


BROKEN = {
    "syntax": (
        "a: [1\nb: 2",
        (
            "a.yaml:2:2: error: Not valid YAML: Did not find expected ',' or ']', while parsing a flow "
            "sequence that starts in line 1."
        ),
    ),
    "tab": (
        "a:\n\tb: 1",
        (
            "a.yaml:2:1: error: Not valid YAML: Found character that cannot start any token, while scanning "
            "for the next token that starts in line 2."
        ),
    ),
    "control character": (
        "é: é\né: \x01",
        "a.yaml:2:4: error: Not valid YAML: Control characters are not allowed.",
    ),
    "duplicate key": (
        "a: 1\nb: 2\na: 3",
        'a.yaml:3:1: error: Duplicate key: "a" appears twice in the same map.',
    ),
    "number as key": (
        "a:\n  1: x",
        'a.yaml:2:3: error: Not a key: Keys must be strings: write "1" in quotes.',
    ),
    "null as key": (
        "~: x",
        'a.yaml:1:1: error: Not a key: Keys must be strings: write "~" in quotes.',
    ),
    "list as key": ("[a]: x", "a.yaml:1:1: error: Not a key: Keys must be strings."),
    "merge key": (
        "a: &x {b: 1}\nc:\n  <<: *x",
        "a.yaml:3:3: error: Merge keys are not supported: Repeat the keys, or alias a whole value.",
    ),
    "python tag": (
        "a: !!python/name:os.system x",
        "a.yaml:1:4: error: Tags are not supported: Remove !!python/name:os.system: only plain data is supported.",
    ),
    "own tag": (
        "a: !secret x",
        "a.yaml:1:4: error: Tags are not supported: Remove !secret: only plain data is supported.",
    ),
    "tag of another type": (
        "a: !!int x",
        "a.yaml:1:4: error: Tag does not match the value: The value is no !!int.",
    ),
    "map tagged as a list": (
        "a: !!seq {}",
        "a.yaml:1:4: error: Tag does not match the value: The value is no !!seq.",
    ),
    "recursion": (
        "a: &x [*x]",
        'a.yaml:1:8: error: Alias "*x" cannot be followed: The value would contain itself.',
    ),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_text_is_one_problem_at_its_place(text: str, message: str) -> None:
    assert problems_of(text) == [message]


def test_documents_before_a_syntax_error_are_kept() -> None:
    found = load_documents("a: 1\n---\nb: [", "a.yaml", Problems())
    assert [one.value for one in found] == [{"a": 1}]


def test_all_duplicate_keys_are_reported_at_once() -> None:
    assert len(problems_of("a: 1\na: 2\nb: {c: 1, c: 2}\n")) == 2


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "- " * 3_000 + "a", "{a: " * 100_000, "? " * 100_000]
)
def test_deep_nesting_is_refused(text: str) -> None:
    (problem,) = problems_of(text)
    assert problem.endswith(
        f"error: Nested too deeply: The maximum nesting depth is {MAX_DEPTH} levels."
    )


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)
    ]
    assert problems_of("\n".join(lines)) == [
        "a.yaml:6:25: error: Aliases expand too far: Aliases may expand to at most 100,000 values."
    ]


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    problems = Problems()
    assert read_text(tmp_path / "big.yaml", "big.yaml", problems) is None
    assert (
        str(problems.in_reading_order()[0])
        == "big.yaml:1:1: error: File too large: The maximum size is 5 MB: split the file."
    )


def test_bytes_that_are_not_utf_8_are_refused_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: \xff\n")
    problems = Problems()
    assert read_text(tmp_path / "a.yaml", "a.yaml", problems) is None
    assert (
        str(problems.in_reading_order()[0])
        == "a.yaml:2:4: error: Not UTF-8: The file is not UTF-8 text."
    )


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_text(tmp_path / "a.yaml", "a.yaml", Problems()) == "a: 1"


@pytest.mark.parametrize(
    ("text", "meant"),
    [("12", 12), ("gpt-4.1", "gpt-4.1"), ("a: b", "a: b"), ("[a, 1]", ["a", 1]), ("{a: 1}", {"a": 1}), ('"1"', "1"),
     ("", None), (" x", " x")],
)  # fmt: skip
def test_a_value_of_the_command_line_is_a_scalar_or_in_brackets(text: str, meant: Any) -> None:
    assert parse_flow(text) == meant


def test_a_broken_value_of_the_command_line_is_refused() -> None:
    with pytest.raises(ValueProblem):
        parse_flow("[a")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_json_means_the_same_as_to_a_json_parser(wanted: Any) -> None:
    import json

    found = load_documents(json.dumps({"a": wanted}), "a.json", Problems(), is_json=True)
    assert found[0].value == {"a": wanted}


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("kind: A\nspec: {model: ${var.x}}\n", '"${var.x}"'),
        ("spec: {model: ${var.x}, size: 1}\n", '"${var.x}"'),
        ("spec: [a, ${var.x}]\n", '"${var.x}"'),
        ("spec: {name: bot-${var.x}-${var.y}}\n", '"bot-${var.x}-${var.y}"'),
        ("spec: {${each.key}: 1}\n", '"${each.key}"'),
        ("spec:\n  {\n  model: ${var.x},\n  }\n", '"${var.x}"'),
        ('spec: ${var.x ?? "a: b"}\n', "'${var.x ?? \"a: b\"}'"),
        ("spec: {a: '${var.y}', model: ${var.x}}\n", '"${var.x}"'),
    ],
)
def test_an_expression_that_needs_quotes_gets_a_hint(text: str, quoted: str) -> None:
    problems = Problems()
    load_documents(text, "m.yaml", problems)
    [problem] = problems.in_reading_order()
    assert problem.detail.endswith(f"Put the expression in quotes: {quoted}.")


@pytest.mark.parametrize(
    "text",
    ["spec: {a: 1\nb: 2\n", 'spec: {a: "${var.x}", b: [}\n', "a: ${var.x}: y\n", "spec: {a: ${"],
)
def test_other_syntax_errors_get_no_hint_about_expressions(text: str) -> None:
    problems = Problems()
    load_documents(text, "m.yaml", problems)
    [problem] = problems.in_reading_order()
    assert "Put the expression in quotes" not in problem.detail
