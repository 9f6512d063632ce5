"""Files that manifests name: uploads, synchronized folders, and the bounds of both."""

from __future__ import annotations

import hashlib
import os
import unicodedata

import pytest

from reconciler.manifests.paths import Glob, compile_globs
from reconciler.model.values import FileSet, LocalFile
from tests.manifests.conftest import PROJECT, Folder


def store(files: str) -> str:
    return f"kind: VectorStore\nmetadata: {{name: s}}\nspec:\n  files: {files}\n"


def upload(path: str) -> str:
    return f"kind: File\nmetadata: {{name: f}}\nspec: {{path: '{path}', purpose: assistants}}\n"


def members(folder: Folder, files: str) -> list[str]:
    folder.write({"m.yaml": store(files)})
    found = folder.spec("VectorStore/s")["files"]
    assert isinstance(found, FileSet)
    return [member.key for member in found.members]


HANDBOOK = {
    name: name
    for name in (
        "docs/a.md", "docs/b.txt", "docs/deep/c.md", "docs/deep/er/d.md", "docs/drafts/e.md", "docs/.hidden.md",
        "docs/.git/f.md", "other/g.md", "pages/[slug]/page.md", "pages/s/page.md", "pages/[id]s.md", "pages/is.md",
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ("{path: docs/*.md}", ["docs/a.md"]),
        ("{path: docs/a.md}", ["docs/a.md"]),
        ("{path: ./docs//a.md}", ["docs/a.md"]),
        (
            "{path: docs/**/*.md}",
            ["docs/a.md", "docs/deep/c.md", "docs/deep/er/d.md", "docs/drafts/e.md"],
        ),
        (
            "{path: docs/**}",
            ["docs/a.md", "docs/b.txt", "docs/deep/c.md", "docs/deep/er/d.md", "docs/drafts/e.md"],
        ),
        ("{path: '*/?.md'}", ["docs/a.md", "other/g.md"]),
        ("{path: 'docs/[ab].*'}", ["docs/a.md", "docs/b.txt"]),
        ("{path: 'docs/[!a].*'}", ["docs/b.txt"]),
        ("{path: docs/deep/**/*.md}", ["docs/deep/c.md", "docs/deep/er/d.md"]),
        ("{path: 'pages/[slug]/page.md'}", ["pages/[slug]/page.md"]),
        ("{path: 'pages/[slug]/*.md'}", ["pages/[slug]/page.md", "pages/s/page.md"]),
        ("{path: 'pages/**/[id]?.md'}", ["pages/[id]s.md", "pages/is.md"]),
        ("{path: 'pages/**/*.md', ignore: ['pages/[slug]']}", ["pages/[id]s.md", "pages/is.md"]),
        ("{path: docs/**/*.md, ignore: [docs/deep/**]}", ["docs/a.md", "docs/drafts/e.md"]),
        ("{path: docs/**/*.md, ignore: [deep/**, drafts/e.md]}", ["docs/a.md"]),
        ("{path: docs/**/*.md, ignore: [deep, drafts/]}", ["docs/a.md"]),
        (
            "{path: docs/**/*.md, ignore: ['**/drafts/**', '**/c.md']}",
            ["docs/a.md", "docs/deep/er/d.md"],
        ),
    ],
)
def test_a_glob_finds_files(folder: Folder, item: str, found: list[str]) -> None:
    folder.write(HANDBOOK)
    assert members(folder, f"[{item}]") == found


def test_a_member_has_its_digest_and_the_attributes_of_its_entry(folder: Folder) -> None:
    folder.write({"a.md": "hello", "m.yaml": store("[{path: a.md, attributes: {team: cx}}]")})
    (member,) = folder.spec("VectorStore/s")["files"].members
    wanted = LocalFile("a.md", hashlib.sha256(b"hello").hexdigest(), 5)
    assert (member.content, member.attributes, member.file_id) == (wanted, {"team": "cx"}, None)


def test_an_uploaded_file_is_a_member_by_its_id(folder: Folder) -> None:
    folder.write(
        {"a.md": "x", "m.yaml": upload("a.md") + "---\n" + store("[{file_id: '${File/f}'}]")}
    )
    (member,) = folder.spec("VectorStore/s")["files"].members
    assert (member.key, member.content) == ("${File/f}", None)


def test_a_key_is_in_composed_unicode_on_every_file_system(folder: Folder) -> None:
    name = unicodedata.normalize("NFD", "docs/schön.md")
    folder.write({name: "x"})
    assert members(folder, "[{path: 'docs/sch*.md'}]") == [
        unicodedata.normalize("NFC", "docs/schön.md")
    ]


EMPTY_FOLDERS = {
    "a folder that is missing": {},
    "a folder that is empty": {"docs/.keep": ""},
    "a folder with other files": {"docs/a.txt": "x"},
    "a folder of which everything is ignored": {"docs/drafts.md": "x"},
}


