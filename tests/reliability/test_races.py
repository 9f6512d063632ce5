"""Concurrent applies over a bad network create nothing twice and lose nothing.

Each runner is a process with a folder of its own, as in a pool of CI runners, and delivers keys to a vault that all of
them share.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from pathlib import Path

import pytest

from tests.reliability.backends import SharedBackend
from tests.reliability.processes import Ended, Mortals
from tests.reliability.scenarios import BOTS, ORGANIZATION, STORES, Scenario
from tests.reliability.trials import WAITING, Stage, staged
from tests.servers.proxy import Proxy
from tests.soak import BACKENDS, SOAK

RUNNERS = [2, 8] if BACKENDS else [2]
ROUNDS = 2 * BACKENDS or 1
SCENARIOS = [STORES, ORGANIZATION, BOTS] if BACKENDS else [STORES]
LEASE_SECONDS = 3.0
"""Longer than a spell of bad weather, so that most runs keep their lease."""
LONGEST_PAUSE_SECONDS = 0.4


class Weather:
    """Cuts, refuses, delays and loses what goes through a proxy, at random."""

    def __init__(self, backend: SharedBackend, chance: random.Random) -> None:
        self._backend = backend
        self._chance = chance
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._storm)
        self._lost = threading.Event()
        self._lost.set()

    def __enter__(self) -> Weather:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._backend.proxy.restore()

    def _storm(self) -> None:
        events = (self._cut, self._refuse, self._delay, self._lose_answer, self._lose_request)
        while not self._is_over.is_set():
            self._chance.choice(events)(self._backend.proxy)
            self._pause()

    def _pause(self) -> None:
        self._is_over.wait(self._chance.uniform(0.01, LONGEST_PAUSE_SECONDS))

    def _cut(self, proxy: Proxy) -> None:
        proxy.cut()

    def _refuse(self, proxy: Proxy) -> None:
        proxy.refuse()
        self._pause()
        proxy.restore()
        self._lost.set()  # a trap that nothing went into is gone

    def _delay(self, proxy: Proxy) -> None:
        proxy.delay(self._chance.uniform(0, 0.02))

    def _lose_answer(self, proxy: Proxy) -> None:
        self._lose(proxy.lose_answer)

    def _lose_request(self, proxy: Proxy) -> None:
        self._lose(proxy.lose_request)

    def _lose(self, lose: Callable[[bytes], threading.Event]) -> None:
        # One at a time: a run may well give up on a write that is lost again and again.
        if self._lost.is_set():
            self._lost = lose(self._backend.write_marker)


@contextmanager
def runners(count: int) -> Iterator[Sequence[Mortals]]:
    with ExitStack() as running:
        yield [running.enter_context(Mortals()) for _ in range(count)]


def race(stage: Stage, machines: Sequence[Mortals]) -> Sequence[Ended]:
    """Run the scenario's command on all machines at once; every second one does not wait for the others."""

    def run(number: int) -> Ended:
        folder = stage.copy_folder(f"machine-{number}")
        waiting = WAITING if number % 2 == 0 else ()
        return stage.run(
            *stage.scenario.arguments,
            *waiting,
            by=machines[number],
            folder=folder,
            watched=False,
            parallelism=4,
        )

    with ThreadPoolExecutor(len(machines)) as pool:
        return list(pool.map(run, range(len(machines))))


def gave_up(ended: Ended) -> bool:
    """Whether a run never got through to its state, which it tries for two seconds only."""
    sentences = ("cannot be reached", "connection was refused", "cannot connect", "did not answer")
    has_said_so = any(sentence in ended.err for sentence in sentences)
    return ended.code == 1 and has_said_so and "Waiting for the lock" not in ended.err


@pytest.mark.parametrize("scenario", SCENARIOS, ids=attrgetter("name"))
@pytest.mark.parametrize("count", RUNNERS)
def test_runners_that_race_in_bad_weather_make_nothing_twice(
    count: int, scenario: Scenario, some_backend: SharedBackend, tmp_path: Path
) -> None:
    chance = random.Random(SOAK)
    some_backend.lease_seconds = LEASE_SECONDS
    with (
        runners(count) as machines,
        staged(scenario, machines[0], tmp_path, backend=some_backend) as stage,
    ):
        for _ in range(ROUNDS):
            stage.begin()
            with Weather(some_backend, chance):
                ended = race(stage, machines)
            badly = [str(one) for one in ended if one.code not in (0, 12) and not gave_up(one)]
            assert not badly, "\n".join(badly)
            assert stage.repair() == []
