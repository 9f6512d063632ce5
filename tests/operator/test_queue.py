"""The time of the next run of a Stack."""

from __future__ import annotations

import threading

import pytest

from reconciler.operator.queue import Next, RunEnd, WorkQueue, delay_after
from reconciler.operator.resources import ObjectKey

A, B, C = (ObjectKey("team", name) for name in "abc")
ACME, OTHER = ObjectKey("team", "acme"), ObjectKey("team", "other")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock=clock, jitter=lambda: 0.5)


def test_a_stack_is_due_after_its_interval(queue: WorkQueue, clock: Clock) -> None:
    queue.wake(A)
    assert queue.take() == A
    assert queue.finish(A, RunEnd(Next.DONE, 600)) == 600
    clock.now = 599
    assert queue.waiting() == 0
    clock.now = 600
    assert queue.take() == A


def test_intervals_are_spread_by_at_most_a_tenth(clock: Clock) -> None:
    for share in (0.0, 1.0):
        queue = WorkQueue(clock=clock, jitter=lambda share=share: share)  # type: ignore[misc]
        queue.wake(A)
        queue.take()
        assert 540 <= queue.finish(A, RunEnd(Next.DONE, 600)) <= 660


def test_a_change_ends_every_back_off(queue: WorkQueue) -> None:
    queue.wake(A)
    for _ in range(10):
        queue.take()
        queue.finish(A, RunEnd(Next.FAILED, 60))
        queue.wake(A)
    queue.take()
    assert queue.finish(A, RunEnd(Next.FAILED, 60)) == 15


def test_a_change_during_a_run_leads_to_one_more(queue: WorkQueue) -> None:
    queue.wake(A)
    queue.take()
    queue.wake(A)
    queue.wake(A)
    assert queue.waiting() == 0
    queue.finish(A, RunEnd(Next.DONE, 600))
    assert queue.take() == A
    assert queue.finish(A, RunEnd(Next.DONE, 600)) == 600


def test_a_stack_that_is_gone_is_forgotten_unless_it_came_back(queue: WorkQueue) -> None:
    queue.wake(A)
    queue.take()
    queue.wake(A)
    queue.finish(A, RunEnd(Next.GONE))
    assert queue.take() == A
    queue.finish(A, RunEnd(Next.GONE))
    assert queue.waiting() == 0


def test_stacks_of_an_organization_are_looked_at_together(queue: WorkQueue, clock: Clock) -> None:
    for key, group, start in ((A, ACME, 0), (B, ACME, 100), (C, OTHER, 100)):
        clock.now = start
        queue.wake(key)
        queue.take()
        queue.finish(key, RunEnd(Next.DONE, 600), group)
    clock.now = 600
    assert queue.take() == A
    assert queue.waiting() == 1  # B, a hundred seconds early; C is of another organization
    assert queue.take() == B


def test_no_stack_is_handed_out_twice_at_once(queue: WorkQueue) -> None:
    queue.wake(A)
    assert queue.take() == A
    queue.wake(A)
    queue.wake(B)
    assert queue.take() == B
    assert queue.waiting() == 0


def test_closing_ends_every_wait(queue: WorkQueue) -> None:
    taken: list[ObjectKey | None] = []
    waiting = threading.Thread(target=lambda: taken.append(queue.take()))
    waiting.start()
    queue.close()
    waiting.join(10)
    assert taken == [None]


@pytest.mark.parametrize("next", [each for each in Next if each is not Next.GONE])
@pytest.mark.parametrize("interval", [30, 600, 86_400])
def test_delays_grow_are_bounded_and_never_zero(next: Next, interval: float) -> None:
    delays = [delay_after(RunEnd(next, interval, number), number) for number in range(1, 200)]
    assert delays == sorted(delays)
    assert delays[0] >= 2
    assert delays[-1] <= max(interval, 6 * 3600)
