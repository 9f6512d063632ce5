"""Retries never repeat a request that may have created an object."""

from __future__ import annotations

from email.utils import formatdate
from pathlib import Path

import pytest

from reconciler.api.transport.client import ANSWER_SECONDS
from reconciler.api.transport.connection import CONNECT_SECONDS
from reconciler.api.transport.retry import (
    FailedAttempt,
    FailureKind,
    Idempotency,
    RetryPolicy,
    duration,
    retry_after_seconds,
)
from reconciler.errors import AmbiguousError, ApiError, ThrottledError

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after-ms": "1500"}, "", 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, "", 0.25),
        ({"retry-after": "7"}, "try again in 3s", 7),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, "", 30),
        ({}, "Rate limit. Please try again after 6.937 seconds.", 6.937),
        ({}, "Please try again in 6.937s. Visit the site", 6.937),
        ({}, "Please try again in 20ms.", 0.02),
        ({}, "Please try again in 1m30s.", 90),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, "", 360),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}, "", None),
        ({"retry-after": "soon"}, "Rate limit reached", None),
        ({}, "", None),
    ],
)
def test_every_notation_of_a_wait_is_parsed(
    headers: dict[str, str], message: str, seconds: float | None
) -> None:
    assert retry_after_seconds(headers, message, now=NOW) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5", "1 parsec", "-3s", "9" * 400 + "s"])
def test_a_text_that_is_no_duration_has_no_seconds(text: str) -> None:
    assert duration(text) is None


def failure(trouble: FailureKind, told: float | None = None) -> FailedAttempt:
    return FailedAttempt(ApiError("it failed", status=500), trouble, told)


@pytest.mark.parametrize(
    ("trouble", "effect", "repeats"),
    [
        (FailureKind.UNCLEAR, Idempotency.READ, True),
        (FailureKind.UNCLEAR, Idempotency.REPEATABLE, True),
        (FailureKind.UNCLEAR, Idempotency.ONCE, False),
        (FailureKind.UNSENT, Idempotency.ONCE, True),
        (FailureKind.THROTTLED, Idempotency.ONCE, True),
        (FailureKind.CONFLICT, Idempotency.ONCE, False),
        (FailureKind.CONFLICT, Idempotency.REPEATABLE, True),
        (FailureKind.CONFLICT, Idempotency.READ, True),
        (FailureKind.FINAL, Idempotency.READ, False),
        (FailureKind.GARBLED, Idempotency.READ, False),
    ],
)
def test_a_request_that_may_have_created_something_is_never_repeated(
    trouble: FailureKind, effect: Idempotency, repeats: bool
) -> None:
    wait = RetryPolicy().wait(failure(trouble), effect, attempt=1, spent_seconds=0)
    assert (wait is not None) is repeats


@pytest.mark.parametrize(
    "trouble",
    [FailureKind.UNCLEAR, FailureKind.GARBLED, FailureKind.CUT_SHORT, FailureKind.CONFLICT],
)
def test_a_create_of_unknown_outcome_is_ambiguous(trouble: FailureKind) -> None:
    assert isinstance(RetryPolicy().raised(failure(trouble), Idempotency.ONCE), AmbiguousError)


def test_a_write_that_meets_a_conflict_to_the_end_was_refused() -> None:
    assert not isinstance(
        RetryPolicy().raised(failure(FailureKind.CONFLICT), Idempotency.REPEATABLE), AmbiguousError
    )


def test_a_read_is_never_ambiguous() -> None:
    assert not isinstance(
        RetryPolicy().raised(failure(FailureKind.UNCLEAR), Idempotency.READ), AmbiguousError
    )


def test_backing_off_doubles_up_to_thirty_seconds() -> None:
    policy = RetryPolicy(random=lambda: 1.0)
    waits = [
        policy.wait(failure(FailureKind.UNCLEAR), Idempotency.READ, attempt=n, spent_seconds=0)
        for n in range(1, 8)
    ]
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_a_wait_of_over_two_minutes_is_not_waited_for() -> None:
    told = FailedAttempt(ThrottledError("busy", status=429), FailureKind.THROTTLED, 121.0)
    assert RetryPolicy().wait(told, Idempotency.READ, attempt=1, spent_seconds=0) is None
    assert "121 seconds" in str(RetryPolicy().raised(told, Idempotency.READ))


def test_the_waits_of_a_request_are_bounded_together() -> None:
    assert (
        RetryPolicy().wait(
            failure(FailureKind.THROTTLED, 100), Idempotency.READ, attempt=2, spent_seconds=250
        )
        is None
    )


def test_attempts_are_bounded() -> None:
    assert (
        RetryPolicy(attempts=3).wait(
            failure(FailureKind.UNCLEAR), Idempotency.READ, attempt=3, spent_seconds=0
        )
        is None
    )


def test_the_docs_say_how_long_a_request_can_take() -> None:
    page = (Path(__file__).parents[2] / "docs" / "timeouts.md").read_text(encoding="utf-8")
    attempt = CONNECT_SECONDS + 2 * ANSWER_SECONDS
    assert f"for {RetryPolicy().total_seconds:.0f} seconds" in page
    assert f"One attempt lasts at most {attempt:.0f} seconds" in page
    assert f"within {RetryPolicy().bound_seconds(attempt):.0f} seconds" in page


@pytest.mark.parametrize(("told", "latest"), [(1.0, 1.1), (60.0, 61.0), (0.0, 0.0)])
def test_a_wait_of_the_server_is_kept_and_stretched_a_little(told: float, latest: float) -> None:
    busy = FailedAttempt(ThrottledError("busy", status=429), FailureKind.THROTTLED, told)
    waits = [
        RetryPolicy(random=lambda part=part: part).wait(
            busy, Idempotency.READ, attempt=1, spent_seconds=0
        )  # type: ignore[misc]
        for part in (0.0, 1.0)
    ]
    assert waits == [told, pytest.approx(latest)]
