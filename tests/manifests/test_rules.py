"""Claims about documents that declare no object: they are read, expanded and checked as all documents are."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import ConfigurationError
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, Settings, load_configuration
from reconciler.model.address import Address
from reconciler.model.values import LocalFile, Reference
from reconciler.rules import RULE_KINDS

STORE = "kind: VectorStore\nmetadata: {name: handbook}\nspec: {name: Handbook}\n"
HEAD = "kind: Check\nmetadata: {name: it}\nspec:\n"


def load(folder: Path, *documents: str) -> Configuration:
    (folder / "m.yaml").write_text("---\n".join(documents), encoding="utf-8")
    return load_configuration(Settings(root=folder), KINDS, RULE_KINDS)


def problems(folder: Path, *documents: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, *documents)
    return [str(item) for item in caught.value.diagnostics]


def test_a_rule_is_not_a_resource(tmp_path: Path) -> None:
    loaded = load(tmp_path, STORE, HEAD + "  operation: listModels\n")
    assert [resource.address.kind for resource in loaded.resources] == ["VectorStore"]
    assert [rule.address for rule in loaded.rules] == [Address("Check", "it")]


def test_a_rule_does_not_change_what_would_be_applied(tmp_path: Path) -> None:
    with_rule = load(tmp_path, STORE, HEAD + "  operation: listModels\n").digest
    assert load(tmp_path, STORE).digest == with_rule


def test_a_rule_may_refer_to_resources_and_read_files(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    search = (
        HEAD
        + '  operation: searchVectorStore\n  parameters: {vector_store_id: "${VectorStore/handbook}"}\n'
    )
    hears = (
        HEAD.replace("it", "hears") + "  operation: createTranscription\n  files: {file: a.wav}\n"
    )
    first, second = load(tmp_path, STORE, hears, search).rules
    assert isinstance(first.spec["files"]["file"], LocalFile)
    assert second.spec["parameters"]["vector_store_id"] == Reference(
        Address("VectorStore", "handbook")
    )
    assert second.references == {Address("VectorStore", "handbook")}


def test_for_each_declares_a_rule_for_each_entry(tmp_path: Path) -> None:
    text = (
        'kind: Check\nmetadata: {name: "has-${each.key}"}\nfor_each: [gpt-5.1, gpt-4.1]\n'
        'spec: {operation: retrieveModel, parameters: {model: "${each.key}"}}\n'
    )
    assert [rule.spec["parameters"]["model"] for rule in load(tmp_path, text).rules] == [
        "gpt-4.1",
        "gpt-5.1",
    ]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("operatoin: listModels", '4:3 Unknown field "operatoin"'),
        ("{}", '3:1 Missing "operation" or "budget"'),
        ("operation: createModeration\n  budget: {below: 3}", "5:3 Fields cannot be combined"),
        ("operation: retrieveModel", '4:14 Missing parameter "model"'),
        (
            "operation: retrieveModel\n  parameters: {modle: x, model: y}",
            '5:16 Unknown parameter "modle"',
        ),
        ("operation: listModels\n  body: {a: 1}", "5:3 Body not allowed"),
        ("operation: createResponse\n  body: {stream: true}", "5:10 Streaming not supported"),
        (
            "operation: createResponse\n  body: {conversation: c}",
            "5:10 Check would change a conversation",
        ),
        ("operation: createTranscription", '4:14 Missing file "file"'),
        ("operation: createResponse\n  files: {x: m.yaml}", '5:11 Unknown file "x"'),
        ("operation: createSpeech\n  wait_seconds: 3", "5:3 Nothing to wait for"),
        ("operation: createResponse\n  tool_outputs: {}", "5:3 Unused function outputs"),
        (
            'operation: listModels\n  expect: {values: {"a[": 1}}',
            "5:21 Invalid JMESPath expression",
        ),
        (
            "operation: listModels\n  expect: {values: {a: {matches: (}}}",
            "5:34 Invalid regular expression",
        ),
        (
            "operation: listModels\n  expect: {values: {a: {match: b}}}",
            '5:25 Unknown field "match"',
        ),
        ("operation: listModels\n  expect: {values: {a: {}}}", "5:24 Missing expectation"),
        ("operation: listModels\n  expect: {schema: {type: x}}", "5:27 Invalid JSON Schema"),
        ("operation: listModels\n  expect: {status: ok}", "5:20 Wrong type"),
    ],
)
def test_a_problem_of_a_check_has_its_location(tmp_path: Path, spec: str, problem: str) -> None:
    [found] = problems(tmp_path, f"{HEAD}  {spec}\n")
    place, summary = problem.split(" ", 1)
    assert found.startswith(f"m.yaml:{place}: error: Check/it: {summary}")


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            "of: File\n  match: {older_than_days: 3}",
            "5:3 Incomplete match: Age alone would match everything",
        ),
        ("of: File\n  match: {purpose: batch_output}", '5:3 Missing "older_than_days"'),
        ("of: File\n  match: {purpose: batch_output, older_than_days: 0}", "5:51 Out of range"),
        (
            'of: File\n  match: {name: "*", older_than_days: 3}',
            "5:17 Incomplete match: The pattern matches every name",
        ),
        ("of: VectorStore\n  match: {metadata: {}, older_than_days: 3}", "5:21 Incomplete match"),
        (
            "of: VectorStore\n  match: {purpose: vision, older_than_days: 3}",
            "5:11 VectorStore has no purpose",
        ),
        ("of: File\n  match: {model: gpt-5.1, older_than_days: 3}", "5:11 File has no model"),
        (
            "of: Response\n  match: {model: x, older_than_days: 3}",
            '4:7 Nothing to remove: "Response": The API has no',
        ),
        (
            "of: Conversation\n  match: {name: x, older_than_days: 3}",
            '4:7 Nothing to remove: "Conversation": The API',
        ),
        (
            "of: Fiel\n  match: {name: x, older_than_days: 3}",
            '4:7 Nothing to remove: "Fiel": Only files, vector stores',
        ),
        (
            'of: File\n  match: {name: "${VectorStore/handbook}", older_than_days: 3}',
            "4:3 Reference not possible here",
        ),
    ],
)
def test_a_problem_of_a_retention_has_its_location(tmp_path: Path, spec: str, problem: str) -> None:
    [found] = problems(
        tmp_path, f"kind: Retention\nmetadata: {{name: it}}\nspec:\n  {spec}\n", STORE
    )
    place, summary = problem.split(" ", 1)
    assert found.startswith(f"m.yaml:{place}: error: Retention/it: {summary}")


def test_a_rule_that_removes_is_part_of_the_digest(tmp_path: Path) -> None:
    rule = "kind: Retention\nmetadata: {name: it}\nspec: {of: File, match: {name: tmp, older_than_days: 3}}\n"
    digests = {
        load(tmp_path, STORE, *rules).digest for rules in ([], [rule], [rule.replace("3", "4")])
    }
    assert len(digests) == 3


def test_an_object_cannot_refer_to_a_rule(tmp_path: Path) -> None:
    store = STORE.replace("Handbook", '"${Check/it}"')
    [found] = problems(tmp_path, store, HEAD + "  operation: listModels\n")
    assert "kind Check declares no object" in found


def test_a_rule_has_no_lifecycle(tmp_path: Path) -> None:
    [found] = problems(
        tmp_path, HEAD + "  operation: listModels\nlifecycle: {prevent_destroy: true}\n"
    )
    assert 'Unknown field "lifecycle"' in found


def test_the_project_of_a_rule_must_be_known(tmp_path: Path) -> None:
    text = HEAD.replace("name: it", "name: it, project: serach") + "  operation: listModels\n"
    project = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
    [found] = problems(tmp_path, project, text)
    assert found.startswith("m.yaml:6:31: error: Check/serach/it: Unknown project")
    assert 'Did you mean "search"?' in found


def test_two_rules_with_one_address_are_refused(tmp_path: Path) -> None:
    [found] = problems(tmp_path, *[HEAD + "  operation: listModels\n"] * 2)
    assert "Duplicate address" in found
