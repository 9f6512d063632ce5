"""Killed at any boundary, the same command once more leaves what it would have left at once.

`make test` tries a spread of the boundaries and a state that is lost on top. `make test-slow` adds single kinds, lists
that lag and edits that are taken back. `make soak` tries each boundary, then pairs of deaths and deaths at any instant.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest

from reconciler.kinds import KINDS
from reconciler.model.change import Action
from reconciler.model.kind import Kind
from tests.reliability.processes import Mortals
from tests.reliability.scenarios import (
    ACCOUNTS,
    ADDED,
    BOTS,
    FILES,
    JOBS,
    MARKED,
    ORGANIZATION,
    SCENARIOS,
    STORES,
    Scenario,
    example_of,
)
from tests.reliability.trials import Stage, spread, staged
from tests.soak import SOAK

every_scenario = pytest.mark.parametrize(
    "scenario", [*SCENARIOS, *([JOBS] if SOAK else [])], ids=attrgetter("name")
)

FEW = 4
"""Boundaries that `make test` tries in each scenario."""

ACCOUNT = "/v1/organization/projects/*/service_accounts/*"

FOUND = {
    # The key file of an account that was deleted, and the proof beside it, were forgotten.
    "accounts": ((f"after DELETE {ACCOUNT}", 0), ("before os.unlink", 0), ("before os.unlink", 1)),
    # A file that a replacement had left behind was deleted before the store let go of it.
    "files": (("after POST /v1/files", 5),),
    # A rename that was recorded was never written to the object.
    "bots": (("before POST /v1/agents/*", 0),),
    # What the dead run had uploaded for the new store was deleted with it, although the next one held it by then.
    "stores": (("before GET /v1/vector_stores/*/files/*", 0),),
    # A project that the first run had let go was in the way of the second; then, so was the dead key in its file.
    "destroyed": (("after DELETE /v1/files/*", 0), (f"after DELETE {ACCOUNT}", 0)),
    # The key that opens the project was gone until the next account had one.
    "rotated": ((f"after DELETE {ACCOUNT}", 0),),
}
"""Boundaries where deaths once did harm, each as a name and how many further: tried always."""

RUN_OF_THE_MILL = ("before SAVEPOINT", "before RELEASE", "before GET", "after GET")
"""Boundaries at which nothing differs from the one before: left to `make soak`."""


def fatal_boundaries(stage: Stage, *, few: int = FEW) -> list[int]:
    """Which boundaries to die at: every one in a soak, else a few of those that matter, spread over the run."""
    if SOAK:
        return list(range(len(stage.boundaries)))
    telling = [
        at for at, name in enumerate(stage.boundaries) if not name.startswith(RUN_OF_THE_MILL)
    ]
    known = [
        at
        for name, after in FOUND.get(stage.scenario.name, ())
        for at in [stage.boundary(name) + after]
    ]
    return sorted({telling[at] for at in spread(len(telling), few)} | set(known))


def problems_after(stage: Stage, fatal: list[int], recover: Callable[[], list[str]]) -> list[str]:
    """What is wrong after a death at each of the boundaries and a recovery, with the boundary's name."""
    found = []
    for at in fatal:
        stage.begin()
        ended = stage.die(at)
        if not ended.died:
            found.append(f"nobody died at {at}: {ended}")
        found += [f"killed at {at}, {' '.join(ended.passed)}: {problem}" for problem in recover()]
    return found


@every_scenario
def test_a_death_at_any_boundary_is_mended_by_the_same_command(
    scenario: Scenario, mortals: Mortals, tmp_path: Path
) -> None:
    with staged(scenario, mortals, tmp_path) as stage:
        assert problems_after(stage, fatal_boundaries(stage), stage.repair) == []


