"""The server's clock, and the time window in which an attempt can have created an object."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.kinds import KINDS
from reconciler.model.consistency import ATTEMPT_SECONDS, CreationWindow, ServerClock, pauses
from reconciler.model.resource import LiveObject

NOW = 1_800_000_000.0
DAY = 86_400.0


def clock_after(*answers: tuple[float, float, float]) -> ServerClock:
    """A clock that has learnt from answers: what their Date said, when they were sent, and when received."""
    clock = ServerClock(lambda: NOW)
    for told, sent_at, received_at in answers:
        clock.learn(formatdate(told, usegmt=True), sent_at=sent_at, received_at=received_at)
    return clock


@pytest.mark.parametrize("ahead", [-3600.0, -6.0, 6.0, 3600.0])
def test_a_quick_answer_tells_the_servers_time_to_a_second(ahead: float) -> None:
    clock = clock_after((NOW + ahead, NOW - 0.1, NOW))
    assert abs(clock() - (NOW + ahead)) <= 1.1


def test_the_machines_clock_is_believed_where_an_answer_does_not_contradict_it() -> None:
    assert clock_after((NOW - 1, NOW - 1.5, NOW - 0.2))() == NOW


def test_a_slow_answer_does_not_move_a_clock_that_is_right() -> None:
    assert clock_after((NOW - 119, NOW - 120, NOW))() == NOW


def test_a_quick_answer_narrows_the_bounds_of_a_slow_one() -> None:
    slow, quick = (NOW - 3700, NOW - 120, NOW - 1), (NOW - 3600, NOW - 0.1, NOW)
    assert abs(clock_after(slow, quick)() - (NOW - 3600)) <= 1.1


def test_a_slow_answer_does_not_undo_what_a_quick_one_settled() -> None:
    quick, slow = (NOW - 3600, NOW - 0.1, NOW), (NOW - 3600, NOW - 120, NOW)
    assert abs(clock_after(quick, slow)() - (NOW - 3600)) <= 1.1


def test_after_a_clock_was_set_the_newest_answer_counts() -> None:
    assert clock_after((NOW - 3600, NOW - 0.1, NOW), (NOW, NOW - 0.1, NOW))() == NOW


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Foo 2026 00:00:00 GMT"])
def test_a_date_that_cannot_be_read_says_nothing(date: str | None) -> None:
    clock = ServerClock(lambda: NOW)
    clock.learn(date, sent_at=NOW, received_at=NOW)
    assert (clock(), clock.is_known) == (NOW, False)


@pytest.mark.parametrize(
    ("created_at", "holds"), [(-20, False), (-3, True), (0, True), (8, True), (60, False)]
)
def test_an_attempt_without_an_answer_has_a_beginning_and_an_end(
    created_at: float, holds: bool
) -> None:
    assert CreationWindow.of(NOW, NOW + 1).holds(NOW + created_at) is holds


@pytest.mark.parametrize(("seconds", "holds"), [(ATTEMPT_SECONDS - 1, True), (DAY, False)])
def test_an_attempt_of_a_dead_process_ends_as_well(seconds: float, holds: bool) -> None:
    assert CreationWindow.of(NOW, None).holds(NOW + seconds) is holds


@pytest.mark.parametrize("created_at", [None, "2026-11-30", True])
def test_an_age_that_is_no_time_proves_nothing(created_at: object) -> None:
    assert not CreationWindow.of(NOW, None).holds(created_at)


@pytest.mark.parametrize(("seconds", "is_taken"), [(60.0, True), (DAY, False)])
def test_an_object_without_an_age_is_an_attempts_only_for_a_while(
    seconds: float, is_taken: bool
) -> None:
    attempt = CreateAttempt(CreationWindow.of(NOW, NOW), clock=lambda: NOW + seconds)
    assert attempt.can_have_made(LiveObject(KINDS["Role"], "role_1", {})) is is_taken


def test_an_answered_attempt_created_only_the_object_with_that_id() -> None:
    attempt = CreateAttempt(CreationWindow.of(NOW, NOW), id="group_1")
    made = {
        id: attempt.can_have_made(LiveObject(KINDS["Group"], id, {"created_at": NOW}))
        for id in ("group_1", "g2")
    }
    assert made == {"group_1": True, "g2": False}


@pytest.mark.parametrize("seconds", [0.0, 0.1, 3.0, 12.0, 100.0])
def test_pauses_take_as_long_as_they_may_and_no_longer(seconds: float) -> None:
    assert sum(pauses(seconds)) == pytest.approx(seconds)
