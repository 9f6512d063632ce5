"""Whatever strikes a fleet, the same command once more leaves no duplicate and no orphan, and all converge."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator.recorder import RequestRecord
from reconciler.emulator.store import ORGANIZATION
from tests.fleet.beds import BedStack, FleetBed, StackSize
from tests.fleet.chaos import (
    APPLY,
    DRIFT,
    Trial,
    badly_ended,
    fleet_size,
    together,
)
from tests.fleet.organizations import Organizations
from tests.reliability.processes import Ended, Mortals, Stopped
from tests.reliability.trials import spread
from tests.servers.postgres import Database
from tests.servers.proxy import Proxy
from tests.soak import SOAK

pytestmark = pytest.mark.slow

STACKS, ORGANIZATIONS = fleet_size("9x3")
DEATHS = 40 * SOAK or 4
"""How often a run is killed at random."""
PLACES = 60 * SOAK or 6
"""At how many boundaries a run is killed, spread over all of them."""


@pytest.fixture(scope="module")
def mortals() -> Iterator[Mortals]:
    with Mortals() as running:
        yield running


@pytest.fixture(scope="module")
def others() -> Iterator[Mortals]:
    """Another machine."""
    with Mortals() as running:
        yield running


@pytest.fixture
def platform() -> Iterator[Organizations]:
    with Organizations(ORGANIZATIONS) as running:
        yield running


@pytest.fixture
def proxy(database: Database) -> Iterator[Proxy]:
    """What stands between the fleet and Postgres."""
    with Proxy(("127.0.0.1", database.port)) as running:
        yield running


@pytest.fixture
def trial(
    tmp_path: Path, platform: Organizations, database: Database, proxy: Proxy, mortals: Mortals
) -> Trial:
    """A fleet that was never applied, with its states in Postgres behind the proxy."""
    bed = FleetBed(tmp_path, platform, database)
    bed.variables["RECONCILER_BACKEND"] = database.url(port=proxy.port)
    bed.write_stacks(STACKS, size=StackSize(assistants=1))
    return Trial(bed, mortals)


def seed() -> int:
    """A new one each time, unless the environment names one; printed where a test fails."""
    chosen = int(os.environ.get("RECONCILER_SEED") or random.SystemRandom().randrange(10**6))
    print(f"RECONCILER_SEED={chosen}")
    return chosen


def statuses(out: str) -> dict[str, str]:
    """The status of each stack in a JSON report, by folder."""
    stacks: list[dict[str, Any]] = json.loads(out)["stacks"]
    return {stack["folder"].rpartition("/")[2]: stack["status"] for stack in stacks}


def others_than(stacks: list[BedStack], names: set[str]) -> set[str]:
    return {stack.name for stack in stacks} - names


# --- one of many


def test_a_stack_whose_changes_somebody_undoes_at_once_is_the_only_one_that_stays_drifted(
    trial: Trial,
) -> None:
    looping = trial.bed.stacks[0]
    store = looping.organization.store

    def undo(request: RequestRecord) -> None:
        projects = store.collection("project", ORGANIZATION).ordered()
        mine = [one for one in projects if one.body["name"] == looping.project]
        if "rate_limits" in request.path and mine and mine[0].id in request.path:
            mine[0].hidden["limits"].clear()

    looping.organization.state.after_write = undo
    # The log reports nothing of it, so that only a full reading shows it.
    full = ("--refresh", "full")
    assert badly_ended([trial.apply(*full) for _ in range(3)], [0]) == []
    trial.bed.platform.forget_requests()
    drifted = trial.run(*DRIFT, "--format", "json")
    assert drifted.code == 2
    found = statuses(drifted.out)
    assert {name for name, status in found.items() if status != "in sync"} == {looping.name}
    looping.organization.state.after_write = None
    assert trial.converge(*full) == []


def test_a_refused_key_fails_the_stacks_of_its_organization_alone_and_nothing_is_deleted(
    trial: Trial,
) -> None:
    trial.apply()
    trial.bed.write_stacks(STACKS, size=StackSize(assistants=1), limit=400)
    refused = trial.bed.platform[1]
    refused.revoke_admin_key()
    ended = trial.apply("--format", "json")
    assert ended.code == 13, ended
    failing = {stack.name for stack in trial.bed.stacks if stack.organization is refused}
    found = statuses(ended.out)
    assert {name for name, status in found.items() if status == "failed"} == failing
    assert {found[name] for name in others_than(trial.bed.stacks, failing)} == {"applied"}
    assert trial.bed.wrong() == []
    refused.restore_admin_key()
    assert trial.converge() == []


# --- the machines around it


def test_postgres_that_goes_away_in_the_middle_of_an_apply_loses_nothing(
    trial: Trial, proxy: Proxy
) -> None:
    chance = random.Random(seed())
    places = trial.writing_places()
    ended = trial.run(*APPLY, fatal=chance.choice(places), at_fatal=lambda _: proxy.refuse())
    assert badly_ended([ended], [1, 12, 13]) == []
    before = trial.bed.writes()
    assert badly_ended([trial.apply()], [1]) == []
    assert trial.bed.writes() == before, "an apply without its state wrote something"
    proxy.restore()
    assert trial.converge() == []


def test_a_connection_to_postgres_that_breaks_under_a_run_is_nothing_that_anybody_notices(
    trial: Trial, proxy: Proxy
) -> None:
    chance = random.Random(seed())
    places = trial.writing_places()
    ended = trial.run(*APPLY, fatal=chance.choice(places), at_fatal=lambda _: proxy.cut())
    assert badly_ended([ended], [0]) == []
    assert trial.bed.wrong() == []
    assert trial.converge() == []


def test_an_api_that_restarts_under_a_run_loses_nothing(trial: Trial) -> None:
    chance = random.Random(seed())
    places = trial.writing_places()

    def restart(_: Stopped) -> None:
        trial.bed.platform.stop()
        trial.bed.platform.start()

    ended = trial.run(*APPLY, fatal=chance.choice(places), at_fatal=restart)
    assert badly_ended([ended]) == []
    assert trial.converge() == []


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_changes_nothing(trial: Trial, hours: int) -> None:
    assert trial.apply(clock_ahead=hours * 3600.0).code == 0
    assert trial.bed.wrong() == []
    assert trial.converge() == []


# --- two at once, and deaths


def test_two_runs_at_once_create_nothing_twice(trial: Trial, others: Mortals) -> None:
    """The second runs from beginning to end while a thread of the first waits near a write."""
    chance = random.Random(seed())
    place = chance.choice(trial.writing_places())
    second: list[Ended] = []
    first = trial.run(
        *APPLY, fatal=place, at_fatal=lambda _: second.append(trial.run(*APPLY, by=others))
    )
    # Stacks take turns by chance, so the thread that waits can be one that holds no lock just then.
    assert badly_ended([first, *second], [0, 12, 13]) == []
    assert trial.converge() == []


def test_two_runs_that_wait_for_each_other_both_end_well(trial: Trial, others: Mortals) -> None:
    others.run(["--version"], folder=trial.bed.folder, variables={}, whole_bytes=1)  # it is warm
    together(lambda: trial.apply(), lambda: trial.apply(by=others))
    assert badly_ended(trial.ends, [0]) == []
    assert trial.bed.wrong() == []


def test_a_run_whose_clock_is_two_hours_off_takes_over_from_a_dead_one(
    trial: Trial, others: Mortals
) -> None:
    chance = random.Random(seed())
    for place in chance.sample(trial.writing_places(), 2):
        trial.begin_again()
        assert trial.run(*APPLY, fatal=place, clock_ahead=3600.0).died
        assert badly_ended([trial.apply(by=others, clock_ahead=-3600.0)], [0]) == []
        assert trial.bed.wrong() == []
    assert trial.converge() == []


def test_deaths_at_random_moments_leave_no_duplicate_and_no_orphan(trial: Trial) -> None:
    chance = random.Random(seed())
    seconds = trial.seconds_of_apply()
    deaths = 0
    for death in range(4 * DEATHS):
        trial.bed.write_stacks(STACKS, size=StackSize(assistants=1 + death % 3), limit=500 - death)
        ended = trial.apply(seconds=seconds * chance.uniform(0.1, 1.0), parallelism=4)
        deaths += ended.died
        if deaths == DEATHS:
            break
    assert deaths == DEATHS, "the runs ended before they were killed"
    assert badly_ended(trial.ends) == []
    assert trial.converge() == []


def test_a_death_at_any_boundary_is_mended_by_the_same_command(trial: Trial) -> None:
    """Each death strikes a fleet of which some stacks are done, some begun and some not."""
    places = trial.telling_places()
    problems, deaths = [], 0
    for place in [places[number] for number in spread(len(places), PLACES)]:
        trial.begin_again()
        ended = trial.run(*APPLY, fatal=place)
        deaths += ended.died
        # Threads of several stacks take turns by chance, so a run can pass fewer boundaries.
        wrong = badly_ended([ended], [0]) + trial.converge()
        problems += [f"{place}, {ended.passed[-1:]}: {problem}" for problem in wrong]
    assert problems == []
    assert deaths >= PLACES - 2
