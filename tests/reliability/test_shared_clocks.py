"""Leases go by the storage's clock, so it does not matter what the clocks of the machines show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.backends import SharedBackend
from tests.reliability.processes import Ended, Mortals
from tests.reliability.scenarios import ADDED
from tests.reliability.trials import WAITING, Stage, staged
from tests.soak import BACKENDS

HOUR = 3600.0
CLOCKS = [(HOUR, 0.0), (-HOUR, 0.0), (0.0, HOUR), (0.0, -HOUR)] if BACKENDS else [(-HOUR, HOUR)]


@pytest.fixture
def stage(mortals: Mortals, some_backend: SharedBackend, tmp_path: Path) -> Iterator[Stage]:
    with staged(ADDED, mortals, tmp_path, backend=some_backend) as running:
        yield running


def middle(stage: Stage) -> int:
    """A boundary in the middle of the run."""
    return stage.boundaries.index("after POST /v1/files")


@pytest.mark.parametrize(("ahead", "other_ahead"), CLOCKS)
def test_a_living_run_is_not_replaced_although_clocks_differ(
    ahead: float, other_ahead: float, stage: Stage, successors: Mortals
) -> None:
    others: list[Ended] = []

    def try_to_replace(_: object) -> None:
        others.append(
            stage.run(
                *stage.scenario.arguments, by=successors, watched=False, clock_ahead=other_ahead
            )
        )

    stage.begin()
    ended = stage.run(
        *stage.scenario.arguments, fatal=middle(stage), at_fatal=try_to_replace, clock_ahead=ahead
    )
    (other,) = others
    assert (ended.code, other.code) == (0, 12), (ended, other)
    assert "another run holds the lock" in other.err
    assert stage.wrong(stage.reference) == []


@pytest.mark.parametrize(("ahead", "other_ahead"), CLOCKS)
def test_a_dead_run_is_replaced_although_clocks_differ(
    ahead: float, other_ahead: float, stage: Stage
) -> None:
    stage.begin()
    stage.run(*stage.scenario.arguments, fatal=middle(stage), clock_ahead=ahead)
    ended = stage.run(*stage.scenario.arguments, *WAITING, watched=False, clock_ahead=other_ahead)
    assert (ended.code, "Taking over the lock" in ended.err) == (0, True), ended
    assert stage.wrong(stage.reference) == []
