"""How fresh a fleet is: `python -m tests.fleet.simulate` prints the table of docs/fleets.md.

python -m tests.fleet.simulate --stacks 250 --organizations 4 --per-minute 20 --changes 5
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil

from tests.fleet.simulation.fleet import DAY, Outcome, SimulatedFleet, Workload
from tests.fleet.simulation.loop import Loop
from tests.fleet.simulation.organization import SimulatedOrganization
from tests.fleet.simulation.world import TYPICAL, Profile

STACKS = (10, 100, 1_000, 10_000)
ORGANIZATIONS = (1, 20)
CHANGES = (0.01, 0.1)
PER_MINUTE = 7
SEED = 1
SHORTEST_INTERVAL = 60.0
"""No fleet reads everything more often than that."""
_WINDOW_MINUTES = 61 / 60
_ENOUGH_CHANGES = 200
_FEWEST_A_DAY = 10.0
"""Small fleets change more often than said, so that there is something to see."""


@dataclass(frozen=True)
class Figures:
    """What one organization saw. Times are in minutes."""

    calls_of_reading: int
    """Calls of a full reading, all routes together."""
    busiest: int
    """Those of the busiest route."""
    first: float
    """How long the first full reading takes, while the allowance is unused."""
    reading: float
    """How long a full reading takes where one follows the other."""
    gap: float
    """From one full reading of a stack to the end of the next, at most."""
    delays: tuple[float, ...]
    """From each change in the log to the plan that shows it, sorted."""
    refused: float
    """The share of requests that were refused."""

    def delay(self, share: float) -> float:
        """The delay that so many changes do not exceed."""
        return self.delays[ceil(share * len(self.delays)) - 1]


@cache
def simulate(
    stacks: int,
    *,
    per_minute: int = PER_MINUTE,
    profile: Profile = TYPICAL,
    changes_a_day: float | None = None,
    seed: int = SEED,
) -> Figures:
    """One organization with so many stacks; with `changes_a_day`, by its audit log and a full reading a day."""
    loop, chance = Loop(), random.Random(f"{seed} {stacks} {changes_a_day}")
    organization = SimulatedOrganization(loop, per_minute, chance)
    reads_log = changes_a_day is not None
    work = Workload(
        stacks,
        profile,
        changes_a_day=max(stacks * changes_a_day, _FEWEST_A_DAY) if changes_a_day else 0.0,
        reads_log=reads_log,
        full_every=DAY if reads_log else SHORTEST_INTERVAL,
    )
    fleet = SimulatedFleet(loop, organization, work, chance)
    fleet.begin()
    calls, busiest = _first_reading(loop, fleet)
    loop.run_until(loop.now * 3 + _days(work) * DAY + 10 * SHORTEST_INTERVAL)
    return _figures(fleet.outcome, organization, calls, busiest)


def _first_reading(loop: Loop, fleet: SimulatedFleet) -> tuple[int, int]:
    """Let the first full reading end; its calls, and those of its busiest route."""
    loop.run_while(lambda: not fleet.outcome.full_passes)
    reads = fleet.full_calls
    return sum(reads.values()), max(reads.values())


def _days(work: Workload) -> float:
    """How long to look, so that there are enough changes to speak of."""
    changes = work.changes_a_day
    return max(2.0, _ENOUGH_CHANGES / changes) if changes else 0.0


def _figures(
    outcome: Outcome, organization: SimulatedOrganization, calls: int, busiest: int
) -> Figures:
    passes = sorted(outcome.full_passes[1:] or outcome.full_passes)
    delays = tuple(sorted(seconds / 60 for seconds in outcome.delays))
    sent = sum(organization.calls.values())
    return Figures(
        calls,
        busiest,
        first=outcome.full_passes[0] / 60,
        reading=passes[len(passes) // 2] / 60,
        gap=max(outcome.gaps) / 60,
        delays=delays,
        refused=organization.refused / sent,
    )


def table(per_minute: int = PER_MINUTE) -> str:
    """The table of sizes, in Markdown."""
    return "\n".join(_rows(per_minute))


def _rows(per_minute: int) -> Iterator[str]:
    yield (
        "| Stacks | Organizations | Calls to read one | Found by full reads within | Found by the log within, 1 % a day "
        "| 10 % a day | Read in full every |"
    )
    yield "|--:|--:|--:|--:|--:|--:|--:|"
    for stacks in STACKS:
        for organizations in ORGANIZATIONS:
            each = ceil(stacks / organizations)
            full = simulate(each, per_minute=per_minute)
            logs = [simulate(each, per_minute=per_minute, changes_a_day=share) for share in CHANGES]
            cells = (
                f"{stacks:,}",
                str(organizations),
                f"{full.calls_of_reading:,}",
                duration(full.gap),
                *(f"{duration(log.delay(0.95))}, at most {duration(log.delay(1))}" for log in logs),
                duration(max(log.gap for log in logs)),
            )
            yield f"| {' | '.join(cells)} |"


def duration(minutes: float) -> str:
    """Minutes in words, as exact as the simulation is."""
    if minutes < 120:
        return f"{ceil(minutes)} min"
    return f"{minutes / 60:.0f} h"


def calculated_minutes(busiest: int, per_minute: int = PER_MINUTE) -> float:
    """How long a full reading takes by the formula of the docs, where one follows the other."""
    return busiest / per_minute * _WINDOW_MINUTES


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or the figures of one fleet."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fleet.simulate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--stacks", type=int)
    parser.add_argument("--organizations", type=int, default=1)
    parser.add_argument("--per-minute", type=int, default=PER_MINUTE)
    parser.add_argument("--changes", type=float, default=1.0, help="per cent of stacks a day")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    if options.stacks is None:
        print(table(options.per_minute))
        return 0
    each = ceil(options.stacks / options.organizations)
    pace = {"per_minute": options.per_minute, "seed": options.seed}
    full = simulate(each, **pace)
    log = simulate(each, changes_a_day=options.changes / 100, **pace)
    print(f"{each} stacks in each of {options.organizations} organizations, seed {options.seed}")
    print(f"  a full reading: {full.calls_of_reading} calls, {full.busiest} on the busiest route")
    print(f"  a single one takes {duration(full.first)}")
    print(
        f"  one after the other takes {duration(full.reading)}; calculated: {duration(_calculated(full, options))}"
    )
    print(f"  a change is found within {duration(full.gap)}; refused: {full.refused:.1%}")
    print(f"  with the log: 95 % within {duration(log.delay(0.95))}, all {duration(log.delay(1))}")
    print(f"  and everything is read again after {duration(log.gap)}")
    return 0


def _calculated(full: Figures, options: argparse.Namespace) -> float:
    return calculated_minutes(full.busiest, options.per_minute)


if __name__ == "__main__":
    raise SystemExit(main())
