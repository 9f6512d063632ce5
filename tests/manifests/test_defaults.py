"""`??` in expressions, and expressions inside of references."""

from __future__ import annotations

from typing import Any

import pytest

from tests.manifests.conftest import Folder

STACK = """\
kind: Stack
spec:
  env: [UNSET, HIDDEN]
  variables:
    limits: {requests: 5, nothing: null, off: false, zero: 0}
    text: hello
    required: {type: string, default: given}
"""


def metadata_with(folder: Folder, text: str) -> Folder:
    body = f"kind: Agent\nmetadata: {{name: a}}\nspec: {{name: a, model: m, metadata: {{v: {text}}}}}\n"
    return folder.write({"reconciler.yaml": STACK, "m.yaml": body})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("var.limits.requests ?? 1", 5),
        ("var.limits.tokens ?? 7", 7),
        ("var.limits.tokens ?? -7.5", -7.5),
        ("var.limits.nothing ?? 7", 7),
        ("var.limits.off ?? true", False),
        ("var.limits.zero ?? 1", 0),
        ('var.limits.tokens ?? "a ?? b"', "a ?? b"),
        ("var.limits.tokens ?? ''", ""),
        ("var.limits.tokens ?? null", None),
        ("var.limits.tokens ?? []", []),
        ("var.limits.tokens ?? var.limits.requests", 5),
        ("var.limits.a ?? var.limits.b ?? 3", 3),
        ("env.UNSET ?? 'nothing'", "nothing"),
    ],
)
def test_the_default_applies_if_the_value_is_absent_or_null(
    folder: Folder, expression: str, value: Any
) -> None:
    folder.env |= {"RECONCILER_ALLOW_ENV": "UNSET"}
    quoted = "'" + ("${" + expression + "}").replace("'", "''") + "'"
    outputs = f"  outputs: {{v: {quoted}}}\n"
    folder.write({"reconciler.yaml": STACK + outputs})
    assert folder.load_stack().outputs["v"] == value


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("var.none ?? 1", "Unknown variable"),
        ("var.text.key ?? 1", "No such key"),
        ("env.HIDDEN ?? 1", "Environment variable not allowed"),
        ("Agent/a.name ?? 1", "No default for a reference"),
        ("var.text ?? word", "Unknown default"),
        ("var.text ??", "Unknown default"),
        ('var.text ?? "open', "Unfinished default"),
        ("?? 1", "Unknown expression"),
    ],
)
def test_a_wrong_expression_is_an_error_despite_its_default(
    folder: Folder, expression: str, said: str
) -> None:
    metadata_with(folder, "'${" + expression + "}'")
    assert any(said in line for line in folder.problems())


def test_a_value_known_only_after_apply_cannot_have_a_default(folder: Folder) -> None:
    folder.write(
        {
            "m.yaml": """\
            kind: Agent
            metadata: {name: "${each.key}"}
            for_each: {a: "${VectorStore/docs}"}
            spec: {name: a, model: m, metadata: {v: "${each.value.name ?? 1}"}}
            ---
            kind: VectorStore
            metadata: {name: docs}
            spec: {name: docs}
            """
        }
    )
    assert any("Known only after apply" in line for line in folder.problems())


def test_a_reference_can_contain_the_key_of_for_each(folder: Folder) -> None:
    folder.write(
        {
            "m.yaml": """\
            kind: VectorStore
            metadata: {name: "docs-${each.key}"}
            for_each: [a, b]
            spec: {name: "${each.key}"}
            ---
            kind: Agent
            metadata: {name: "${each.key}"}
            for_each: [a, b]
            spec: {name: x, model: m, metadata: {store: "${VectorStore/docs-${each.key}}"}}
            """
        }
    )
    agents = [one for one in folder.load().resources if one.kind.name == "Agent"]
    assert [str(*agent.references) for agent in agents] == [
        "VectorStore/docs-a",
        "VectorStore/docs-b",
    ]


def test_a_value_inside_of_a_reference_must_be_a_name(folder: Folder) -> None:
    body = 'kind: Agent\nmetadata: {name: a}\nspec: {name: a, model: m, metadata: {v: "${Group/${var.text}}"}}\n'
    stack = "kind: Stack\nspec: {variables: {text: 'x/../y'}}\n"
    folder.write({"reconciler.yaml": stack, "m.yaml": body})
    assert any("Not a name" in line for line in folder.problems())


def test_expressions_nest_only_once(folder: Folder) -> None:
    metadata_with(folder, "'${Group/${Group/${var.text}}}'")
    assert folder.problems()


def test_a_default_is_not_evaluated_as_an_expression_of_a_file(folder: Folder) -> None:
    """A text after `??` that looks like an expression stays text."""
    metadata_with(folder, "\"${var.limits.x ?? '$var.text'}\"")
    assert folder.spec("Agent/a")["metadata"]["v"] == "$var.text"
