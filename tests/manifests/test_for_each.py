"""`for_each`: one document, many resources."""

from __future__ import annotations

import pytest

from reconciler.model.address import Address
from reconciler.model.values import Reference
from tests.manifests.conftest import PROJECT, Folder


def limits(for_each: str, name: str = "${each.key}") -> str:
    return f"""\
{PROJECT}---
kind: RateLimit
metadata: {{name: '{name}', project: search}}
for_each: {for_each}
spec:
  model: ${{each.key}}
  max_requests_per_1_minute: ${{each.value}}
"""


def addresses(folder: Folder) -> list[str]:
    return [str(resource.address) for resource in folder.load().resources]


def test_each_entry_of_a_map_becomes_a_resource(folder: Folder) -> None:
    folder.write({"m.yaml": limits("{gpt-4.1: 5, gpt-5: 6}")})
    specs = {str(one.address): one.spec for one in folder.load().resources if one.address.project}
    assert specs == {
        "RateLimit/search/gpt-4.1": {"model": "gpt-4.1", "max_requests_per_1_minute": 5},
        "RateLimit/search/gpt-5": {"model": "gpt-5", "max_requests_per_1_minute": 6},
    }


def test_in_a_list_the_text_is_both_key_and_value(folder: Folder) -> None:
    text = "kind: Project\nmetadata: {name: '${each.key}'}\nfor_each: [a, b]\nspec: {name: 'x-${each.value}'}\n"
    folder.write({"m.yaml": text})
    assert [one.spec["name"] for one in folder.load().resources] == ["x-a", "x-b"]


def test_an_empty_map_declares_nothing(folder: Folder) -> None:
    folder.write({"m.yaml": limits("{}")})
    assert addresses(folder) == ["Project/search"]


def test_an_expression_can_give_the_map(folder: Folder) -> None:
    folder.write(
        {
            "m.yaml": limits("${var.models}"),
            "reconciler.yaml": "kind: Stack\nspec: {variables: {models: {a: 1}}}\n",
        }
    )
    assert addresses(folder) == ["Project/search", "RateLimit/search/a"]


def test_a_value_can_hold_a_reference(folder: Folder) -> None:
    text = """\
        kind: VectorStore
        metadata: {name: handbook}
        spec: {}
        ---
        kind: Assistant
        metadata: {name: '${each.key}'}
        for_each: {a: {store: '${VectorStore/handbook}'}}
        spec: {model: m, tool_resources: {file_search: {vector_store_ids: ['${each.value.store}']}}}
        """
    folder.write({"m.yaml": text})
    found = folder.spec("Assistant/a")["tool_resources"]["file_search"]["vector_store_ids"]
    assert found == [Reference(Address("VectorStore", "handbook"))]


def test_resources_of_one_document_share_its_place(folder: Folder) -> None:
    folder.write({"m.yaml": limits("{a: 1, b: 2}")})
    places = {str(one.locations["model"]) for one in folder.load().resources if one.address.project}
    assert places == {"m.yaml:9:10"}


def test_a_problem_of_every_entry_is_reported_once(folder: Folder) -> None:
    folder.write({"m.yaml": limits("{a: 1, b: 2}").replace("model:", "modl:")})
    assert [problem.split("error: ")[1] for problem in folder.problems()] == [
        'RateLimit/search/a: Missing "model": spec requires it.',
        'RateLimit/search/a: Unknown field "modl": spec has no field "modl". Did you mean "model"?',
    ]


REFUSED = {
    "number": ("3", "Wrong type: for_each must be a map or a list of strings; found 3."),
    "null": ("", "Wrong type: for_each must be a map or a list of strings; found null."),
    "numbers": (
        "[1, 2]",
        "Wrong type: for_each must be a map or a list of strings; found a list that does not only contain strings.",
    ),
    "repeated": ("[a, b, a]", 'Not unique: for_each contains "a" more than once.'),
    "too many": (
        "[" + ", ".join(f"n{n}" for n in range(10_001)) + "]",
        "Too many: for_each has 10,001 entries; the maximum is 10,000.",
    ),
    "unknown before apply": (
        "'${Project/search}'",
        "Cannot expand for_each: The value of for_each must be known before apply.",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_expanded_is_one_problem(folder: Folder, text: str, message: str) -> None:
    folder.write({"m.yaml": limits(text)})
    (problem,) = folder.problems()
    assert problem.startswith("m.yaml:7:")
    assert problem.endswith(f"error: {message}")


def test_a_constant_name_gets_a_suggestion_to_use_the_key(folder: Folder) -> None:
    folder.write({"m.yaml": limits("{a: 1, b: 2}", name="fixed")})
    assert folder.problems()[0] == (
        "m.yaml:6:18: error: RateLimit/search/fixed: Duplicate address: RateLimit/search/fixed is also "
        "declared at m.yaml:6:18. Use ${each.key} in metadata.name or metadata.project."
    )


def test_ten_thousand_resources_expand(folder: Folder) -> None:
    models = ", ".join(f"m{n}: {n}" for n in range(10_000))
    folder.write({"m.yaml": limits(f"{{{models}}}")})
    assert len(folder.load().resources) == 10_001
