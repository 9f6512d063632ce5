"""Any lost or broken answer to a write leaves one object and an empty plan.

The writes are those that a life without mishaps sends. In the quick form every route is hit once, with mishaps in
turn; `RECONCILER_SOAK` hits each write alone, with everything there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator import Emulator
from reconciler.emulator.recorder import RequestRecord
from reconciler.emulator.routes import ROUTES
from reconciler.emulator.routing import Router
from reconciler.kinds import KINDS
from reconciler.model.kind import Kind
from tests.properties.lifecycle import Clock, Life
from tests.soak import SOAK
from tests.whole_examples import is_listed

pytestmark = pytest.mark.slow

SHAPES = (
    "reset,when=after",
    "error:503,when=before",
    "truncate",
    "html:502,when=after",
    "reset,when=before",
    "error:500,when=after",
    "error:503,when=after",
    "html:502,when=before",
    "error:409,when=after",
    "error:429,when=before",
    "empty,when=after",
    "no-id",
    "error-body,when=after",
)
SILENCE = "hang:1500,when=after"
AHEAD_SECONDS = (6.0, 3600.0, -3600.0)
"""How far the clock of the machine may be ahead of the server's."""
OUTAGE_SECONDS = 2 * 550
"""How long a run may last whose server is gone: the look after the create, and one more request beside it."""
# Where the API has no list, nothing can tell whether an object was made whose answer was lost.
UNSEEN = {("POST", kind.collection) for kind in KINDS.values() if not kind.calls.listable}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def emulator(clock: Clock) -> Iterator[Emulator]:
    with Emulator(clock=clock) as running:
        yield running


@pytest.fixture
def life(kind: Kind, emulator: Emulator, clock: Clock, tmp_path: Path) -> Life:
    return Life(kind, emulator, clock, tmp_path / "stack")


def lived(life: Life) -> tuple[list[dict[str, int]], list[str], int]:
    """What there was after each phase of a life, which writes were sent, and how many calls it took."""
    counts = [life.counts() for _ in life.phases()]
    return counts, life.writes(), life.calls


def again(life: Life, *faults: str, **options: Any) -> Life:
    """The same life from its beginning, in other weather."""
    other = Life(life.kind, life.emulator, life.clock, life.root, **options)
    for fault in faults:
        life.emulator.add_fault(fault)
    return other


def in_turn(kind: Kind, values: Sequence[float]) -> float:
    """One of several values, another one for the next kind."""
    return values[list(KINDS).index(kind.name) % len(values)]


def route_of(request: RequestRecord) -> str | None:
    """The route of a write as a fault names it; None for a read, and for making what no list shows again."""
    if request.method == "GET" or (request.method, request.path) in UNSEEN:
        return None
    methods, _ = Router(ROUTES).find(request.path)
    return f"{request.method}:{re.sub('{[^}]*}', '*', methods[request.method].path)}"


@every_kind
def test_lost_answers_to_writes_leave_what_a_calm_day_does(life: Life, kind: Kind) -> None:
    calm, _, calls = lived(life)
    routes = dict.fromkeys(filter(None, map(route_of, life.emulator.requests)))
    shift = list(KINDS).index(kind.name)
    storm = [
        f"on={route},do={SHAPES[(shift + at) % len(SHAPES)]}" for at, route in enumerate(routes)
    ]
    found, _, stormy_calls = lived(again(life, *storm))
    assert found == calm
    assert (
        stormy_calls >= calls + len(storm) / 2
    )  # an answer that is lost, and found again by a list, costs one


@every_kind
def test_a_lost_answer_and_lost_looks_right_after_it_leave_what_a_calm_day_does(
    life: Life, kind: Kind
) -> None:
    calm, _, calls = lived(life)
    routes = dict.fromkeys(filter(None, map(route_of, life.emulator.requests)))
    shift = list(KINDS).index(kind.name)
    lost = [1 + (shift + at) % 4 for at in range(len(routes))]
    storm = [
        f"on={route},do=reset,when=after,then={then}"
        for route, then in zip(routes, lost, strict=True)
    ]
    # What is hit again and again within one change may be given up; the next run has to make it good.
    found, _, stormy_calls = lived(again(life, *storm, runs=3))
    assert found == calm
    assert stormy_calls >= calls + sum(lost)


@every_kind
def test_a_clock_that_is_off_makes_nothing_twice_when_answers_are_lost(
    life: Life, kind: Kind
) -> None:
    calm, _, _ = lived(life)
    routes = dict.fromkeys(filter(None, map(route_of, life.emulator.requests)))
    for ahead in AHEAD_SECONDS if SOAK else (in_turn(kind, AHEAD_SECONDS),):
        storm = (f"on={route},do=reset,when=after" for route in routes)
        found, _, _ = lived(again(life, *storm, ahead_seconds=ahead))
        assert (ahead, found) == (ahead, calm)


@pytest.mark.parametrize("kind", list(filter(is_listed, KINDS.values())), ids=attrgetter("name"))
def test_an_outage_right_after_a_create_ends_the_run_and_is_made_good_by_the_next(
    life: Life, kind: Kind
) -> None:
    life.applied()
    calm = life.counts()
    ahead = in_turn(kind, (0.0, *AHEAD_SECONDS))
    lost = f"on=POST:*{kind.collection.rpartition('}')[2]},do=reset,when=after,then=100000"
    stormy = again(life, lost, ahead_seconds=ahead)
    began = life.clock()
    stormy.apply()
    assert life.clock() - began <= OUTAGE_SECONDS
    life.emulator.clear_faults()
    stormy.applied()
    assert stormy.counts() == calm


if SOAK:

    @pytest.mark.parametrize(
        "kind", list(filter(is_listed, KINDS.values())), ids=attrgetter("name")
    )
    @pytest.mark.parametrize("shape", [*SHAPES, SILENCE])
    def test_every_write_survives_every_mishap(life: Life, shape: str) -> None:
        calm, writes, calls = lived(life)
        for at, method in enumerate(writes):
            fault = f"on={method}:*,do={shape},skip={writes[:at].count(method)}"
            found, _, stormy_calls = lived(
                again(life, fault, answer_seconds=1.0 if shape is SILENCE else 120.0)
            )
            assert (fault, found) == (fault, calm)
            # Only what goes up as a form may take longer than silence lasts, and so is no lost answer.
            assert stormy_calls > calls or shape is SILENCE


@pytest.mark.parametrize("kind", [KINDS["Project"], KINDS["VectorStore"]], ids=attrgetter("name"))
def test_silence_after_a_write_is_a_lost_answer(life: Life) -> None:
    calm, _, calls = lived(life)
    found, _, silent_calls = lived(again(life, f"on=POST:*,do={SILENCE}", answer_seconds=1.0))
    assert found == calm
    assert silent_calls > calls


@pytest.mark.parametrize(
    "kind", [KINDS["ServiceAccount"], KINDS["VectorStore"]], ids=attrgetter("name")
)
@pytest.mark.parametrize("mishap", ["reset,when=before", "error:503,when=after"])
def test_three_lost_answers_in_a_row_are_survived(life: Life, mishap: str) -> None:
    calm, _, _ = lived(life)
    found, _, _ = lived(
        again(life, *(f"on=POST:*{end},do={mishap},times=3" for end in ("s", "/files")))
    )
    assert found == calm
