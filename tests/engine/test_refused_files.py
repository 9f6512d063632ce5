"""Refused files are sent again only after a change, and each plan reports them."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.engine.plan.refused_files import refusal_warnings, with_refusals
from reconciler.kinds import KINDS
from reconciler.model.change import Action
from reconciler.model.resource import LiveObject
from reconciler.model.values import FileSet, LocalFile, Member
from tests.engine.tables import World, declared, recorded, store

KIND, STORE = KINDS["VectorStore"], "VectorStore/docs"
WHY = "(unsupported file)"


def member(name: str, content: str = "bytes", refused: str = "", **more: Any) -> Member:
    return Member(name, LocalFile(name, content, 1), refused=refused, **more)


def files(*members: Member) -> dict[str, Any]:
    return {"files": FileSet(members)}


def shown(*members: Member) -> LiveObject:
    return LiveObject(KIND, "vs_1", {}, own_calls=files(*members))


@pytest.mark.parametrize(
    ("now", "is_still_refused"),
    [
        (member("a.bin"), True),
        (member("a.bin", "other bytes"), False),
        (member("a.bin", attributes={"team": "search"}), False),
        (member("a.bin", chunking_strategy={"type": "auto"}), False),
        (member("b.bin"), False),
    ],
)
def test_a_refused_file_is_sent_again_once_it_changes(now: Member, is_still_refused: bool) -> None:
    record = recorded(STORE, "vs_1", files(member("a.bin", refused=WHY)))
    spec = with_refusals(KIND, files(now), record)
    assert [entry.refused for entry in spec["files"].members] == [WHY if is_still_refused else ""]


def test_only_the_refused_files_of_a_set_are_marked() -> None:
    record = recorded(STORE, "vs_1", files(member("a.bin", refused=WHY), member("b.md")))
    spec = with_refusals(KIND, {"name": "Docs", **files(member("a.bin"), member("b.md"))}, record)
    assert spec == {"name": "Docs", **files(member("a.bin", refused=WHY), member("b.md"))}


@pytest.mark.parametrize(
    "record",
    [
        None,
        recorded(STORE, "vs_1", {}),
        recorded(STORE, "vs_1", files(member("a.bin"))),
    ],
    ids=["no record", "no files recorded", "no file refused"],
)
def test_without_a_recorded_refusal_the_spec_stays(record: Any) -> None:
    spec = files(member("a.bin"))
    assert with_refusals(KIND, spec, record) is spec


def test_a_set_that_the_manifest_drops_is_not_brought_back() -> None:
    record = recorded(STORE, "vs_1", files(member("a.bin", refused=WHY)))
    assert with_refusals(KIND, {"name": "Docs"}, record) == {"name": "Docs"}


def test_each_missing_file_is_a_warning_with_the_message_of_the_api() -> None:
    desired = files(member("a.bin", refused=WHY), member("b.md"))
    (warning,) = refusal_warnings(KIND, desired, shown(member("b.md")))
    assert warning == f"✗ a.bin is left out: the API refused it {WHY}"


def test_a_file_that_somebody_uploaded_since_is_no_warning() -> None:
    desired = files(member("a.bin", refused=WHY))
    assert list(refusal_warnings(KIND, desired, shown(member("a.bin")))) == []


def test_files_that_were_not_read_count_as_missing() -> None:
    desired = files(member("a.bin", refused=WHY))
    assert len(list(refusal_warnings(KIND, desired, LiveObject(KIND, "vs_1", {})))) == 1


@pytest.mark.parametrize(("number", "last"), [(10, "9.bin is left"), (13, "3 more files are left")])
def test_long_lists_of_refused_files_are_cut(number: int, last: str) -> None:
    desired = files(*(member(f"{index}.bin", refused=WHY) for index in range(number)))
    *_, warning = list(refusal_warnings(KIND, desired, shown()))
    assert f"✗ {last} out" in warning


def test_a_refused_file_is_no_difference_and_stays_in_the_plan_as_a_warning() -> None:
    applied = {"name": "Docs", **files(member("a.bin", refused=WHY))}
    live = store("vs_1", mark=STORE)
    world = World(
        [declared(STORE, {"name": "Docs", **files(member("a.bin"))})],
        [recorded(STORE, "vs_1", applied)],
        [LiveObject(KIND, live.id, live.attributes, own_calls=files())],
    )
    change = world.change(STORE)
    assert change.action is Action.NO_OP
    assert change.warnings == (f"✗ a.bin is left out: the API refused it {WHY}",)
