"""A fleet in one organization: what it reads in which order, and how soon it sees a change."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from reconciler.api.transport.throttle import RateLimitKey
from tests.fleet.simulation.loop import Loop
from tests.fleet.simulation.organization import SimulatedOrganization
from tests.fleet.simulation.world import (
    LOG,
    Call,
    Profile,
    apply_calls,
    changed_reading,
    kinds_in_log,
    own_reading,
    shared_reading,
)

DAY = 86_400.0
LOG_PAGE = 100


@dataclass(frozen=True)
class Workload:
    """What a fleet has to do in one organization."""

    stacks: int
    profile: Profile
    changes_a_day: float = 0.0
    """How many objects somebody changes, all stacks together."""
    reads_log: bool = False
    full_every: float = 0.0
    """Seconds from one full reading of a stack to the next; 0 for as often as possible."""
    poll_every: float = 60.0
    log_lag: float = 30.0
    """Seconds until an entry is in the log."""
    side_by_side: int = 8
    """How many stacks are planned at the same time."""


@dataclass
class Outcome:
    """What came of it, in seconds."""

    full_passes: list[float] = field(default_factory=list)
    """How long each full reading of all stacks took."""
    gaps: list[float] = field(default_factory=list)
    """From one full reading of a stack to the end of the next: what a change nobody logs waits at most."""
    delays: list[float] = field(default_factory=list)
    """From each logged change to the end of the plan that shows it."""


class SimulatedFleet:
    """Plans the stacks of one organization until the loop ends.

    Stacks of which the log shows a change come before those that are only due for a full reading.
    """

    def __init__(
        self, loop: Loop, organization: SimulatedOrganization, work: Workload, chance: random.Random
    ) -> None:
        self.outcome = Outcome()
        self._loop = loop
        self._organization = organization
        self._work = work
        self._chance = chance
        self._urgent: deque[Callable[[], None]] = deque()
        self._due: deque[Callable[[], None]] = deque()
        self.full_calls: Counter[RateLimitKey] = Counter()
        """The calls of full readings so far."""
        self._busy = 0
        self._waiting: list[Callable[[], None]] = []
        """Who waits for the lists that stacks share."""
        self._has_lists = False
        """Whether the lists that stacks share are there, in this pass."""
        self._last_full: dict[int, float] = {}
        self._pass_began = 0.0
        self._left_in_pass = 0
        self._unseen: list[tuple[float, int, str]] = []
        """Changes that no log page has shown yet: when, in which stack, of which kind."""

    def begin(self) -> None:
        """Start the passes, the log's tail and the people who change things."""
        self._begin_pass()
        if self._work.reads_log:
            self._loop.after(0.0, self._poll)
            self._schedule_change()

    # --- everything, again and again

    def _begin_pass(self) -> None:
        self._pass_began = self._loop.now
        self._left_in_pass = self._work.stacks
        self._has_lists = False
        for stack in range(self._work.stacks):
            self._due.append(partial(self._read_all, stack))
        lists = shared_reading(self._work.profile, self._work.stacks)
        self.full_calls.update(call.limit for call in lists)
        self._make(lists, self._read_lists)
        self._fill()

    def _read_lists(self) -> None:
        self._has_lists = True
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()

    def _read_all(self, stack: int) -> None:
        calls = own_reading(self._work.profile, stack)
        self.full_calls.update(call.limit for call in calls)
        began = self._loop.now
        self._make(calls, partial(self._need_lists, partial(self._has_read_all, stack, began)))

    def _need_lists(self, go_on: Callable[[], None]) -> None:
        if self._has_lists:
            go_on()
        else:
            self._waiting.append(go_on)

    def _has_read_all(self, stack: int, began: float) -> None:
        last = self._last_full.get(stack)
        if last is not None:
            self.outcome.gaps.append(self._loop.now - last)
        self._last_full[stack] = began
        self._left_in_pass -= 1
        if not self._left_in_pass:
            took = self._loop.now - self._pass_began
            self.outcome.full_passes.append(took)
            self._loop.after(max(0.0, self._work.full_every - took), self._begin_pass)
        self._end_of_stack()

    # --- what the log shows

    def _schedule_change(self) -> None:
        if self._work.changes_a_day:
            seconds = self._chance.expovariate(self._work.changes_a_day / DAY)
            self._loop.after(seconds, self._change)

    def _change(self) -> None:
        stack = self._chance.randrange(self._work.stacks)
        kind = self._chance.choice(kinds_in_log(self._work.profile))
        self._unseen.append((self._loop.now, stack, kind))
        self._schedule_change()

    def _poll(self) -> None:
        seen = [
            change for change in self._unseen if change[0] <= self._loop.now - self._work.log_lag
        ]
        pages = 1 + max(0, len(seen) - 1) // LOG_PAGE
        calls = [Call(LOG, ("log", str(self._loop.now), str(page))) for page in range(pages)]
        self._make(calls, partial(self._has_polled, seen), urgent=True)
        self._loop.after(self._work.poll_every, self._poll)

    def _has_polled(self, seen: list[tuple[float, int, str]]) -> None:
        for change in seen:
            if change in self._unseen:
                self._unseen.remove(change)
                self._urgent.append(partial(self._look_at, *change))
        self._fill()

    def _look_at(self, at: float, stack: int, kind: str) -> None:
        calls = changed_reading(self._work.profile, stack, kind)
        self._make(calls, partial(self._has_seen, at, stack, kind), urgent=True)

    def _has_seen(self, at: float, stack: int, kind: str) -> None:
        self.outcome.delays.append(self._loop.now - at)
        # Half of the changes are corrected or come from a manifest: an apply follows.
        if self._chance.random() < 0.5:
            self._make(apply_calls(stack, kind), self._end_of_stack, urgent=True)
        else:
            self._end_of_stack()

    # --- calls

    def _make(
        self, calls: Iterable[Call], done: Callable[[], None], *, urgent: bool = False
    ) -> None:
        """Make calls, each as soon as it may go, and then go on."""
        calls = list(calls)
        left = len(calls)

        def answered() -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for call in calls:
            self._organization.send(call, answered, first=urgent)

    def _fill(self) -> None:
        while self._busy < self._work.side_by_side and (self._urgent or self._due):
            self._busy += 1
            (self._urgent or self._due).popleft()()

    def _end_of_stack(self) -> None:
        self._busy -= 1
        self._fill()
