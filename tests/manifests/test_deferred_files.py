"""The contents of folders are read after everything else has been checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import ConfigurationError
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, Settings, load_configuration

STORE = """\
kind: VectorStore
metadata: {name: handbook}
spec:
  name: Handbook
  files:
    - path: docs/*.md
      attributes: {team: cx}
    - path: more/**/*.txt
"""
KEY = "sk-a-key-that-is-in-use"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"docs/a.md": "a", "docs/b.md": "b", "more/c/d.txt": "d"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "store.yaml").write_text(STORE)
    return tmp_path


def load(folder: Path, *, whole: bool) -> Configuration:
    return load_configuration(Settings(folder, env={"OPENAI_API_KEY": KEY}), KINDS, whole=whole)


def test_a_completed_configuration_equals_one_that_is_read_at_once(folder: Path) -> None:
    completed, whole = load(folder, whole=False).completed(), load(folder, whole=True)
    assert (completed.resources[0].spec, completed.digest) == (
        whole.resources[0].spec,
        whole.digest,
    )


def test_an_incomplete_configuration_has_no_digest(folder: Path) -> None:
    assert load(folder, whole=False).digest == ""


def test_every_closed_file_is_reported_at_the_entry_that_found_it(folder: Path) -> None:
    for name in ("docs/b.md", "more/c/d.txt"):
        (folder / name).write_text(f"the key is {KEY}")
    declared = load(folder, whole=False)
    with pytest.raises(ConfigurationError) as caught:
        declared.completed()
    assert [
        (one.location.line, one.location.column) for one in caught.value.diagnostics if one.location
    ] == [
        (6, 13),
        (8, 13),
    ]


def test_problems_of_files_and_of_manifests_are_reported_together(folder: Path) -> None:
    (folder / "docs/a.md").write_text(KEY)
    (folder / "other.yaml").write_text(
        "kind: Assistant\nmetadata: {name: bot}\nspec: {modle: gpt-4.1}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load(folder, whole=False)
    assert {
        one.location.file.rpartition("/")[2] for one in caught.value.diagnostics if one.location
    } == {
        "other.yaml",
        "store.yaml",
    }


def test_a_file_whose_name_is_no_text_is_refused(folder: Path) -> None:
    (folder / "docs" / os.fsdecode(b"c\xff.md")).write_text("c")
    with pytest.raises(ConfigurationError) as caught:
        load(folder, whole=False)
    assert '"docs/c\\udcff.md": its name is not valid UTF-8' in caught.value.diagnostics[0].detail


def test_links_are_resolved_before_reading_is_deferred(folder: Path) -> None:
    (folder / "docs/hosts.md").symlink_to("/etc/hosts")
    with pytest.raises(ConfigurationError, match="problem") as caught:
        load(folder, whole=False)
    assert "points outside the stack's folder through a link" in str(caught.value.diagnostics[0])


def test_a_link_within_the_folder_is_read_like_any_file(folder: Path) -> None:
    (folder / "docs/c.md").symlink_to("b.md")
    members = load(folder, whole=False).completed().resources[0].spec["files"].members
    assert members[2].content.sha256 == members[1].content.sha256
