"""Whatever strikes a run or its backend at any boundary, the same command once more leaves what it would have left.

`make test` tries a few boundaries on each backend, `make test-backends` many, `make soak` most of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path

import pytest

from tests.reliability.backends import Backend, SharedBackend
from tests.reliability.processes import Ended, Mortals
from tests.reliability.scenarios import ACCOUNTS, ADDED, Scenario
from tests.reliability.test_kills_everywhere import RUN_OF_THE_MILL
from tests.reliability.trials import Stage, spread, staged
from tests.soak import BACKENDS

DEATHS = 12 * BACKENDS or 3
"""Boundaries at which a run dies, with each backend and scenario."""
STRIKES = 6 * BACKENDS or 1
"""Boundaries at which each event strikes."""
CODES = (0, 1, 10, 12, 13)
"""What a run may end with while its backend cannot be reached."""
LAST = 12
"""How many boundaries a run can pass less than another: writes share segments as the moment has it."""
SLOW_SECONDS = 0.02

every_scenario = pytest.mark.parametrize(
    "scenario", [ACCOUNTS, ADDED] if BACKENDS else [ACCOUNTS], ids=attrgetter("name")
)


def fatal_boundaries(stage: Stage, most: int) -> Sequence[int]:
    """Boundaries spread over the run."""
    telling = [
        at for at, name in enumerate(stage.boundaries) if not name.startswith(RUN_OF_THE_MILL)
    ]
    return [telling[at] for at in spread(len(telling), most)]


def problems_of(stage: Stage, at: int, ended: Ended) -> list[str]:
    """What is wrong with how a run ended that met something at a boundary, and after the next run."""
    wrong = []
    if not ended.died and (ended.code not in CODES or "Traceback" in ended.err):
        wrong.append(f"it ended badly: {ended}")
    at_name = stage.boundaries[at]
    return [f"{at}, {at_name}: {problem}" for problem in wrong + stage.repair()]


@every_scenario
def test_a_death_at_any_boundary_is_mended(
    scenario: Scenario, mortals: Mortals, backend: Backend, tmp_path: Path
) -> None:
    problems = []
    with staged(scenario, mortals, tmp_path, backend=backend) as stage:
        for at in fatal_boundaries(stage, DEATHS):
            stage.begin()
            ended = stage.die(at)
            if not ended.died and at < len(stage.boundaries) - LAST:
                problems.append(f"nobody died at {at}: {ended}")
            problems += problems_of(stage, at, ended)
    assert not problems, "\n".join(problems)


EVENTS: dict[str, Callable[[SharedBackend], object]] = {
    "cut": lambda backend: backend.proxy.cut(),
    "refused": lambda backend: backend.proxy.refuse(),
    "slowed": lambda backend: backend.proxy.delay(SLOW_SECONDS),
    "a lost answer": lambda backend: backend.proxy.lose_answer(backend.write_marker),
    "a lost request": lambda backend: backend.proxy.lose_request(backend.write_marker),
}
HARMLESS = ("slowed", "cut", "a lost answer", "a lost request")
"""After these, the run itself goes on."""


def trials(stage: Stage) -> Iterator[tuple[str, int]]:
    """Which event strikes at which boundary: all of them in turn, so that each is spread over the run."""
    yield from zip(
        itertools.cycle(EVENTS), fatal_boundaries(stage, STRIKES * len(EVENTS)), strict=False
    )


@every_scenario
def test_a_broken_connection_to_the_backend_loses_nothing(
    scenario: Scenario, mortals: Mortals, shared_backend: SharedBackend, tmp_path: Path
) -> None:
    problems = []
    with staged(scenario, mortals, tmp_path, backend=shared_backend) as stage:
        for event, at in trials(stage):
            stage.begin()
            ended = stage.meet(at, lambda _, event=event: EVENTS[event](shared_backend))
            shared_backend.proxy.restore()
            found = problems_of(stage, at, ended)
            if event in HARMLESS and ended.code != 0:
                found.append(f"it did not go through: {ended}")
            problems += [f"{event}: {problem}" for problem in found]
    assert not problems, "\n".join(problems)
