"""Simulates how fresh fleets are: the sizes that an organization's pace allows."""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.results import Figure, Results
from tests.fleet.simulate import calculated_minutes, simulate

_MOST_OF_CALCULATED = 1.1
"""How much longer a full reading may take than the pace requires."""


def sizing(_: Path, results: Results) -> None:
    """Full readings against what the pace allows, and changes in the log."""
    began = time.process_time()
    for stacks in (25, 500, 10_000):
        full, log = simulate(stacks), simulate(stacks, changes_a_day=0.1)
        least = calculated_minutes(full.busiest)
        name = f"simulated, {stacks:,} stacks in an organization"
        results.add(
            Figure(f"{name}: full reading", full.reading, "min", least * _MOST_OF_CALCULATED + 1),
            Figure(f"{name}: 95 % of logged changes found within", log.delay(0.95), "min", 5.0),
        )
    results.add(Figure("the simulation itself: CPU", time.process_time() - began, "s"))
