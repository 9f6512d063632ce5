"""A folder and a store stay in step, whatever happens to the folder, and no uploaded file is left behind."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.emulator import world
from reconciler.kinds import KINDS
from reconciler.manifests.file_values import MemberFinder
from reconciler.manifests.files import Files
from reconciler.model.resource import Resource
from reconciler.model.values import FileSet, Member
from tests.properties.bench import FILE_IDS, FILES_OF_JOBS, Bench, Stack, pending, resource
from tests.properties.strategies import examples

NAMES = (
    "a.md",
    "b.txt",
    "sub/a.md",
    "sub/ünï.md",
    "sub/cafe\u0301.md",
    "x y (1).md",
    "empty.txt",
    "no extension",
)
TEXTS = (b"-", b"one", b"two", b"one", "drei ✓".encode())
ATTRIBUTES = (
    None,
    {},
    {"team": "cx"},
    {"n": 1, "b": True},
    {"n": True, "b": 1},
    {"f": 1.0, "s": "1"},
    {"long": "x" * 512},
)
CHUNKING = (
    None,
    {"type": "auto"},
    {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}},
    {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}},
)


@dataclass(frozen=True)
class Write:
    """A file is added or changed."""

    name: str
    text: bytes

    def do(self, root: Path) -> None:
        (root / self.name).parent.mkdir(parents=True, exist_ok=True)
        (root / self.name).write_bytes(self.text)


@dataclass(frozen=True)
class Remove:
    """A file is removed, if it is there."""

    name: str

    def do(self, root: Path) -> None:
        (root / self.name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Rename:
    """A file gets another name, which may be taken."""

    name: str
    other: str

    def do(self, root: Path) -> None:
        if (root / self.name).exists():
            (root / self.other).parent.mkdir(parents=True, exist_ok=True)
            (root / self.name).replace(root / self.other)


names = st.sampled_from(NAMES)
edits = (
    st.builds(Write, names, st.sampled_from(TEXTS))
    | st.builds(Remove, names)
    | st.builds(Rename, names, names)
)
items = st.fixed_dictionaries(
    {
        "attributes": st.sampled_from(ATTRIBUTES),
        "chunking_strategy": st.sampled_from(CHUNKING),
        "ids": st.sets(st.sampled_from(FILE_IDS)),
        "ignore": st.sampled_from([(), ("**/a.md",), ("*.txt",)]),
    }
)
rounds = st.lists(st.tuples(st.lists(edits, max_size=5), items), min_size=2, max_size=4)


def store_of(folder: Path, item: dict[str, Any]) -> Resource:
    """A vector store that holds the folder, as the loader would make it."""
    shared = {"attributes": item["attributes"], "chunking_strategy": item["chunking_strategy"]}
    files = Files(folder)
    finder = MemberFinder(files, files.content)
    finder.add(
        0, {"path": "pages/**", "ignore": list(item["ignore"]), "allow_empty": True, **shared}
    )
    for index, id in enumerate(sorted(item["ids"]), start=1):
        finder.add(index, {"file_id": id, **shared})
    members = tuple(finder.members[key] for key in sorted(finder.members))
    return resource(KINDS["VectorStore"], {"name": "Pages", "files": FileSet(members)})


def attached(stack: Stack, wanted: Resource) -> dict[str, str]:
    """What the store holds: keys with the content's digest and the attributes of each."""
    members = stack.live(wanted).own_calls["files"].members
    return {one.key: _shown(one) for one in members}


def _shown(member: Member) -> str:
    # As text, since 1 equals True in Python.
    return f"{member.content and member.content.sha256} {json.dumps(member.attributes or {}, sort_keys=True)}"


def uploads(bench: Bench) -> set[str]:
    """The ids of all uploaded files, those apart that were there before."""
    store = bench.emulator.store
    return {record.id for record in store.collection("file", world.DEFAULT_PROJECT).ordered()} - {
        *FILE_IDS,
        *FILES_OF_JOBS,
    }


def test_any_edits_of_a_folder_converge_and_leave_no_file_behind(bench: Bench) -> None:
    @examples(28)
    @given(history=rounds)
    def check(history: list[tuple[list[Any], dict[str, Any]]]) -> None:
        with bench.fresh() as stack:
            (stack.root / "pages").mkdir()
            for changes, item in history:
                for change in changes:
                    change.do(stack.root / "pages")
                wanted = store_of(stack.root, item)
                stack.apply(wanted)
                assert pending(stack.plan(wanted)) == []
                assert attached(stack, wanted) == {
                    one.key: _shown(one) for one in wanted.spec["files"].members
                }
                members = stack.live(wanted).own_calls["files"].members
                assert uploads(bench) == {one.file_id for one in members} - {
                    *FILE_IDS,
                    *FILES_OF_JOBS,
                }
            stack.apply()
            assert uploads(bench) == set()

    check()


def test_a_folder_converges_without_any_state(bench: Bench) -> None:
    @examples(12)
    @given(history=rounds)
    def check(history: list[tuple[list[Any], dict[str, Any]]]) -> None:
        with bench.fresh() as stack:
            (stack.root / "pages").mkdir()
            for changes, item in history:
                for change in changes:
                    change.do(stack.root / "pages")
                wanted = store_of(stack.root, item)
                stack.apply(wanted)
                stack.store.remove(wanted.address)
                assert pending(stack.plan(wanted)) == []
            assert len(uploads(bench)) == sum(
                one.content is not None for one in wanted.spec["files"].members
            )

    check()


def test_a_name_in_another_normal_form_is_the_same_member(bench: Bench) -> None:
    with bench.fresh() as stack:
        item = {"attributes": None, "chunking_strategy": None, "ids": set(), "ignore": ()}
        Write("cafe\u0301.md", b"x").do(stack.root / "pages")
        stack.apply(store_of(stack.root, item))
        Rename("cafe\u0301.md", unicodedata.normalize("NFC", "cafe\u0301.md")).do(
            stack.root / "pages"
        )
        assert pending(stack.plan(store_of(stack.root, item))) == []
