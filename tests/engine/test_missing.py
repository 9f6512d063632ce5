"""Objects that a list lacks, as tables: which are awaited, which are read by id, and which are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from reconciler.engine.consistency import ConsistencyWindow
from reconciler.engine.refresh.missing import MissingObjects
from reconciler.engine.refresh.reader import Reader
from reconciler.engine.refresh.targets import ReadTargets
from reconciler.engine.scope import Scope
from reconciler.engine.selection import select
from reconciler.errors import ApiError, RetiredError
from reconciler.kinds import ALL_KINDS
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject
from tests.engine.tables import NOW, MemoryReader, World, at, recorded, shown, store

STORES = Scope("VectorStore", None)
GROUPS = Scope("Group", None)
LIMITS = Scope("RateLimit", "search")


class LaggingReader(MemoryReader):
    """Objects show in lists and single reads only from some reading on."""

    def __init__(self, objects: Sequence[LiveObject], *, shows_after: int) -> None:
        super().__init__(objects)
        self._left = shows_after

    def list(self, *arguments: Any, **options: Any) -> Sequence[LiveObject]:
        """The objects, once enough readings were made."""
        objects = super().list(*arguments, **options)
        self._left -= 1
        return objects if self._left < 0 else []


class Clock:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float, _: str) -> None:
        """Pass the time."""
        self.now += seconds


class Row(NamedTuple):
    """An object that was written so many seconds ago, and what becomes of it."""

    what: str
    written_ago: float | None
    shows_after: int
    is_there: bool
    waits: bool


ROWS = [
    Row("it is listed at once", 1, 0, is_there=True, waits=False),
    Row("it is too recent to be listed", 1, 3, is_there=True, waits=True),
    Row("it is recent and never shows", 1, 999, is_there=False, waits=True),
    Row("it was written long ago and is gone", 3_600, 999, is_there=False, waits=False),
    Row("it was not written by us", None, 999, is_there=False, waits=False),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_only_recent_objects_are_awaited(row: Row) -> None:
    clock = Clock()
    written: dict[Address, float] = {}
    if row.written_ago is not None:
        written[at("VectorStore/docs")] = NOW - row.written_ago
    world = World(
        prior=[recorded("VectorStore/docs", "vs_1")],
        more={
            "recently_written": lambda: written,
            "consistency": ConsistencyWindow(seconds=20, clock=clock, pause=clock.pause),
        },
    )
    api = LaggingReader([store("vs_1")], shows_after=row.shows_after)
    reader = Reader(api, ALL_KINDS, parallelism=1, pages={})
    targets = ReadTargets(world.inputs, select(world.inputs))
    reader.read_lists([STORES])
    MissingObjects(world.inputs, targets, reader).confirm({STORES})
    assert (reader.state.find("VectorStore", None, "vs_1") is not None) is row.is_there
    assert (clock.now > NOW) is row.waits


@pytest.mark.parametrize(("written_ago", "ids"), [(1, ["group_1"]), (3_600, [])])
def test_the_log_is_asked_whether_a_recent_object_was_deleted_which_ends_the_wait(
    written_ago: float, ids: Sequence[str]
) -> None:
    clock, asked = Clock(), []

    def removed(ids: Sequence[str]) -> Sequence[str]:
        asked.extend(ids)
        return ["group_1", "group_of_others"]

    world = World(
        prior=[recorded("Group/staff", "group_1")],
        more={
            "recently_written": lambda: {at("Group/staff"): NOW - written_ago},
            "consistency": ConsistencyWindow(seconds=20, clock=clock, pause=clock.pause),
            "removed": removed,
        },
    )
    reader = Reader(MemoryReader([]), ALL_KINDS, parallelism=1, pages={})
    targets = ReadTargets(world.inputs, select(world.inputs))
    scope = Scope("Group", None)
    reader.read_lists([scope])
    MissingObjects(world.inputs, targets, reader).confirm({scope})
    assert asked == ids
    assert clock.now == NOW


def test_an_object_that_its_list_lacks_is_read_by_its_id() -> None:
    api = LaggingReader([store("vs_1")], shows_after=1)
    reader = Reader(api, ALL_KINDS, parallelism=1, pages={})
    reader.read_lists([STORES])
    reader.confirm([(STORES, "vs_1"), (STORES, "vs_1"), (GROUPS, "group_1")])
    assert reader.state.find("VectorStore", None, "vs_1") is not None
    # Once for the list and once for the object. A scope that was not listed proves nothing.
    assert api.asked == ["VectorStore", "VectorStore"]


def test_a_kind_without_single_reads_is_listed_again() -> None:
    limit = shown("RateLimit", "rl-gpt", {"model": "gpt-4o"}, "search")
    api = LaggingReader([limit], shows_after=1)
    reader = Reader(api, ALL_KINDS, parallelism=1, pages={})
    reader.read_lists([LIMITS])
    reader.confirm([(LIMITS, "rl-gpt")])
    assert api.asked == ["RateLimit"]
    reader.list_again([(LIMITS, "rl-gpt")])
    assert reader.state.find("RateLimit", "search", "rl-gpt") is not None
    assert api.asked == ["RateLimit", "RateLimit"]


def test_a_partial_list_without_a_wanted_object_is_read_in_full() -> None:
    api = MemoryReader([store("vs_1"), store("vs_2")])
    reader = Reader(api, ALL_KINDS, parallelism=1, pages={})
    reader.read_lists([STORES])
    reader.reread({STORES: frozenset({"vs_1"})})
    assert api.asked == ["VectorStore"]
    reader.reread({STORES: frozenset({"vs_1", "vs_3"})})
    assert api.asked == ["VectorStore", "VectorStore"]


class RefusingReader(MemoryReader):
    """Answers every single read, and every read of a field, with an error."""

    def __init__(self, objects: Sequence[LiveObject], error: ApiError) -> None:
        super().__init__(objects)
        self._error = error

    def get(
        self, kind: Kind, project: str | None, id: str, *, fresh: bool = False
    ) -> LiveObject | None:
        """The error."""
        raise self._error

    def read_own_calls(self, live: LiveObject, names: Any) -> LiveObject:
        """The error; the call is counted."""
        self.asked.append(live.id)
        raise self._error


@pytest.mark.parametrize(
    ("error", "is_raised"),
    [
        (ApiError("no", status=403), False),
        (ApiError("no", status=500), False),
        (ApiError("connection lost"), True),
        (RetiredError("gone for good", status=404), True),
    ],
    ids=["refused", "failed", "no answer", "retired"],
)
def test_a_refused_object_concerns_itself_alone(error: ApiError, is_raised: bool) -> None:
    reader = Reader(RefusingReader([], error), ALL_KINDS, parallelism=1, pages={})
    reader.read_lists([STORES])
    if is_raised:
        with pytest.raises(ApiError):
            reader.confirm([(STORES, "vs_1")])
    else:
        reader.confirm([(STORES, "vs_1")])
        assert reader.state.failed_objects == {(STORES, "vs_1"): error}
        assert STORES not in reader.state.failed


@pytest.mark.parametrize(
    ("error", "is_raised"),
    [(ApiError("no", status=403), False), (ApiError("connection lost"), True)],
    ids=["refused", "no answer"],
)
def test_a_refused_field_concerns_its_object_alone(error: ApiError, is_raised: bool) -> None:
    api = RefusingReader([store("vs_1")], error)
    reader = Reader(api, ALL_KINDS, parallelism=1, pages={})
    reader.read_lists([STORES])
    if is_raised:
        with pytest.raises(ApiError):
            reader.read_own_calls({(STORES, "vs_1"): ["files"]})
    else:
        reader.read_own_calls({(STORES, "vs_1"): ["files"]})
        assert reader.state.failed_objects == {(STORES, "vs_1"): error}
        # A field that was refused once is not asked for again.
        reader.read_own_calls({(STORES, "vs_1"): ["files"]})
        assert api.asked == ["VectorStore", "vs_1"]
    assert reader.state.find("VectorStore", None, "vs_1") is not None
