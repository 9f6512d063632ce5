from __future__ import annotations

import heapq
from collections.abc import Callable

import pytest

from reconciler.api.throttle import WINDOW_SECONDS, Lane, Throttle
from tests.api.conftest import Clock

ADMIN = Lane(True, "GET", "/organization/projects")
OTHER = Lane(True, "POST", "/organization/projects")
PROJECT = Lane(False, "GET", "/files")
W = WINDOW_SECONDS


def send(throttle: Throttle, lane: Lane, clock: Clock, times: int) -> list[float]:
    """When each of so many requests goes, in seconds from now."""
    began, moments = clock.now, []
    for _ in range(times):
        while (wait := throttle.take(lane)) > 0:
            clock.sleep(wait)
        moments.append(clock.now - began)
    return moments


def test_nothing_is_paced_before_the_first_refusal(clock: Clock) -> None:
    assert send(Throttle(clock=clock), ADMIN, clock, 50) == [0] * 50


def test_a_configured_limit_holds_in_every_minute(clock: Clock) -> None:
    throttle = Throttle(admin_requests_per_minute=3, clock=clock)
    assert send(throttle, ADMIN, clock, 7) == [0, 0, 0, W, W, W, 2 * W]


def test_a_configured_limit_below_one_keeps_requests_apart(clock: Clock) -> None:
    throttle = Throttle(admin_requests_per_minute=0.5, clock=clock)
    assert send(throttle, ADMIN, clock, 3) == [0, 120, 240]


def test_what_got_through_before_a_refusal_becomes_the_limit(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 8)
    throttle.refused(ADMIN, wait_seconds=1, told=False)
    assert send(throttle, ADMIN, clock, 8) == [W] * 7 + [2 * W]


def test_refusals_of_requests_in_flight_show_the_limit_more_exactly(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 10)
    for _ in range(3):
        throttle.refused(ADMIN, wait_seconds=1, told=False)
    assert send(throttle, ADMIN, clock, 8) == [W] * 7 + [2 * W]


def test_a_told_wait_is_believed_and_the_others_follow_spaced(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 7)
    throttle.refused(ADMIN, wait_seconds=5, told=True)
    assert send(throttle, ADMIN, clock, 3) == pytest.approx([5, 5 + W / 6, 5 + 2 * W / 6])


def test_other_lanes_go_on_while_one_waits(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 1)
    throttle.refused(ADMIN, wait_seconds=30, told=True)
    assert (throttle.take(OTHER), throttle.take(PROJECT)) == (0, 0)


def test_project_routes_are_not_paced_by_the_admin_limit(clock: Clock) -> None:
    throttle = Throttle(admin_requests_per_minute=1, clock=clock)
    assert send(throttle, PROJECT, clock, 5) == [0] * 5


def test_a_learnt_limit_never_falls_below_three(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 1)
    for _ in range(5):
        throttle.refused(ADMIN, wait_seconds=0, told=False)
    assert send(throttle, ADMIN, clock, 4) == [0, 0, 0, W]


def test_a_learnt_limit_grows_after_a_long_calm(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 4)
    throttle.refused(ADMIN, wait_seconds=0, told=False)
    clock.sleep(400)
    throttle.accepted(ADMIN)
    assert send(throttle, ADMIN, clock, 5) == [0] * 4 + [W]


@pytest.mark.parametrize(("count", "seconds"), [(0, 0), (1, 0), (3, 0), (4, W), (7, 2 * W)])
def test_how_long_requests_will_wait_is_known_beforehand(clock: Clock, count: int, seconds: float) -> None:
    throttle = Throttle(admin_requests_per_minute=3, clock=clock)
    assert throttle.seconds_for(ADMIN, count) == pytest.approx(seconds)
    assert sum(send(throttle, ADMIN, clock, count)[-1:]) == pytest.approx(seconds)  # and nothing was taken by asking


# --- a long run against servers that count in their own ways; each answers how many seconds to wait, 0 for yes

Server = Callable[[float], float]
MINUTES = 30
TICK = 0.01
"""No server says to wait for less."""


def emptied_on_the_minute(allowed: int) -> Server:
    opened, count = -60.0, 0

    def ask(now: float) -> float:
        nonlocal opened, count
        if now - opened >= 60:
            opened, count = now, 0
        count += 1
        return 0.0 if count <= allowed else max(TICK, opened + 60 - now)

    return ask


def looking_back_a_minute(allowed: int) -> Server:
    passed: list[float] = []

    def ask(now: float) -> float:
        recent = [moment for moment in passed if moment > now - 60]
        if len(recent) >= allowed:
            return max(TICK, recent[-allowed] + 60 - now)
        passed.append(now)
        return 0.0

    return ask


def refilled_steadily(allowed: int) -> Server:
    level, looked = float(allowed), 0.0

    def ask(now: float) -> float:
        nonlocal level, looked
        level, looked = min(allowed, level + (now - looked) * allowed / 60), now
        if level < 1:
            return max(TICK, (1 - level) * 60 / allowed)
        level -= 1
        return 0.0

    return ask


def long_run(server: Server, clock: Clock, *, tells: bool, workers: int = 10) -> tuple[int, int]:
    """How many requests of some workers got through in the time, and how many were refused."""
    throttle, end = Throttle(clock=clock), clock.now + 60 * MINUTES
    due = [(clock.now, worker) for worker in range(workers)]
    passed = refused = 0
    while due[0][0] < end:
        clock.now, worker = max(clock.now, due[0][0]), due[0][1]
        wait = throttle.take(ADMIN)
        if wait == 0 and (hint := server(clock.now)) > 0:
            throttle.refused(ADMIN, wait_seconds=hint if tells else 1.0, told=tells)
            refused += 1
        elif wait == 0:
            throttle.accepted(ADMIN)
            passed, wait = passed + 1, 0.05
        heapq.heapreplace(due, (clock.now + wait, worker))
    return passed, refused


@pytest.mark.parametrize("tells", [True, False], ids=["told how long to wait", "told nothing"])
@pytest.mark.parametrize("allowed", [7, 60])
@pytest.mark.parametrize("make", [emptied_on_the_minute, looking_back_a_minute, refilled_steadily])
def test_a_long_run_uses_what_it_is_given_and_is_hardly_ever_refused(
    clock: Clock, make: Callable[[int], Server], allowed: int, tells: bool
) -> None:
    passed, refused = long_run(make(allowed), clock, tells=tells)
    assert passed > 0.9 * allowed * MINUTES
    assert refused < 0.1 * allowed * MINUTES


def test_a_limit_that_is_documented_is_kept_before_anything_was_refused(clock: Clock) -> None:
    lane = Lane(False, "writes to", "/vector_stores/vs_1", per_minute=3)
    assert send(Throttle(clock=clock), lane, clock, 4) == [0, 0, 0, W]
