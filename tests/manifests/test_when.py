"""`when`: which documents exist, and the problems of references to those that do not."""

from __future__ import annotations

import pytest

from tests.manifests.conftest import Folder

STACK = "kind: Stack\nspec: {variables: {yes: true, no: false, text: maybe}}\n"


def with_when(folder: Folder, when: str, more: str = "") -> Folder:
    group = f"kind: Group\nmetadata: {{name: g}}\nwhen: {when}\nspec: {{name: G}}\n"
    return folder.write({"reconciler.yaml": STACK, "m.yaml": group + more})


@pytest.mark.parametrize(
    ("when", "exists"),
    [("true", True), ("false", False), ("${var.yes}", True), ("${var.no}", False)],
)
def test_a_document_exists_if_when_is_true(folder: Folder, when: str, exists: bool) -> None:
    assert bool(with_when(folder, when).load().resources) == exists


def test_when_decides_for_each_entry(folder: Folder) -> None:
    folder.write(
        {
            "m.yaml": """\
            kind: Group
            metadata: {name: "${each.key}"}
            for_each: {a: {on: true}, b: {on: false}, c: {}}
            when: ${each.value.on ?? true}
            spec: {name: "${each.key}"}
            """
        }
    )
    assert [str(one.address) for one in folder.load().resources] == ["Group/a", "Group/c"]


def test_an_expression_of_a_left_out_document_is_not_evaluated(folder: Folder) -> None:
    group = 'kind: Group\nmetadata: {name: "${var.none}"}\nwhen: false\nspec: {name: x}\n'
    assert folder.write({"m.yaml": group}).load().resources == ()


def test_a_reference_to_a_left_out_document_says_why_it_does_not_exist(folder: Folder) -> None:
    store = 'kind: VectorStore\nmetadata: {name: s}\nspec: {name: s, metadata: {g: "${Group/g}"}}\n'
    with_when(folder, "false", f"---\n{store}")
    assert folder.problems() == [
        (
            'm.yaml:8:31: error: VectorStore/s: Reference to a skipped document: "Group/g" does not exist here: '
            'its "when" at m.yaml:3:7 is false. Give this document the same "when", or use a variable '
            "instead."
        )
    ]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("maybe", "m.yaml:3:7: error: Wrong type: when must be true or false; found"),
        ("${var.text}", "m.yaml:3:7: error: Wrong type: when must be true or false; found"),
        ("${Group/g}", "Reference not possible here"),
        ("null", "when must be true or false"),
    ],
)
def test_a_when_that_is_no_boolean_is_an_error(folder: Folder, when: str, said: str) -> None:
    assert any(said in line for line in with_when(folder, when).problems())
