"""A live value is written where the manifest declares it, and no other text changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.kinds import KINDS
from reconciler.manifests import Settings
from reconciler.manifests.accepting import MISSING, FileChange, ManifestEditor, Refused
from reconciler.manifests.load import load_documents
from reconciler.manifests.problems import Problems
from reconciler.model.address import Address
from reconciler.rules import RULE_KINDS

HEAD = "kind: Assistant\nmetadata: {name: bot}\nspec:\n"
BOT = Address("Assistant", "bot")


def accept(
    folder: Path, values: dict[str, Any], **more: Any
) -> tuple[list[FileChange], list[Refused]]:
    """The changed files and the refused values. `more` are settings."""
    inputs = Settings(folder, **more)
    editor = ManifestEditor(inputs, KINDS, RULE_KINDS, identify=str, refer=lambda _: None)
    for name, value in values.items():
        editor.accept(BOT, name, value)
    files, refused, _ = editor.result()
    return files, refused


def after(folder: Path, spec: str, **values: Any) -> str:
    """The text of a spec after some of its fields got a value."""
    (folder / "a.yaml").write_text(HEAD + spec, encoding="utf-8")
    files, refused = accept(folder, values)
    assert not refused
    [change] = files
    assert change.after.startswith(HEAD)
    return change.after.removeprefix(HEAD)


CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "single quotes stay": ("  name: 'It''s'\n", {"name": "That's"}, "  name: 'That''s'\n"),
    "a number in quotes": ("  name: '1'\n", {"name": "2"}, "  name: '2'\n"),
    "text over two lines": (
        "  name: one\n    two  # c\n  model: m\n",
        {"name": "three"},
        "  name: three  # c\n  model: m\n",
    ),
    "folded text becomes literal": (
        "  instructions: >\n    one\n    two\n  model: m\n",
        {"instructions": "one\ntwo\n"},
        "  instructions: |\n    one\n    two\n  model: m\n",
    ),
    "no value yet": ("  name:\n  model: m\n", {"name": "n"}, "  name: n\n  model: m\n"),
    "no line break at the end": ("  name: a", {"name": "b"}, "  name: b"),
    "a new field": ("  name: a\n# end\n", {"model": "m"}, "  name: a\n  model: m\n# end\n"),
    "a new field behind a text": (
        "  instructions: |\n    a\n\n# end\n",
        {"model": "m"},
        "  instructions: |\n    a\n  model: m\n\n# end\n",
    ),
    "a new field without a line break": ("  name: a", {"model": "m"}, "  name: a\n  model: m"),
    "a field that goes": (
        "  # above\n  name: a  # beside\n  model: m\n",
        {"name": MISSING},
        "  # above\n  model: m\n",
    ),
    "a text that goes": (
        "  instructions: |\n    a\n    b\n  model: m\n",
        {"instructions": MISSING},
        "  model: m\n",
    ),
    "an item in the middle": (
        "  tools:\n    - a  # 1\n    - c  # 3\n",
        {"tools": ["a", "b", "c"]},
        "  tools:\n    - a  # 1\n    - b\n    - c  # 3\n",
    ),
    "an item at the start": (
        "  tools:\n  - b  # 2\n",
        {"tools": ["a", "b"]},
        "  tools:\n  - a\n  - b  # 2\n",
    ),
    "an item in brackets": (
        "  tools: [a, c]\n",
        {"tools": ["a", "b", "c"]},
        "  tools: [a, b, c]\n",
    ),
    "the first item in brackets": ("  tools: [b]\n", {"tools": ["a", "b"]}, "  tools: [a, b]\n"),
    "an item goes from brackets": ("  tools: [a, b]\n", {"tools": ["a"]}, "  tools: [a]\n"),
    "a comma at the end": (
        "  tools: [\n    a,\n  ]\n",
        {"tools": ["a", "b"]},
        "  tools: [\n    a, b,\n  ]\n",
    ),
    "an empty list": ("  tools: []  # none\n", {"tools": ["a"]}, "  tools: [a]  # none\n"),
    "a list that becomes empty": (
        "  tools:\n    - a\n  model: m\n",
        {"tools": []},
        "  tools: []\n  model: m\n",
    ),
    "the first key of an item": (
        "  tools:\n    - a: 1\n      b: 2\n",
        {"tools": [{"b": 2}]},
        "  tools:\n    - b: 2\n",
    ),
    "a value inside two levels": (
        "  metadata:\n    a:\n      b: 1  # x\n      c: 2\n",
        {"metadata": {"a": {"b": 3, "c": 2}}},
        "  metadata:\n    a:\n      b: 3  # x\n      c: 2\n",
    ),
    "a map in a map": (
        "  metadata:\n    a: 1\n  model: m\n",
        {"metadata": {"a": 1, "b": {"c": [1, {"d": "x: y"}]}}},
        '  metadata:\n    a: 1\n    b:\n      c:\n        - 1\n        - d: "x: y"\n  model: m\n',
    ),
    "an empty map": ("  metadata: {}\n", {"metadata": {"a": "b"}}, "  metadata: {a: b}\n"),
    "unicode and emoji": ('  name: "é"\n', {"name": "Ünïcode 🙂"}, '  name: "Ünïcode 🙂"\n'),
    "a hidden character": ("  name: a\n", {"name": "a\u200bb"}, '  name: "a\\u200bb"\n'),
}


@pytest.mark.parametrize("case", CASES)
def test_only_the_text_of_the_value_changes(tmp_path: Path, case: str) -> None:
    spec, values, wanted = CASES[case]
    assert after(tmp_path, spec, **values) == wanted


def test_a_null_that_means_not_set_stays(tmp_path: Path) -> None:
    spec = "  metadata: {a: 1, b: null}\n"
    assert after(tmp_path, spec, metadata={"a": 2}) == "  metadata: {a: 2, b: null}\n"


def test_the_right_document_of_a_file_is_changed(tmp_path: Path) -> None:
    other = HEAD.replace("bot", "other")
    (tmp_path / "a.yaml").write_text(f"{other}  name: a\n---\n{HEAD}  name: a\n")
    [change], _ = accept(tmp_path, {"name": "b"})
    assert change.after == f"{other}  name: a\n---\n{HEAD}  name: b\n"


def test_a_text_of_several_expressions_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "reconciler.yaml").write_text("kind: Stack\nspec: {variables: {a: x}}\n")
    (tmp_path / "a.yaml").write_text(HEAD + "  name: The ${var.a}\n")
    files, [refused] = accept(tmp_path, {"name": "The y"})
    assert files == []
    assert str(refused.place) == "a.yaml:4:9"
    assert "put together" in refused.reason


def test_an_environment_variable_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD + "  name: ${env.STAGE}\n")
    _, [refused] = accept(tmp_path, {"name": "prod"}, allow_env=("STAGE",), env={"STAGE": "dev"})
    assert "environment variable STAGE" in refused.reason


TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="$\r\x85\u2028\u2029\ufffe\uffff"),
    max_size=12,
)
SCALARS = TEXTS | st.integers(-999, 999) | st.booleans()
KEYS = st.sampled_from("abcdef")
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=VALUES, wanted=VALUES, flow=st.sampled_from([True, False, None]))
def test_an_accepted_value_reads_back(
    tmp_path: Path, before: Any, wanted: Any, flow: bool | None
) -> None:
    spec = {"name": "kept", "metadata": before, "model": "kept"}
    document = {"kind": "Assistant", "metadata": {"name": "bot"}, "spec": spec}
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8", newline="")
    problems = Problems()
    [parsed] = load_documents(text, "a.yaml", problems)
    files, refused = accept(tmp_path, {"metadata": wanted})
    # A layout that cannot be edited safely is refused, and nothing is written.
    if refused:
        return
    changed = files[0].after if files else text
    [document_after] = load_documents(changed, "a.yaml", problems)
    assert not problems.errors
    parsed.value["spec"]["metadata"] = wanted
    # As JSON, where 1, 1.0 and true differ.
    read_back = json.dumps(document_after.value, sort_keys=True)
    assert read_back == json.dumps(parsed.value, sort_keys=True)


def test_a_value_in_a_module_is_refused_because_every_declaration_would_get_it(
    tmp_path: Path,
) -> None:
    module = tmp_path / "modules" / "m"
    module.mkdir(parents=True)
    (module / "module.yaml").write_text("variables: {}\n", encoding="utf-8")
    (module / "a.yaml").write_text(HEAD + "  name: a\n  model: m\n", encoding="utf-8")
    call = "kind: Module\nmetadata: {name: x}\nspec: {source: modules/m}\n"
    (tmp_path / "m.yaml").write_text(call, encoding="utf-8")
    files, [refused] = accept(tmp_path, {"name": "b"})
    assert not files
    assert refused.reason == (
        "its manifest is in the module modules/m: add a variable to the module"
    )