@every_scenario
@pytest.mark.skipif(not SOAK, reason="the single deaths are what make test has time for")
def test_a_death_of_the_repair_is_mended_as_well(
    scenario: Scenario, mortals: Mortals, tmp_path: Path
) -> None:
    chance = random.Random(SOAK)
    with staged(scenario, mortals, tmp_path) as stage:
        for _ in range(40 * SOAK):
            first, second = (
                chance.randrange(len(stage.boundaries)),
                chance.randrange(len(stage.boundaries)),
            )
            stage.begin()
            stage.die(first)
            stage.die(second)
            assert (first, second, stage.repair()) == (first, second, [])


@every_scenario
@pytest.mark.skipif(
    not SOAK, reason="where it strikes depends on the machine, so it says little in a single run"
)
def test_a_death_at_any_instant_is_mended_by_the_same_command(
    scenario: Scenario, mortals: Mortals, tmp_path: Path
) -> None:
    chance = random.Random(SOAK)
    with staged(scenario, mortals, tmp_path) as stage:
        for _ in range(40 * SOAK):
            seconds = chance.uniform(0.02, 0.3)
            stage.begin()
            stage.run(*scenario.arguments, watched=False, seconds=seconds)
            assert (seconds, stage.repair()) == (seconds, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario", [item for item in SCENARIOS if SOAK or item.name == "added"], ids=attrgetter("name")
)
def test_what_a_dead_run_made_is_found_although_lists_lag(
    scenario: Scenario, mortals: Mortals, tmp_path: Path
) -> None:
    with staged(scenario, mortals, tmp_path) as stage:
        stage.settle_seconds = 2.0
        stage.list_lag_ms = 700
        made = [at for at, name in enumerate(stage.boundaries) if name.startswith("after POST")]
        fatal = made if SOAK else [made[at] for at in spread(len(made), 3)]
        assert problems_after(stage, fatal, stage.repair) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in KINDS.values()
        if SOAK or kind.name in ("AdminKey", "RoleAssignment", "SpendLimit")
    ],
    ids=attrgetter("name"),
)
def test_a_death_while_the_example_of_a_kind_is_made_is_mended(
    kind: Kind, mortals: Mortals, tmp_path: Path
) -> None:
    with staged(example_of(kind), mortals, tmp_path) as stage:
        assert problems_after(stage, fatal_boundaries(stage, few=8), stage.repair) == []


def test_losing_the_state_as_well_makes_no_second_object_of_a_marked_kind(
    mortals: Mortals, tmp_path: Path
) -> None:
    with staged(MARKED, mortals, tmp_path) as stage:

        def recover() -> list[str]:
            stage.lose_state()
            # A file that was uploaded and is in no store yet was known to the lost journal alone.
            return [
                problem for problem in stage.repair() if not problem.startswith('too much: ["file"')
            ]

        assert problems_after(stage, fatal_boundaries(stage), recover) == []


@pytest.mark.slow
def test_an_edit_that_is_taken_back_after_a_death_leaves_nothing(
    mortals: Mortals, tmp_path: Path
) -> None:
    with staged(ADDED, mortals, tmp_path) as stage:
        assert problems_after(stage, fatal_boundaries(stage, few=12), stage.withdraw) == []


def test_the_scenarios_have_every_action_on_every_kind_in_them(
    mortals: Mortals, tmp_path: Path
) -> None:
    seen: set[tuple[str, Action]] = set()
    for number, scenario in enumerate((ORGANIZATION, ACCOUNTS, FILES, STORES, BOTS)):
        with staged(scenario, mortals, tmp_path / str(number), rehearse=False) as stage:
            seen |= stage.planned()
    wanted = {
        (kind, action) for kind in {kind for kind, _ in seen} for action in expected(KINDS[kind])
    }
    assert sorted(wanted - seen) == []


def expected(kind: Kind) -> set[Action]:
    """What can happen to a resource of a kind."""
    always = {Action.REPLACE, Action.DELETE, Action.FORGET}
    if kind.always_exists:
        return {*always, Action.UPDATE}
    changeable = any(field.on_update for field in kind.fields)
    return {*always, Action.CREATE, Action.ADOPT, *([Action.UPDATE] if changeable else [])}
