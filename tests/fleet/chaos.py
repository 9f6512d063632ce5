"""Trials of fleets under faults: after any fault, the same command repairs the fleet.

The size is a parameter: `RECONCILER_FLEET=500x20` tries 500 stacks in 20 organizations.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fleet.beds import FleetBed
from tests.reliability.processes import Ended, Mortals
from tests.soak import SOAK

LEASE_SECONDS = 1.0
"""The shortest lease: what a run waits for after the death of another."""
APPLY = ("fleet", "apply", "--yes", "--stacks", "stacks/*")
PLAN = ("fleet", "plan", "--detailed-exitcode", "--refresh", "full", "--stacks", "stacks/*")
DRIFT = ("fleet", "drift", "--stacks", "stacks/*")
DISTURBED = (0, 1, 12, 13)
"""What a disturbed apply may end with: done, failed, another holds a lock, applied in part."""


def fleet_size(default: str, soak: str = "60x6") -> tuple[int, int]:
    """The number of stacks and of organizations: from the environment, else one of the defaults."""
    text = os.environ.get("RECONCILER_FLEET") or (soak if SOAK else default)
    stacks, _, organizations = text.partition("x")
    return int(stacks), int(organizations)


@dataclass
class Trial:
    """A fleet, and processes that run commands on it and may die of it."""

    bed: FleetBed
    mortals: Mortals
    ends: list[Ended] = field(default_factory=list)
    """How each command ended."""

    def __post_init__(self) -> None:
        self.bed.variables["RECONCILER_LEASE_SECONDS"] = str(LEASE_SECONDS)

    def run(self, *arguments: str, by: Mortals | None = None, **fate: Any) -> Ended:
        """Run a command line; `fate` says where it dies, or how wrong its clock is."""
        ended = (by or self.mortals).run(
            arguments,
            folder=self.bed.folder,
            variables=self.bed.own_environment,
            whole_bytes=2000,
            **{"watched": "fatal" in fate, **fate},
        )
        self.ends.append(ended)
        return ended

    def telling_places(self) -> list[int]:
        """The boundaries of a first apply that change something; the fleet is as before then."""
        return self._places(" GET ", "state prepare", "state snapshot", "state tail", "state now")

    def writing_places(self) -> list[int]:
        """The boundaries right before and after writes at the API."""
        return [place for place in self.telling_places() if "POST" in self._passed[place]]

    def _places(self, *harmless: str) -> list[int]:
        self._passed = self.run(*APPLY, fatal=10**9).passed
        self.begin_again()
        return [
            number
            for number, name in enumerate(self._passed)
            if not any(word in name for word in harmless)
        ]

    def seconds_of_apply(self) -> float:
        """How long a first apply takes; the fleet is as before then."""
        began = time.monotonic()
        self.apply()
        took = time.monotonic() - began
        self.begin_again()
        return took

    def begin_again(self) -> None:
        """Return to a fleet that was never applied."""
        self.bed.reset()

    def apply(self, *arguments: str, **fate: Any) -> Ended:
        """Apply the fleet; waits for leases of the dead."""
        return self.run(*APPLY, "--lock-wait", "60", *arguments, **fate)

    def converge(self, *arguments: str) -> list[str]:
        """Apply once more, undisturbed; what is wrong then: in how it ended, in a plan, in the objects."""
        ended = self.apply(*arguments)
        wrong = [] if ended.code == 0 else [f"the next apply: {ended}"]
        planned = self.run(*PLAN)
        if planned.code != 0:
            wrong.append(f"the plan after it: {planned}")
        return wrong + self.bed.wrong()


def together(*actions: Callable[[], object]) -> None:
    """Do several things at the same time, and wait for all; raises what one of them raised."""
    failures: list[BaseException] = []

    def act(action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def badly_ended(ends: Sequence[Ended], codes: Sequence[int] = DISTURBED) -> list[str]:
    """Those that ended neither by death nor with one of these codes, or with a traceback."""
    return [
        str(ended)
        for ended in ends
        if not ended.died and (ended.code not in codes or "Traceback" in ended.err)
    ]
