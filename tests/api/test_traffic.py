"""Calls, slots and idle times are counted correctly."""

from __future__ import annotations

import pytest

from reconciler.api.transport.in_flight import InFlight
from reconciler.api.transport.throttle import RateLimitKey
from tests.api.conftest import Clock

LISTS = RateLimitKey(True, "GET", "/organization/projects")


@pytest.fixture
def traffic(clock: Clock) -> InFlight:
    return InFlight(clock)


def test_concurrent_waits_count_as_idle_time_once(traffic: InFlight, clock: Clock) -> None:
    with traffic.waiting(), traffic.waiting():
        clock.sleep(60)
    clock.sleep(5)
    assert traffic.idle_seconds == 60


def test_time_in_flight_is_not_idle_time(traffic: InFlight, clock: Clock) -> None:
    with traffic.waiting():
        clock.sleep(10)
        with traffic.sending(LISTS):
            clock.sleep(20)
        clock.sleep(30)
    assert traffic.idle_seconds == 40


def test_idle_time_is_known_during_a_wait(traffic: InFlight, clock: Clock) -> None:
    with traffic.waiting():
        clock.sleep(10)
        assert traffic.idle_seconds == 10


def test_an_expected_call_is_open_until_its_answer_and_unsent_until_it_is_in_flight(
    traffic: InFlight,
) -> None:
    traffic.expect(LISTS)
    traffic.expect(LISTS)
    with traffic.call(LISTS, is_expected=True):
        assert traffic.open() == (2, {LISTS: 2})
        with traffic.sending(LISTS):
            assert traffic.open() == (2, {LISTS: 1})
    assert (traffic.answered, traffic.open()) == (1, (1, {LISTS: 1}))


@pytest.mark.parametrize("is_expected", [True, False], ids=["first page", "further page"])
def test_a_call_without_an_announcement_is_open_while_it_is_under_way(
    traffic: InFlight, is_expected: bool
) -> None:
    with traffic.call(LISTS, is_expected=is_expected):
        assert traffic.open() == (1, {LISTS: 1})
    assert traffic.open() == (0, {})


def test_announced_calls_are_forgotten_and_calls_under_way_are_not(traffic: InFlight) -> None:
    traffic.expect(LISTS)
    traffic.expect(LISTS)
    with traffic.call(LISTS, is_expected=True):
        traffic.expect_nothing()
        assert traffic.open() == (1, {LISTS: 1})