@pytest.mark.parametrize("files", EMPTY_FOLDERS.values(), ids=EMPTY_FOLDERS.keys())
def test_a_glob_without_a_match_is_an_error(folder: Folder, files: dict[str, str]) -> None:
    folder.write({**files, "m.yaml": store("[{path: docs/*.md, ignore: [drafts.md]}]")})
    (problem,) = folder.problems()
    assert problem.startswith(
        'm.yaml:4:18: error: VectorStore/s: No files: "docs/*.md" matches no file.'
    )
    assert "allow_empty: true" in problem


def test_a_glob_may_match_nothing_if_its_entry_allows_that(folder: Folder) -> None:
    folder.write(
        {"a.md": "x", "m.yaml": store("[{path: docs/*.md, allow_empty: true}, {path: a.md}]")}
    )
    assert [member.key for member in folder.spec("VectorStore/s")["files"].members] == ["a.md"]
    assert folder.warnings() == []


def test_a_folder_of_a_skill_that_matches_nothing_is_an_error(folder: Folder) -> None:
    items = "[{path: skill/**}, {path: shared/**}]"
    skill = f"kind: Skill\nmetadata: {{name: s}}\nspec:\n  files: {items}\n"
    folder.write({"skill/SKILL.md": "---\nname: s\ndescription: Some.\n---\n", "m.yaml": skill})
    assert any('"shared/**" matches no file' in problem for problem in folder.problems())


BAD = {
    "missing file": (
        "[{path: no.md}]",
        '18: error: No such file: "no.md" does not exist in the stack\'s folder.',
    ),
    "folder": ("[{path: docs}]", '18: error: Not a file: "docs" is a folder.'),
    "upwards": (
        "[{path: ../x}]",
        '18: error: Path outside the stack: "../x" points outside the stack\'s folder.',
    ),
    "glob upwards": (
        "[{path: '../*.md'}]",
        '18: error: Path outside the stack: "../*.md" points outside the stack\'s folder.',
    ),
    "absolute": (
        "[{path: /etc/passwd}]",
        '18: error: Path outside the stack: "/etc/passwd" is absolute: write it relative to the stack\'s folder.',
    ),
    "no glob": ("[{path: '[z-a].md'}]", "18: error: Not a glob: bad character range z-a."),
    "both": (
        "[{path: docs/a.md, file_id: x}]",
        (
            '12: error: Unknown field "path": spec.files[0] has no field "path". An entry has either `path` '
            "(with `ignore` and `allow_empty`) or `file_id`."
        ),
    ),
    "neither": ("[{attributes: {}}]", '11: error: Missing "path": spec.files[0] requires it.'),
    "twice": (
        "[{path: docs/a.md}, {path: docs/*.md}]",
        '37: error: File matched twice: "docs/a.md" is matched by files[0] and by files[1].',
    ),
    "id twice": (
        "[{file_id: x}, {file_id: x}]",
        '35: error: File matched twice: "x" is matched by files[0] and by files[1].',
    ),
    "reserved attribute": (
        "[{path: docs/a.md, attributes: {reconciler_sha256: x}}]",
        '42: error: Reserved key: reconciler stores the source of a file in "reconciler_sha256": choose another key.',
    ),
    "overlap": (
        (
            "[{path: docs/a.md, chunking_strategy: {type: static, static: {max_chunk_size_tokens: 200, "
            "chunk_overlap_tokens: 101}}}]"
        ),
        (
            "122: error: Out of range: chunk_overlap_tokens is 101; the maximum is half of max_chunk_size_tokens: 100."
        ),
    ),
    "reference as a path": (
        "[{path: '${Project/search}'}]",
        (
            "18: error: Reference not possible here: spec.files[0].path must be known before apply, so it "
            "cannot contain a reference."
        ),
    ),
    "reference as an item": (
        "['${Project/search}']",
        (
            "11: error: Reference not possible here: spec.files[0] must be known before apply, so it cannot "
            "contain a reference."
        ),
    ),
}


