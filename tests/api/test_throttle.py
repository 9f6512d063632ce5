from __future__ import annotations

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
    assert send(throttle, ADMIN, clock, 3) == [5, 10, 15]


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
