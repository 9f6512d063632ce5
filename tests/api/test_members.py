"""The moves between two member sets are computed as set operations."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.objects.members import attachment, live_set, moves
from reconciler.kinds import KINDS
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet, LocalFile, Member

TYPE = KINDS["VectorStore"].by_name["files"].type
assert isinstance(TYPE, FileSetType)
AUTO = {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}
CHUNKINGS: list[Any] = [
    None,
    {"type": "auto"},
    {"type": "static", "static": {**AUTO["static"], "chunk_overlap_tokens": 1}},
]


@st.composite
def desired_sets(draw: st.DrawFn) -> FileSet:
    names = draw(st.sets(st.sampled_from("abcdef")))
    return FileSet(tuple(draw_member(draw, name) for name in sorted(names)))


def draw_member(draw: st.DrawFn, name: str) -> Member:
    attributes = draw(st.dictionaries(st.sampled_from("xy"), st.integers(0, 2), max_size=2))
    chunking = draw(st.sampled_from(CHUNKINGS))
    if name in "ef":
        return Member(f"file-{name}", None, f"file-{name}", attributes, chunking)
    return Member(
        name, LocalFile(name, draw(st.sampled_from("123")), 1), None, attributes, chunking
    )


def listed(wanted: FileSet) -> list[dict[str, Any]]:
    """The list of a store that holds a set."""
    items = []
    for number, member in enumerate(wanted.members):
        body = attachment(member)
        chunking = body.get("chunking_strategy", AUTO)
        items.append({
            "id": member.file_id or f"file-of-{member.key}", "attributes": body["attributes"], "status": "completed",
            "created_at": number, "chunking_strategy": AUTO if chunking == {"type": "auto"} else chunking,
        })  # fmt: skip
    return items


@given(desired_sets())
def test_a_set_that_is_there_needs_no_move(wanted: FileSet) -> None:
    plan = moves(live_set(listed(wanted)), wanted, TYPE)
    assert (plan.add, plan.again, plan.retag, plan.remove) == ((), (), (), ())


@given(desired_sets(), desired_sets())
def test_moves_lead_from_any_set_to_any_other(before: FileSet, after: FileSet) -> None:
    live = live_set(listed(before))
    plan = moves(live, after, TYPE)
    removed = {member.file_id for member in plan.remove}
    kept = {member.key for member in live.members if member.file_id not in removed}
    assert kept | {member.key for member in plan.add} == {member.key for member in after.members}
    assert not kept & {member.key for member in plan.add}


@given(desired_sets(), desired_sets())
def test_a_file_that_is_kept_is_never_removed(before: FileSet, after: FileSet) -> None:
    plan = moves(live_set(listed(before)), after, TYPE)
    assert not {m.file_id for m in plan.remove} & {m.file_id for m in (*plan.again, *plan.retag)}


def test_of_two_files_for_one_path_the_completed_one_keeps_the_path() -> None:
    wanted = FileSet((Member("a", LocalFile("a", "1", 1), None, {}, None),))
    (item,) = listed(wanted)
    broken = {**item, "id": "file-new", "status": "failed", "created_at": 99}
    assert [member.key for member in live_set([broken, item]).members] == ["a", "a (file-new)"]
