"""Real stacks at real emulators that allow seven requests a minute, by a clock that skips the waiting.

`RECONCILER_FLEET=500x20` tries 500 stacks in 20 organizations.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import pytest

from reconciler.api.transport.throttle import WINDOW_SECONDS, Throttle
from reconciler.app.plans import PlanRequest
from reconciler.app.sharing import Sharing
from reconciler.fleet.stack_run import FleetContext, FleetStack, StackRequest, run_stack
from reconciler.manifests import Settings
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from tests.fleet.beds import BedStack, FleetBed
from tests.fleet.chaos import fleet_size
from tests.fleet.clock import JumpingClock
from tests.fleet.organizations import Organizations
from tests.fleet.simulate import PER_MINUTE, simulate

pytestmark = pytest.mark.slow

STACKS, ORGANIZATIONS = fleet_size("30x2", soak="100x4")
EACH = ceil(STACKS / ORGANIZATIONS)
AT_ONCE = 16


@dataclass
class Paced:
    """A fleet, and the clock by which it waits."""

    bed: FleetBed
    clock: JumpingClock

    def run(self, command: Command, refresh: str = "full") -> tuple[float, Counter[StackStatus]]:
        """Run a command on all stacks; the seconds that it took, and how the stacks are."""
        self.bed.platform.forget_requests()
        began = self.clock()
        sharing = Sharing(stacks=EACH)
        context = FleetContext(stop=self.clock.event(), sharing=sharing)

        def look(stack: BedStack) -> StackResult:
            settings = Settings(stack.folder, env=self.bed.environment)
            id = StackId(stack.folder.name, stack.environment, stack.name)
            request = StackRequest(command, PlanRequest(refresh=refresh))
            return run_stack(FleetStack(id, stack.folder, settings), request, context)

        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                results = list(pool.map(look, self.bed.stacks))
        finally:
            sharing.close()
        return self.clock() - began, Counter(result.status for result in results)


@pytest.fixture
def paced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paced]:
    """An applied fleet, whose organizations allow seven requests a minute from now on."""
    with JumpingClock() as clock:
        monkeypatch.setattr(time, "time", clock)
        monkeypatch.setattr(time, "monotonic", clock.monotonic)
        defaults = {**(Throttle.__init__.__kwdefaults__ or {}), "clock": clock.monotonic}
        monkeypatch.setattr(Throttle.__init__, "__kwdefaults__", defaults)
        with Organizations(ORGANIZATIONS, clock=clock) as platform:
            bed = FleetBed(tmp_path, platform)
            bed.write_stacks(STACKS)
            paced = Paced(bed, clock)
            paced.run(Command.APPLY)
            for home in platform:
                home.state.change_options({"admin_rpm": PER_MINUTE})
            yield paced


def test_a_full_reading_takes_as_long_as_the_pace_allows_and_as_the_simulation_says(
    paced: Paced,
) -> None:
    took, found = paced.run(Command.DRIFT)
    windows = ceil(EACH / PER_MINUTE) - 1
    assert found == {StackStatus.IN_SYNC: STACKS}
    assert windows * 60 <= took <= (windows + 1) * WINDOW_SECONDS
    assert took == pytest.approx(simulate(EACH).first * 60, abs=WINDOW_SECONDS / 2)
    refused = sum(home.refused() for home in paced.bed.platform)
    assert refused <= 0.25 * sum(paced.bed.platform.calls().values())


def test_a_change_in_the_log_is_found_without_waiting_for_a_full_reading(paced: Paced) -> None:
    paced.run(Command.APPLY, "auto")
    paced.bed.change_a_limit(0)
    took, found = paced.run(Command.DRIFT, "auto")
    assert found == {StackStatus.DRIFTED: 1, StackStatus.IN_SYNC: STACKS - 1}
    assert took <= 2 * WINDOW_SECONDS
    limits = "GET /organization/projects/{project_id}/rate_limits"
    assert paced.bed.platform.calls()[limits] == 1
