"""A run that was suspended, replaced and resumed writes nothing more.

The process gets SIGSTOP at a boundary. Its lease runs out, a second run from another machine takes over and completes,
and then the first one gets SIGCONT.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

import pytest

from reconciler.emulator.recorder import RequestRecord
from tests.reliability.backends import SharedBackend
from tests.reliability.processes import Ended, Mortals, Stopped
from tests.reliability.scenarios import ACCOUNTS, ADDED, Scenario
from tests.reliability.trials import WAITING, Stage, spread, staged
from tests.soak import BACKENDS, SOAK

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="/proc says when a process has stopped"
)
MOST = 12 * BACKENDS or 2
"""Boundaries at which a run is stopped, with each backend."""


def stop(pid: int) -> None:
    """Stop a process, and return once it is stopped."""
    os.kill(pid, signal.SIGSTOP)
    while _state_of(pid) not in "Tt":
        time.sleep(0.001)


def _state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0]


class Takeover:
    """What happens while a run is stopped: a second one replaces it and completes."""

    def __init__(self, stage: Stage, successors: Mortals) -> None:
        self.stage = stage
        self.successors = successors
        self.successor: Ended | None = None
        self.requests_before = 0
        self.boundary = ""

    def __call__(self, zombie: Stopped) -> None:
        stop(zombie.pid)
        self.boundary = zombie.boundary
        self.successor = self.stage.run(
            *self.stage.scenario.arguments, *WAITING, watched=False, by=self.successors
        )
        self.requests_before = len(self.stage.emulator.requests)
        os.kill(zombie.pid, signal.SIGCONT)

    def requests_of_zombie(self) -> Sequence[RequestRecord]:
        return self.stage.emulator.requests[self.requests_before :]


def problems_of(takeover: Takeover, zombie: Ended) -> Iterator[str]:
    stage, successor = takeover.stage, takeover.successor
    assert successor is not None
    if successor.code != 0:
        yield f"the successor failed: {successor}"
    if "Taking over the lock" not in successor.err:
        yield f"the successor gave no notice: {successor}"
    calls = [f"{call.method} {call.path}" for call in takeover.requests_of_zombie()]
    if calls:
        yield f"the zombie made calls: {calls}"
    if zombie.code != 12 or "has lost its lease" not in zombie.err:
        yield f"the zombie did not say what happened: {zombie}"
    yield from stage.wrong(stage.reference)


NO_WAY_BACK = ("before os.replace", "before os.unlink", "before the command is given the key")
"""Between these and what they do, nothing can look at the lease once more."""


def boundaries_under_lease(stage: Stage) -> Sequence[int]:
    """Boundaries between the claim and the last write before the release, spread over the run."""
    claim = stage.boundaries.index("after state claim")
    # Until it has looked whether anybody wrote behind its claim, a run that wakes up claims once more.
    first = stage.boundaries.index("after state tail", claim) + 1
    *_, last, _release = (
        at for at, name in enumerate(stage.boundaries) if name == "before state append"
    )
    telling = [
        at for at in range(first, last + 1) if not stage.boundaries[at].startswith(NO_WAY_BACK)
    ]
    return [telling[at] for at in spread(len(telling), MOST)]


@pytest.mark.parametrize(
    "scenario", [ADDED, ACCOUNTS] if BACKENDS else [ACCOUNTS], ids=attrgetter("name")
)
def test_a_run_that_was_replaced_while_it_was_stopped_changes_nothing(
    scenario: Scenario,
    mortals: Mortals,
    successors: Mortals,
    shared_backend: SharedBackend,
    tmp_path: Path,
) -> None:
    problems = []
    with staged(scenario, mortals, tmp_path, backend=shared_backend) as stage:
        for at in boundaries_under_lease(stage):
            stage.begin()
            takeover = Takeover(stage, successors)
            zombie = stage.meet(at, takeover)
            problems += [
                f"stopped at {at}, {takeover.boundary}: {problem}"
                for problem in problems_of(takeover, zombie)
            ]
    assert not problems, "\n".join(problems)


class LateTakeover(Takeover):
    """The same, but the run goes on at its boundary and is stopped some moments later, wherever it is by then."""

    def __init__(self, stage: Stage, successors: Mortals, seconds: float) -> None:
        super().__init__(stage, successors)
        self._seconds = seconds
        self._thread = threading.Thread()

    def __call__(self, zombie: Stopped) -> None:
        self._thread = threading.Thread(target=self._take_over, args=(zombie,))
        self._thread.start()

    def _take_over(self, zombie: Stopped) -> None:
        time.sleep(self._seconds)
        try:
            super().__call__(zombie)
        except (ProcessLookupError, FileNotFoundError):
            return  # it has ended

    def join(self) -> None:
        self._thread.join()


@pytest.mark.skipif(
    not BACKENDS,
    reason="where it strikes depends on the machine, so it says little in a single run",
)
def test_a_run_that_was_stopped_at_any_instant_changes_nothing(
    mortals: Mortals,
    successors: Mortals,
    shared_backend: SharedBackend,
    tmp_path: Path,
) -> None:
    # Nothing can stop a command that is being given a key, so this scenario has none.
    chance = random.Random(SOAK)
    problems = []
    with staged(ADDED, mortals, tmp_path, backend=shared_backend) as stage:
        boundaries = boundaries_under_lease(stage)
        for _ in range(MOST):
            at, seconds = chance.choice(boundaries), chance.uniform(0, 0.02)
            stage.begin()
            takeover = LateTakeover(stage, successors, seconds)
            zombie = stage.meet(at, takeover)
            takeover.join()
            calls = takeover.requests_of_zombie() if takeover.successor is not None else ()
            # Between the last check and its system call nothing can stop a read any more.
            writes = [call for call in calls if call.method != "GET"]
            found = [f"the zombie called {call.method} {call.path}" for call in writes]
            found += stage.wrong(stage.reference)
            if zombie.code not in (0, 12):
                found.append(f"the zombie ended badly: {zombie}")
            problems += [f"{seconds:.4f} s after {at}: {problem}" for problem in found]
    assert not problems, "\n".join(problems)
