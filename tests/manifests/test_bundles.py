"""Folders that are uploaded as one object: their files, their entry file, and refused ones."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import force_setattr

from reconciler.kinds import KINDS
from reconciler.model.types import BundleType
from reconciler.model.values import FileSet
from tests.manifests.conftest import Folder

ENTRY = "---\nname: greeting\ndescription: >\n  Says hello.\n  Always.\n---\nSay hello.\n"


def skill(files: str) -> str:
    return f"kind: Skill\nmetadata: {{name: s}}\nspec:\n  files: {files}\n"


def bundle(folder: Folder, files: str) -> FileSet:
    found = folder.write({"m.yaml": skill(files)}).spec("Skill/s")["files"]
    assert isinstance(found, FileSet)
    return found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ("[{path: skills/a/**}]", ["SKILL.md", "scripts/SKILL.md", "scripts/run.py"]),
        ("[{path: skills/a/**, ignore: [scripts]}]", ["SKILL.md"]),
        (
            "[{path: skills/a/SKILL.md}, {path: skills/a/scripts/*.py}]",
            ["SKILL.md", "scripts/run.py"],
        ),
    ],
)
def test_the_key_of_a_file_is_its_path_below_the_folder_of_the_entry_file(
    folder: Folder, files: str, found: list[str]
) -> None:
    folder.write(
        {
            "skills/a/SKILL.md": ENTRY,
            "skills/a/scripts/run.py": "",
            "skills/a/scripts/SKILL.md": "Other.",
        }
    )
    assert [member.key for member in bundle(folder, files).members] == found


def test_the_front_matter_gives_the_name(folder: Folder) -> None:
    folder.write({"SKILL.md": ENTRY})
    spec = {"files": bundle(folder, "[{path: SKILL.md}]")}
    assert KINDS["Skill"].identity(spec) == {"name": "greeting"}
    assert spec["files"].members[0].attributes == {
        "name": "greeting",
        "description": "Says hello. Always.",
    }


REFUSED = {
    "no entry file": ({"a/b.md": "x"}, "[{path: a/**}]", "No SKILL.md"),
    "two folders": ({"a/SKILL.md": ENTRY, "b/SKILL.md": ENTRY}, "[{path: '*/*'}]", "found 2"),
    "outside": (
        {"a/b/SKILL.md": ENTRY, "a/c.md": "x"},
        "[{path: a/**}]",
        '"a/c.md" is outside "a/b/"',
    ),
    "no front matter": ({"SKILL.md": "# Hello\n"}, "[{path: SKILL.md}]", "No front matter"),
    "open front matter": ({"SKILL.md": "---\nname: a\n"}, "[{path: SKILL.md}]", "No front matter"),
    "no description": (
        {"SKILL.md": "---\nname: a\n---\n"},
        "[{path: SKILL.md}]",
        'Missing "description"',
    ),
    "no text": ({"SKILL.md": "---\nname: 3\n---\n"}, "[{path: SKILL.md}]", 'Missing "name"'),
    "broken": ({"SKILL.md": "---\nname: [\n---\n"}, "[{path: SKILL.md}]", "Not valid YAML"),
    "upwards": ({}, "[{path: ../SKILL.md}]", "points outside the stack's folder"),
    "nothing": ({}, "[]", "Wrong length"),
    "attributes": (
        {"SKILL.md": ENTRY},
        "[{path: SKILL.md, attributes: {}}]",
        'Unknown field "attributes"',
    ),
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=list(REFUSED))
def test_an_invalid_bundle_is_refused_with_one_sentence(
    folder: Folder, row: tuple[dict[str, str], str, str]
) -> None:
    files, items, sentence = row
    (problem,) = folder.write({**files, "m.yaml": skill(items)}).problems()
    assert sentence in problem


def test_a_link_that_leads_out_is_refused(folder: Folder) -> None:
    (folder.root.parent / "secret.md").write_text("secret")
    folder.write({"a/SKILL.md": ENTRY, "m.yaml": skill("[{path: a/**}]")})
    (folder.root / "a" / "link.md").symlink_to(folder.root.parent / "secret.md")
    (problem,) = folder.problems()
    assert "points outside the stack's folder through a link" in problem


@pytest.mark.parametrize(
    "limits", [{"max_files": 1, "max_bytes": 999}, {"max_files": 9, "max_bytes": len(ENTRY)}]
)
def test_a_folder_that_is_too_large_is_refused(
    folder: Folder, limits: dict[str, int], request: pytest.FixtureRequest
) -> None:
    files = KINDS["Skill"].by_name["files"]
    small = BundleType(entry="SKILL.md", version="default_version", **limits)
    request.addfinalizer(partial(force_setattr, files, "type", files.type))
    force_setattr(files, "type", small)
    folder.write({"a/SKILL.md": ENTRY, "a/b.md": "x", "m.yaml": skill("[{path: a/**}]")})
    (problem,) = folder.problems()
    assert '"a/" has 2 files' in problem
