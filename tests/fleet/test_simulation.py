"""What the simulation of fleets says agrees with arithmetic, with the real client, and with the docs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from reconciler.kinds import KINDS
from tests.fleet.simulate import calculated_minutes, main, simulate, table
from tests.fleet.simulation.world import (
    TYPICAL,
    WITH_BUDGET,
    kinds_in_log,
    own_reading,
    shared_reading,
)

PAGE = Path(__file__).parent.parent.parent / "docs" / "fleets.md"
TABLE = re.compile(r"(<!-- SIMULATED -->\n)(.*?)(<!-- END -->)", re.DOTALL)


@pytest.mark.parametrize("stacks", [30, 100, 400])
def test_full_readings_take_as_long_as_the_formula_says(stacks: int) -> None:
    figures = simulate(stacks)
    assert figures.busiest == stacks
    assert figures.reading == pytest.approx(calculated_minutes(stacks), rel=0.05, abs=1.1)


def test_a_higher_limit_is_learned_and_used() -> None:
    assert simulate(400, per_minute=28).reading < simulate(400).reading / 3


def test_the_log_shows_changes_within_minutes_whatever_the_size_of_the_fleet() -> None:
    small, large = (simulate(stacks, changes_a_day=0.1) for stacks in (20, 500))
    assert max(small.delays) < 4
    assert max(large.delays) < 5
    assert large.gap < 1.05 * 24 * 60 + large.reading


def test_a_change_by_hand_is_found_by_the_end_of_the_next_full_reading() -> None:
    figures = simulate(100)
    assert figures.reading <= figures.gap < figures.reading + 3


def test_a_fleet_reads_each_list_of_the_organization_once() -> None:
    lists = [call.limit.route for call in shared_reading(TYPICAL, 50)]
    assert sorted(lists) == ["/organization/groups", "/organization/projects"]
    assert all(call.subject[1] for stack in range(50) for call in own_reading(TYPICAL, stack))


def test_what_the_log_does_not_report_is_no_change_that_it_shows() -> None:
    assert "SpendLimit" not in kinds_in_log(WITH_BUDGET)
    assert not KINDS["SpendLimit"].audit_events


def test_the_same_seed_gives_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--stacks", "40", "--organizations", "2", "--changes", "10"]
    printed = []
    for _ in range(2):
        simulate.cache_clear()
        main(words)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "20 stacks in each of 2 organizations" in printed[0]


@pytest.mark.slow
def test_the_table_of_the_docs_is_what_the_simulation_says() -> None:
    text = PAGE.read_text("utf-8")
    expected = TABLE.sub(lambda found: f"{found[1]}\n{table()}\n\n{found[3]}", text)
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        PAGE.write_text(expected, "utf-8")
    else:
        assert text == expected