@pytest.mark.parametrize(("files", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_entry_is_one_problem(folder: Folder, files: str, message: str) -> None:
    folder.write({**HANDBOOK, "a.yaml": PROJECT, "m.yaml": store(files)})
    column, rest = message.split(": error: ", 1)
    assert folder.problems() == [f"m.yaml:4:{column}: error: VectorStore/s: {rest}"]


def test_every_bad_entry_is_reported(folder: Folder) -> None:
    folder.write({"m.yaml": store("[{path: a}, {path: b}, {path: ../c}]")})
    assert len(folder.problems()) == 3


def test_a_path_too_long_for_an_attribute_is_refused(folder: Folder) -> None:
    folder.write(
        {"/".join(["d" * 100] * 6) + "/a.md": "x"} | {"m.yaml": store("[{path: '**/*.md'}]")}
    )
    assert folder.problems() == [
        f'm.yaml:4:18: error: VectorStore/s: Path too long: "{"d" * 60}…" has 610 characters; the maximum is 512.'
    ]


def test_a_linked_file_that_leads_out_is_refused(folder: Folder) -> None:
    (folder.root.parent / "secret.md").write_text("x")
    (folder.root / "docs").mkdir()
    (folder.root / "docs" / "link.md").symlink_to(folder.root.parent / "secret.md")
    folder.write({"m.yaml": store("[{path: docs/*.md}]")})
    assert "points outside the stack's folder through a link" in folder.problems()[0]


def test_a_linked_file_that_leads_out_is_refused_beside_files_that_were_read(
    folder: Folder,
) -> None:
    (folder.root.parent / "secret.md").write_text("x")
    folder.write(HANDBOOK)
    (folder.root / "docs" / "z.md").symlink_to(folder.root.parent / "secret.md")
    folder.write({"m.yaml": store("[{path: docs/*.md}]")})
    assert "points outside the stack's folder through a link" in folder.problems()[0]


def test_every_file_of_a_linked_folder_that_leads_out_is_refused(folder: Folder) -> None:
    other = folder.root.parent / "other"
    other.mkdir()
    for name in ("a.md", "b.md"):
        (other / name).write_text("x")
    (folder.root / "link").symlink_to(other)
    folder.write(
        {
            f"{name}.yaml": upload(f"link/{name}.md").replace("name: f", f"name: {name}")
            for name in "ab"
        }
    )
    assert ["through a link" in problem for problem in folder.problems()] == [True, True]


def test_a_linked_folder_is_not_entered(folder: Folder) -> None:
    (folder.root.parent / "other").mkdir()
    (folder.root.parent / "other" / "secret.md").write_text("x")
    folder.write(HANDBOOK)
    (folder.root / "docs" / "link").symlink_to(folder.root.parent / "other")
    assert "docs/link/secret.md" not in members(folder, "[{path: docs/**/*.md}]")


def test_anything_but_a_regular_file_is_refused(folder: Folder) -> None:
    os.mkfifo(folder.root / "pipe")
    folder.write({"m.yaml": upload("pipe")})
    assert folder.problems() == [
        'm.yaml:3:14: error: File/f: Not a file: "pipe" is not a regular file.'
    ]


def test_a_file_is_identified_by_its_digest(folder: Folder) -> None:
    folder.write({"data/a.md": "hello", "m.yaml": upload("data/../data/a.md")})
    assert folder.spec("File/f")["path"] == LocalFile(
        "data/a.md", hashlib.sha256(b"hello").hexdigest(), 5
    )


def test_manifests_lie_in_a_folder_whose_name_looks_like_a_pattern(folder: Folder) -> None:
    stack = "kind: Stack\nspec: {manifests: ['[team]/', '[other]/a.yaml']}\n"
    bot = "kind: Assistant\nmetadata: {name: NAME}\nspec: {model: gpt-4o}\n"
    files = {"[team]/a.yaml": bot.replace("NAME", "a"), "[other]/a.yaml": bot.replace("NAME", "b")}
    folder.write({"reconciler.yaml": stack, **files})
    assert folder.spec("Assistant/a") == folder.spec("Assistant/b")


@pytest.mark.parametrize(
    "pattern",
    ["**/" * 12 + "x", "*a" * 20 + "b", "/".join(["*", "**"] * 12) + "/x", "?*" * 20 + "z"],
)
def test_a_hostile_pattern_takes_no_time(pattern: str) -> None:
    assert compile_globs([pattern]).fullmatch("/".join(["a" * 30] * 25)) is None


@pytest.mark.parametrize(
    ("pattern", "prefix", "depth"),
    [
        ("a/b/*.md", "a/b", 0),
        ("a/*/c.md", "a", 1),
        ("*.md", "", 0),
        ("a/**/b.md", "a", None),
        ("a/b.md", "a", 0),
    ],
)
def test_a_glob_knows_where_to_look(pattern: str, prefix: str, depth: int | None) -> None:
    assert (Glob(pattern).prefix, Glob(pattern).depth) == (prefix, depth)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**", "a/b", True), ("a/**", "a", False), ("a/**", "a/b/c", True), ("**/b", "b", True),
        ("**/b", "a/c/b", True),
        ("a/**/b", "a/b", True), ("a/**/**/b", "a/x/b", True), ("a*b*c", "axxbyyc", True), ("a*b", "a/b", False),
        ("[]]", "]", True), ("[", "[", True), ("a.b", "axb", False), ("*", "a\nb", True),
        ("**/x/**/y", "x/y", True), ("**/x/**/y", "a/x/b/x/c/y", True), ("**/x/**/y", "a/y", False),
    ],
)  # fmt: skip
def test_a_glob_matches_whole_paths(pattern: str, path: str, matches: bool) -> None:
    assert Glob(pattern).matches(path) is matches
