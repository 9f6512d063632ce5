"""Whatever happens to a stack, and in whatever order: a few applies later all is as declared, and nothing else is.

The stories are drawn at random, always the same ones; see `storms` for what can happen in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.emulator import Emulator
from tests.properties.strategies import examples
from tests.reliability.processes import Mortals
from tests.reliability.random_failures import PATHS, SLOTS, Act, Story
from tests.soak import SOAK

QUICK = 14
LONG = 150

WRITES = (
    "POST:*",
    "DELETE:*",
    "POST:*/service_accounts*",
    "POST:/files",
    "POST:/vector_stores*",
    "POST:/assistants*",
)
MISHAPS = (
    *(
        f"do={what},when={when}"
        for what in ("error:500", "error:503", "reset")
        for when in ("before", "after")
    ),
    *("do=truncate", "do=error:429", "do=retry-after:0", "do=quota"),
)
faults = st.builds(
    "on={},{},times={},skip={}".format,
    st.sampled_from([*WRITES, "*:*", "GET:*"]),
    st.sampled_from(MISHAPS),
    st.sampled_from([1, 1, 2, 12]),
    st.integers(0, 6),
)
edits = st.lists(
    st.tuples(st.integers(0, len(SLOTS) - 1), st.integers(0, 3)), min_size=1, max_size=8
)
fatal = st.integers(0, 80) | st.integers(0, 500)
acts = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(PATHS)),
    st.tuples(st.just("shuffle"), st.integers(0, 9)),
    st.tuples(st.just("meddle"), st.integers(0, 40), st.booleans()),
    fatal.map(lambda at: ("die", at)),
    fatal.map(lambda at: ("die", at)),
    st.lists(faults, min_size=1, max_size=3).map(lambda found: ("weather", *found)),
    st.just(("apply",)),
    st.just(("apply", "--adopt")),
    st.just(("lose_state",)),
    st.just(("race",)),
)
beginnings = st.lists(st.integers(0, 3), min_size=len(SLOTS), max_size=len(SLOTS)).map(
    lambda ways: ("edit", *enumerate(ways))
)
moments = st.tuples(edits.map(lambda changes: ("edit", *changes)), acts) | st.tuples(acts)
stories = st.builds(
    lambda first, rest: (first, *(act for moment in rest for act in moment)),
    beginnings,
    st.lists(moments, min_size=3, max_size=7),
)


@pytest.fixture(scope="module")
def mortals() -> Iterator[tuple[Mortals, Mortals]]:
    with Mortals() as one, Mortals() as other:
        yield one, other


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stories")


@pytest.mark.slow
@given(story=stories)
@examples(LONG * SOAK or QUICK)
def test_after_any_story_all_is_as_declared(
    story: tuple[Act, ...], emulator: Emulator, mortals: tuple[Mortals, Mortals], base: Path
) -> None:
    told = Story(emulator, mortals, base / "stack")
    assert (told.tell(story), told.commands) == ([], told.commands)


@pytest.mark.slow
@given(beginning=beginnings)
@examples(20 * SOAK or 1)
def test_what_is_imported_into_an_empty_state_is_in_sync(
    beginning: Act, emulator: Emulator, mortals: tuple[Mortals, Mortals], base: Path
) -> None:
    told = Story(emulator, mortals, base / "stack")
    assert told.tell([beginning]) == []
    assert told.import_everything() == []


def declared(*addresses: str) -> Act:
    """An edit after which these are declared, each in its first way, and nothing else."""
    return (
        "edit",
        *(
            (at, 0 if slot.address in addresses else len(slot.ways))
            for at, slot in enumerate(SLOTS)
        ),
    )


SHARED, HANDBOOK = declared("File/shared"), declared("VectorStore/handbook")
REPLACED = (SHARED, ("apply",), ("write", "docs/a.md"))


@pytest.mark.parametrize(
    ("before", "further", "afterwards"),
    [
        pytest.param((SHARED,), 0, ("write", "docs/a.md"), id="edited, without an answer"),
        pytest.param((SHARED,), 8, ("write", "docs/a.md"), id="edited, with an id"),
        pytest.param(REPLACED, 8, ("write", "docs/a.md"), id="replaced and edited"),
        pytest.param(REPLACED, 8, declared(), id="replaced and removed"),
    ],
)
def test_what_a_dead_run_uploaded_goes_when_something_else_is_wanted(
    before: tuple[Act, ...],
    further: int,
    afterwards: Act,
    emulator: Emulator,
    mortals: tuple[Mortals, Mortals],
    base: Path,
) -> None:
    rehearsed = Story(emulator, mortals, base / "stack")
    rehearsed.live_through(before)
    uploaded = rehearsed.run("apply", "--yes", fatal=10_000).passed.index("after POST /v1/files")
    told = Story(emulator, mortals, base / "stack")
    assert told.tell([*before, ("die", uploaded + further), afterwards]) == []


def test_what_a_dead_run_uploaded_for_a_store_is_not_taken_for_a_file_of_the_same_name(
    emulator: Emulator, mortals: tuple[Mortals, Mortals], base: Path
) -> None:
    rehearsed = Story(emulator, mortals, base / "stack")
    rehearsed.live_through([HANDBOOK])
    uploaded = rehearsed.run("apply", "--yes", fatal=10_000).passed.index("after POST /v1/files")
    told = Story(emulator, mortals, base / "stack")
    told.live_through(
        [HANDBOOK, ("die", uploaded + 8), declared("VectorStore/handbook", "File/shared")]
    )
    assert (told.run("apply", "--yes").code, told.tell([])) == (0, [])


def test_uploads_that_somebody_detached_are_attached_again_or_deleted(
    emulator: Emulator, mortals: tuple[Mortals, Mortals], base: Path
) -> None:
    told = Story(emulator, mortals, base / "stack")
    told.live_through([HANDBOOK, ("apply",)])
    with emulator.store.lock:
        held = [(item.scope, item.id) for item in emulator.store.all("vector_store_file")]
    for store, id in held:
        told.send("DELETE", f"/vector_stores/{store}/files/{id}")
    assert told.tell([("write", "docs/a.md")]) == []
    with emulator.store.lock:
        assert (
            len(
                {item.id for item in emulator.store.all("vector_store_file")}
                & {id for _, id in held}
            )
            == 1
        )


def test_what_was_marked_and_is_declared_no_more_goes_after_the_state_is_lost_and_something_imported(
    emulator: Emulator, mortals: tuple[Mortals, Mortals], base: Path
) -> None:
    told = Story(emulator, mortals, base / "stack")
    told.live_through(
        [declared("VectorStore/second", "File/shared"), ("apply",), ("lose_state",), SHARED]
    )
    with emulator.store.lock:
        (id,) = [item.id for item in emulator.store.all("file") if item.body["filename"] == "a.md"]
    assert told.run("import", "File/shared", id).code == 0
    assert told.tell([]) == []
