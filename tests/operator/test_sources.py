"""Sources: names in a Stack are untrusted, and folders are replaced while they are read."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from reconciler.operator.resources import ConfigMapItem, ConfigMapReference
from reconciler.operator.sources import SourceError, SourceFolder, stored, unpacked

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of sources with a checkout as git-sync makes it: a link to a folder of a commit."""
    root = tmp_path / "sources"
    (root / "worktrees" / COMMIT / "search").mkdir(parents=True)
    (root / "current").symlink_to(f"worktrees/{COMMIT}")
    git = root / ".repository" / "worktrees" / COMMIT
    git.mkdir(parents=True)
    (git / "HEAD").write_text(f"{COMMIT}\n")
    (root / "worktrees" / COMMIT / ".git").write_text(f"gitdir: {git}\n")
    return root


def test_the_revision_of_a_checkout_is_its_commit(folder: Path) -> None:
    checkout = SourceFolder(folder).resolve("current", "search")
    assert checkout.revision == f"git:{COMMIT}"
    assert checkout.folder == folder / "worktrees" / COMMIT / "search"


def test_the_commit_is_that_of_git(tmp_path: Path) -> None:
    repository = tmp_path / "root" / "repository"
    repository.mkdir(parents=True)

    def git(*words: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        command = ["git", "-C", str(repository), *identity, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "one")
    sources = SourceFolder(tmp_path / "root")
    assert sources.resolve("repository").revision == f"git:{git('rev-parse', 'HEAD')}"
    git("pack-refs", "--all")
    assert sources.resolve("repository").revision == f"git:{git('rev-parse', 'HEAD')}"


@pytest.mark.parametrize("target", ["/etc", "../outside"])
def test_a_link_out_of_the_folder_of_sources_is_refused(
    folder: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "outside").mkdir()
    (folder / "sneaky").symlink_to(target)
    with pytest.raises(SourceError, match="leads out"):
        SourceFolder(folder).resolve("sneaky")


def test_a_sub_path_cannot_leave_its_checkout(folder: Path) -> None:
    (folder / "worktrees" / COMMIT / "up").symlink_to("../..")
    with pytest.raises(SourceError, match="leads out"):
        SourceFolder(folder).resolve("current", "up")


def test_git_metadata_outside_of_the_folder_of_sources_is_not_read(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "HEAD").write_text(f"{OTHER}\n")
    (folder / "worktrees" / COMMIT / ".git").write_text(f"gitdir: {tmp_path}\n")
    assert not SourceFolder(folder).resolve("current").revision.startswith("git:")


def test_a_folder_without_git_has_a_revision_of_its_contents(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "main.yaml").write_text("a")
    sources = SourceFolder(tmp_path)
    first = sources.resolve("plain").revision
    assert sources.resolve("plain").revision == first
    (folder / "main.yaml").write_text("bb")
    second = sources.resolve("plain").revision
    (folder / "main.yaml").rename(folder / "other.yaml")
    third = sources.resolve("plain").revision
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("path", ["missing", "current/missing"])
def test_a_missing_folder_is_named(folder: Path, path: str) -> None:
    with pytest.raises(SourceError, match=path) as raised:
        SourceFolder(folder).resolve(path)
    assert raised.value.reason == "SourceNotFound"


def test_without_a_folder_of_sources_no_path_is_read() -> None:
    with pytest.raises(SourceError, match="--source-root"):
        SourceFolder(None).resolve("etc")


def test_a_config_map_becomes_files_that_are_gone_afterwards() -> None:
    content = stored({"data": {"a.yaml": "text"}, "binaryData": {"b": _encoded(b"\xff\x00")}})
    with unpacked(content, ConfigMapReference("x")) as folder:
        assert (folder / "a.yaml").read_text() == "text"
        assert (folder / "b").read_bytes() == b"\xff\x00"
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_items_place_keys_in_folders() -> None:
    reference = ConfigMapReference("x", (ConfigMapItem("a", "deep/er/a.yaml"),))
    with unpacked(stored({"data": {"a": "1", "b": "2"}}), reference) as folder:
        names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert names == ["deep/er/a.yaml"]


@pytest.mark.parametrize("key", ["..", ".", "../x", "/etc/passwd", "a/../b", ""])
def test_a_key_that_is_no_file_name_is_refused(key: str) -> None:
    with (
        pytest.raises(SourceError, match="no relative path"),
        unpacked(stored({"data": {key: "x"}}), ConfigMapReference("x")),
    ):
        pass


@pytest.mark.parametrize(
    "items",
    [
        (ConfigMapItem("a", "x"), ConfigMapItem("a", "x")),
        (ConfigMapItem("a", "x"), ConfigMapItem("a", "x/y")),
        (ConfigMapItem("missing", "x"),),
    ],
)
def test_items_that_contradict_each_other_are_refused(items: tuple[ConfigMapItem, ...]) -> None:
    with (
        pytest.raises(SourceError),
        unpacked(stored({"data": {"a": "1"}}), ConfigMapReference("x", items)),
    ):
        pass


def test_data_of_the_wrong_type_is_left_out() -> None:
    content = stored({"data": {"a": 1, "b": "x"}, "binaryData": {"c": "not base64!"}})
    assert content.files() == {"b": b"x"}
    assert stored({"data": []}).files() == {}


def test_the_digest_changes_with_names_and_contents_alone() -> None:
    one = stored({"data": {"a": "1", "b": "2"}})
    assert one.digest == stored({"data": {"b": "2", "a": "1"}, "metadata": {"x": "y"}}).digest
    assert one.digest != stored({"data": {"a": "2", "b": "1"}}).digest


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
