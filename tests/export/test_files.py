"""Documents go to files that manifests can read, whatever their names and sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.export.files import FileLayout, YamlDocument, files_of, write_files
from reconciler.export.fold import folded
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.values import Reference, Template

LONG = "\n".join(f"Line {number}." for number in range(9))


def group(name: str) -> YamlDocument:
    return YamlDocument(KINDS["Group"], name, None, {"name": name})


def agent(name: str, project: str | None = None, text: str = LONG) -> YamlDocument:
    return YamlDocument(KINDS["Agent"], name, project, {"model": "gpt-5.1", "instructions": text})


@pytest.mark.parametrize("name", ["secrets", "organization", "prompts", "venv", "shared"])
def test_a_project_with_the_name_of_a_special_folder_gets_another(name: str) -> None:
    document = YamlDocument(KINDS["Project"], name, None, {"name": name})
    assert list(files_of([document])) == [f"{name}-project/project.yaml"]


def test_projects_whose_names_differ_in_case_get_two_folders() -> None:
    documents = [YamlDocument(KINDS["Project"], name, None, {"name": name}) for name in ("a", "A")]
    assert len({name.casefold() for name in files_of(documents)}) == 2


def test_fields_have_the_order_of_the_kind() -> None:
    document = YamlDocument(KINDS["Agent"], "a", None, {"name": "A", "model": "gpt-5.1"})
    assert "spec: {model: gpt-5.1, name: A}" in files_of([document])["default-key/agents.yaml"]


def test_long_texts_of_one_name_get_two_files() -> None:
    files = files_of([agent("bot", "a", LONG), agent("bot", "b", f"{LONG} B")])
    assert files["prompts/a-bot.md"] == LONG
    assert files["prompts/b-bot.md"] == f"{LONG} B"


def test_a_text_that_files_do_not_keep_stays_in_the_manifest() -> None:
    files = files_of([agent("bot", text=LONG.replace("\n", "\r\n"))])
    assert list(files) == ["default-key/agents.yaml"]


def test_the_path_of_a_prompt_begins_with_the_folder_of_the_export() -> None:
    text = files_of([agent("bot")], prefix="live/now")["default-key/agents.yaml"]
    assert "${file:live/now/prompts/bot.md}" in text


def test_references_and_literal_text_are_told_apart() -> None:
    target = Reference(Address("Group", "a"))
    spec = {"name": Template(("${x} ", target))}
    text = files_of([YamlDocument(KINDS["Group"], "b", None, spec)])["organization/groups.yaml"]
    assert 'spec: {name: "$${x} ${Group/a}"}' in text


def test_a_large_file_is_split() -> None:
    documents = [group(f"group-{number:05}") for number in range(20_000)]
    files = files_of(documents, layout=FileLayout.FLAT)
    assert list(files) == ["manifests-2.yaml", "manifests.yaml"]
    assert max(map(len, files.values())) < 1_100_000


def test_documents_in_any_order_give_the_same_files() -> None:
    documents = [group("b"), agent("x", "p"), group("a"), agent("x", "q")]
    assert files_of(documents) == files_of(list(reversed(documents)))


def test_two_alike_are_not_folded() -> None:
    documents = [agent("bot", project, "Hi") for project in ("a", "b")]
    assert folded(documents) == documents


def test_three_alike_are_folded() -> None:
    [one] = folded([agent("bot", project, "Hi") for project in ("c", "a", "b")])
    assert one.for_each == ["a", "b", "c"]


def test_a_full_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        write_files(tmp_path, {"a.yaml": "a"})
    assert not (tmp_path / "a.yaml").exists()


def test_with_force_only_files_that_differ_are_written(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.yaml": "a", "b.yaml": "b"})
    changed = write_files(tmp_path, {"a.yaml": "a", "b.yaml": "c"}, force=True)
    assert changed == [tmp_path / "b.yaml"]
