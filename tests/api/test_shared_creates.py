"""Stacks that run side by side create each object once."""

from __future__ import annotations

import pytest

from reconciler.api.transport.shared_creates import SharedCreates
from reconciler.errors import AmbiguousError, ApiError, StalePlanError
from tests.api.conftest import Clock

KEPT = 900.0
ONE, TWO = object(), object()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def creates(clock: Clock) -> SharedCreates:
    return SharedCreates(kept_seconds=KEPT, clock=clock)


def create(
    creates: SharedCreates, owner: object, *, name: str = "search", error: Exception | None = None
) -> None:
    with creates.claim(("projects", name), owner, shown=f'a Project with name "{name}"'):
        if error is not None:
            raise error


def test_another_stack_is_refused_while_one_creates_and_after_it(creates: SharedCreates) -> None:
    claim = creates.claim(("projects", "search"), ONE, shown="a Project")
    with claim, pytest.raises(StalePlanError, match="another stack"):
        create(creates, TWO)
    with pytest.raises(StalePlanError, match='a Project with name "search"'):
        create(creates, TWO)


def test_a_stack_may_repeat_its_create_and_others_may_create_other_objects(
    creates: SharedCreates,
) -> None:
    create(creates, ONE)
    create(creates, ONE)
    create(creates, TWO, name="support")


def test_a_refused_create_releases_the_claim(creates: SharedCreates) -> None:
    with pytest.raises(ApiError):
        create(creates, ONE, error=ApiError("no", status=400))
    create(creates, TWO)


@pytest.mark.parametrize("error", [AmbiguousError("lost"), KeyboardInterrupt()])
def test_a_create_without_an_answer_counts_as_one(
    creates: SharedCreates, error: BaseException
) -> None:
    with (
        pytest.raises(type(error)),
        creates.claim(("projects", "search"), ONE, shown="a Project"),
    ):
        raise error
    with pytest.raises(StalePlanError):
        create(creates, TWO)


def test_the_claim_ends_once_lists_must_show_the_object(
    creates: SharedCreates, clock: Clock
) -> None:
    create(creates, ONE)
    clock.now += KEPT - 1
    with pytest.raises(StalePlanError):
        create(creates, TWO)
    clock.now += 1
    create(creates, TWO)
    with pytest.raises(StalePlanError):
        create(creates, ONE)
