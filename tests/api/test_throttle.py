"""Rate limits are learnt from refusals, and no minute exceeds them."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import pytest

from reconciler.api.transport.throttle import WINDOW_SECONDS, RateLimitKey, Throttle
from tests.api.conftest import Clock

ADMIN = RateLimitKey(True, "GET", "/organization/projects")
OTHER = RateLimitKey(True, "POST", "/organization/projects")
PROJECT = RateLimitKey(False, "GET", "/files")
W = WINDOW_SECONDS


def send(throttle: Throttle, lane: RateLimitKey, clock: Clock, times: int) -> list[float]:
    """When each of so many requests goes, in seconds from now."""
    began, moments = clock.now, []
    for _ in range(times):
        while (wait := throttle.take(lane)) > 0:
            clock.sleep(wait)
        moments.append(clock.now - began)
    return moments


def get_through(throttle: Throttle, lane: RateLimitKey, clock: Clock, times: int) -> list[float]:
    """When each of so many requests goes, where none is refused."""
    began, moments = clock.now, []
    for _ in range(times):
        send(throttle, lane, clock, 1)
        moments.append(clock.now - began)
        throttle.accepted(lane)
    return moments


def test_nothing_is_paced_before_the_first_refusal(clock: Clock) -> None:
    assert send(Throttle(clock=clock), ADMIN, clock, 50) == [0] * 50


def test_a_configured_limit_holds_in_every_minute(clock: Clock) -> None:
    throttle = Throttle(admin_requests_per_minute=3, clock=clock)
    assert send(throttle, ADMIN, clock, 7) == [0, 0, 0, W, W, W, 2 * W]


def test_of_several_configured_limits_the_lowest_counts(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 1)
    for pace in (4, 2, 3, None):
        throttle.limit(pace)
    assert send(throttle, ADMIN, clock, 3) == [0, W, W]
    assert send(throttle, OTHER, clock, 3) == [0, 0, W]


def test_a_lower_limit_leaves_the_routes_of_projects_alone(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    throttle.limit(1)
    assert send(throttle, PROJECT, clock, 5) == [0] * 5


def test_a_configured_limit_below_one_keeps_requests_apart(clock: Clock) -> None:
    throttle = Throttle(admin_requests_per_minute=0.5, clock=clock)
    assert send(throttle, ADMIN, clock, 3) == [0, 120, 240]


def test_the_requests_that_succeeded_before_a_refusal_become_the_limit(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 8)
    throttle.refused(ADMIN, wait_seconds=1, is_server_wait=False)
    assert send(throttle, ADMIN, clock, 8) == [W] * 7 + [2 * W]


def test_refusals_of_requests_in_flight_show_the_limit_more_exactly(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 10)
    for _ in range(3):
        throttle.refused(ADMIN, wait_seconds=1, is_server_wait=False)
    assert send(throttle, ADMIN, clock, 8) == [W] * 7 + [2 * W]


def test_one_request_goes_when_the_server_said_and_the_others_in_their_minute(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 8)
    throttle.refused(ADMIN, wait_seconds=5, is_server_wait=True)
    assert send(throttle, ADMIN, clock, 3) == [5, W, W]


def test_single_successes_in_our_first_minute_set_the_spacing(
    clock: Clock,
) -> None:
    throttle = Throttle(clock=clock)
    get_through(throttle, ADMIN, clock, 7)
    for _ in range(2):
        send(throttle, ADMIN, clock, 1)
        throttle.refused(ADMIN, wait_seconds=8, is_server_wait=True)
        get_through(throttle, ADMIN, clock, 1)
    assert get_through(throttle, ADMIN, clock, 2) == [8, 16]


def test_the_allowance_that_an_earlier_run_left_is_the_limit_for_a_minute_only(
    clock: Clock,
) -> None:
    throttle = Throttle(clock=clock)
    get_through(throttle, ADMIN, clock, 4)
    send(throttle, ADMIN, clock, 1)
    throttle.refused(ADMIN, wait_seconds=1, is_server_wait=False)
    assert get_through(throttle, ADMIN, clock, 20) == [W] * 20


def test_where_nothing_gets_through_one_request_at_a_time_asks_less_and_less_often(
    clock: Clock,
) -> None:
    throttle, began, asked = Throttle(clock=clock), clock.now, []
    for _ in range(6):
        send(throttle, ADMIN, clock, 1)
        asked.append(clock.now - began)
        throttle.refused(ADMIN, wait_seconds=1, is_server_wait=False)
    assert asked == [0, 1, 3, 7, 15, 30]


def test_other_lanes_go_on_while_one_waits(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    send(throttle, ADMIN, clock, 1)
    throttle.refused(ADMIN, wait_seconds=30, is_server_wait=True)
    assert (throttle.take(OTHER), throttle.take(PROJECT)) == (0, 0)


def test_project_routes_are_not_paced_by_the_admin_limit(clock: Clock) -> None:
    throttle = Throttle(admin_requests_per_minute=1, clock=clock)
    assert send(throttle, PROJECT, clock, 5) == [0] * 5


def measured(clock: Clock, limit: int) -> Throttle:
    """A throttle that was refused a request more than so many, after a minute in which it alone sent any."""
    throttle = Throttle(clock=clock)
    clock.sleep(W)
    get_through(throttle, ADMIN, clock, limit)
    send(throttle, ADMIN, clock, 1)
    throttle.refused(ADMIN, wait_seconds=1, is_server_wait=False)
    return throttle


def test_a_learnt_limit_never_falls_below_three(clock: Clock) -> None:
    assert get_through(measured(clock, 1), ADMIN, clock, 5) == [1, 1, W, W + 1, W + 1]


def test_a_learnt_limit_is_tried_with_one_more_after_two_calm_minutes(clock: Clock) -> None:
    throttle = measured(clock, 4)
    assert get_through(throttle, ADMIN, clock, 9) == [W] * 4 + [2 * W] * 5


def test_a_refused_probe_is_repeated_less_often(clock: Clock) -> None:
    throttle = measured(clock, 4)
    get_through(throttle, ADMIN, clock, 8)
    send(throttle, ADMIN, clock, 1)
    throttle.refused(ADMIN, wait_seconds=1, is_server_wait=False)
    assert (
        get_through(throttle, ADMIN, clock, 17)
        == [n * W for n in (1, 2, 3) for _ in range(4)] + [4 * W] * 5
    )


def test_a_successful_probe_is_followed_by_others_at_once(clock: Clock) -> None:
    throttle = measured(clock, 4)
    get_through(throttle, ADMIN, clock, 9)
    assert get_through(throttle, ADMIN, clock, 20) == [0] * 20


def test_a_limit_that_was_configured_is_not_raised_however_long_the_calm(clock: Clock) -> None:
    throttle = Throttle(admin_requests_per_minute=3, clock=clock)
    assert get_through(throttle, ADMIN, clock, 90) == [n * W for n in range(30) for _ in range(3)]


def test_a_limit_is_a_guess_from_a_refusal_in_the_first_minute_until_one_later(
    clock: Clock,
) -> None:
    throttle, guesses = Throttle(clock=clock), list[bool]()
    for _ in range(2):
        guesses.append(throttle.is_guessing(ADMIN))
        send(throttle, ADMIN, clock, 4)
        throttle.refused(ADMIN, wait_seconds=1, is_server_wait=False)
        guesses.append(throttle.is_guessing(ADMIN))
        clock.sleep(W)
    assert guesses == [False, True, True, False]


def test_a_route_without_a_measured_limit_is_estimated_by_those_of_others(
    clock: Clock,
) -> None:
    assert measured(clock, 4).seconds_for(OTHER, 9) == pytest.approx(2 * W)


@pytest.mark.parametrize(("count", "seconds"), [(0, 0), (1, 0), (3, 0), (4, W), (7, 2 * W)])
def test_how_long_requests_will_wait_is_known_beforehand(
    clock: Clock, count: int, seconds: float
) -> None:
    throttle = Throttle(admin_requests_per_minute=3, clock=clock)
    assert throttle.seconds_for(ADMIN, count) == pytest.approx(seconds)
    assert sum(send(throttle, ADMIN, clock, count)[-1:]) == pytest.approx(
        seconds
    )  # and nothing was taken by asking


# --- a long run against servers that count in their own ways; each answers how many seconds to wait, 0 for yes

Server = Callable[[float], float]
MINUTES = 30
TICK = 0.01
"""No server says to wait for less."""
ANSWER_SECONDS = 0.1


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


def long_run(
    server: Server,
    clock: Clock,
    *,
    tells: bool,
    workers: int,
    calls: int | None = None,
    throttle: Throttle | None = None,
) -> tuple[int, int, float]:
    """How many requests of some workers got through in the time, how many were refused, and how long it took.

    Workers do as the client does: as long as there is only a guess, they look again whether their turn has come.
    """
    throttle, began = throttle or Throttle(clock=clock), clock.now
    due: list[tuple[float, int, float | None]] = [
        (clock.now, worker, None) for worker in range(workers)
    ]
    passed = refused = 0
    while due[0][0] < began + 60 * MINUTES and passed != calls:
        clock.now, worker, answer = max(clock.now, due[0][0]), *due[0][1:]
        after = 0.0
        if answer is None:
            after = throttle.take(ADMIN)
            answer = None if after else server(clock.now)
            after = min(after, 0.5) if throttle.is_guessing(ADMIN) else after
            after = after or ANSWER_SECONDS
        elif answer:
            throttle.refused(ADMIN, wait_seconds=answer if tells else 1.0, is_server_wait=tells)
            refused, answer = refused + 1, None
        else:
            throttle.accepted(ADMIN)
            passed, answer = passed + 1, None
        heapq.heapreplace(due, (clock.now + after, worker, answer))
    return passed, refused, clock.now - began


def used(server: Server, clock: Clock, part: float, allowed: int, *, seconds: float) -> Server:
    """The server after somebody used a part of what it allows, so many seconds ago."""
    for _ in range(round(part * allowed)):
        server(clock.now)
    clock.sleep(seconds)
    return server


LONG_RUNS = [
    pytest.mark.parametrize("tells", [True, False], ids=["told how long to wait", "told nothing"]),
    pytest.mark.parametrize("allowed", [7, 60]),
    pytest.mark.parametrize("part", [0.0, 0.4, 0.7, 1.0], ids="{:.0%} used".format),
    pytest.mark.parametrize("workers", [1, 10], ids="{} at a time".format),
    pytest.mark.parametrize(
        "make", [emptied_on_the_minute, looking_back_a_minute, refilled_steadily]
    ),
]


def for_every_server(test: Callable[..., None]) -> Callable[..., None]:
    for mark in LONG_RUNS:
        test = mark(test)
    return test


@for_every_server
def test_a_long_run_uses_its_allowance_and_is_hardly_ever_refused(
    clock: Clock,
    make: Callable[[int], Server],
    workers: int,
    part: float,
    allowed: int,
    tells: bool,
) -> None:
    server = used(make(allowed), clock, part, allowed, seconds=30)
    passed, refused, _ = long_run(server, clock, tells=tells, workers=workers)
    assert passed > 0.95 * allowed * MINUTES
    # Nothing is known at first, so all that are sent at the same time may be refused.
    assert refused < workers + 0.1 * allowed * MINUTES


@for_every_server
def test_an_earlier_run_costs_a_run_of_some_minutes_only_the_allowance_it_used(
    clock: Clock,
    make: Callable[[int], Server],
    workers: int,
    part: float,
    allowed: int,
    tells: bool,
) -> None:
    server = used(make(allowed), clock, part, allowed, seconds=30)
    _, _, seconds = long_run(server, clock, tells=tells, workers=workers, calls=7 * allowed + 2)
    # Seven times a full allowance, and at the beginning the rest of the minute that was begun.
    assert seconds < 1.05 * (7 * W + 30)


def refusing_once(number: int, *, wait_seconds: float) -> Server:
    """A server without a limit that refuses one request."""
    count = 0

    def ask(_: float) -> float:
        nonlocal count
        count += 1
        return wait_seconds if count == number else 0.0

    return ask


@pytest.mark.parametrize("workers", [1, 10], ids="{} at a time".format)
@pytest.mark.parametrize("number", [1, 2, 5, 12, 60])
@pytest.mark.parametrize("idle_seconds", [0, 30, 200], ids="{} s after the start".format)
def test_one_refusal_with_a_short_wait_costs_a_route_no_more_than_some_seconds(
    clock: Clock, workers: int, number: int, idle_seconds: float
) -> None:
    throttle = Throttle(clock=clock)
    clock.sleep(idle_seconds)
    server = refusing_once(number, wait_seconds=1.0)
    _, refused, seconds = long_run(
        server, clock, tells=True, workers=workers, calls=100, throttle=throttle
    )
    assert refused == 1
    assert seconds < 100 * ANSWER_SECONDS / workers + 1.0 + 4.0


def test_one_refusal_below_a_measured_limit_does_not_change_it(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    clock.sleep(100)
    get_through(throttle, ADMIN, clock, 20)
    send(throttle, ADMIN, clock, 1)
    throttle.refused(ADMIN, wait_seconds=30, is_server_wait=True)
    clock.sleep(200)
    get_through(throttle, ADMIN, clock, 2)
    send(throttle, ADMIN, clock, 1)
    throttle.refused(ADMIN, wait_seconds=1, is_server_wait=True)
    assert get_through(throttle, ADMIN, clock, 10) == [1.0] * 10


@pytest.mark.parametrize("tells", [True, False], ids=["told how long to wait", "told nothing"])
def test_an_allowance_that_others_used_for_a_while_is_used_again_soon(
    clock: Clock, tells: bool
) -> None:
    server, end_of_others, busy = looking_back_a_minute(60), clock.now + 600, [clock.now]

    def shared(now: float) -> float:
        while busy[0] < min(now, end_of_others):
            server(busy[0])
            busy[0] += 1.5
        return server(now)

    passed, _, _ = long_run(shared, clock, tells=tells, workers=10)
    assert passed > 0.9 * (10 * 20 + 20 * 60)


def test_a_limit_that_is_documented_is_kept_before_anything_was_refused(clock: Clock) -> None:
    lane = RateLimitKey(False, "writes to", "/vector_stores/vs_1", per_minute=3)
    assert send(Throttle(clock=clock), lane, clock, 4) == [0, 0, 0, W]
