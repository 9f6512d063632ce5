"""Trying again: which failures, after how long, and when to give up.

The rule that everything else serves: a request that may have created something is never sent twice. Reads are repeated
freely, writes that say the same when they are said again (modify, delete) nearly so, creates only where the server
cannot have acted on them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from msgspec import Struct

from reconciler.errors import AmbiguousError, ApiError, ThrottledError

_MOST_JITTER_SECONDS = 1.0


class Idempotency(Enum):
    """What it means to send a request twice."""

    READ = auto()
    REPEATABLE = auto()  # a write that leaves the same behind however often it is sent
    ONCE = auto()  # a create: a second one would make a second object


class FailureKind(Enum):
    """What a failure says about whether the server acted."""

    FINAL = auto()  # it refused for good
    THROTTLED = auto()  # it refused for now
    CONFLICT = auto()  # somebody else was at the object: it refused, or this very create had already happened
    UNSENT = auto()  # it was never reached
    UNCLEAR = auto()  # it may have acted: 5xx, time-out, lost connection
    CUT_SHORT = auto()  # it may have acted: its answer began and did not end, or contradicts itself
    GARBLED = auto()  # it says that it acted, in an answer that cannot be read


class Failure(Struct, frozen=True):
    """A failed attempt: the error it would be, and how many seconds the server says to wait, if it does."""

    error: ApiError
    kind: FailureKind
    told_seconds: float | None = None


class Policy(Struct, frozen=True):
    """When to try again. `total_seconds` bounds what one request takes until its last attempt, waits and attempts.

    Waiting for a turn is not part of it: how long that takes depends on how many requests there are.
    """

    attempts: int = 10
    connects: int = 4  # a host that cannot be reached is usually a mistake in its name
    total_seconds: float = 300.0
    cut_short_seconds: float = 25.0  # what cuts answers short is usually in between, and there to stay
    longest_seconds: float = 120.0
    first_seconds: float = 1.0
    most_seconds: float = 30.0
    random: Callable[[], float] = random.random

    def wait(self, failure: Failure, effect: Idempotency, *, attempt: int, spent_seconds: float) -> float | None:
        """How long to wait before attempt number `attempt + 1`, or None to give up.

        `spent_seconds` is what the earlier attempts and the waits between them took.
        """
        limit = self.connects if failure.kind is FailureKind.UNSENT else self.attempts
        if not may_repeat(failure.kind, effect) or attempt >= limit:
            return None
        told = failure.told_seconds
        if told is not None and told > self.longest_seconds:
            return None
        seconds = self._backoff(attempt) if told is None else self._a_little_later(told)
        most = self.cut_short_seconds if failure.kind is FailureKind.CUT_SHORT else self.total_seconds
        return seconds if spent_seconds + seconds <= most else None

    def bound_seconds(self, attempt_seconds: float) -> float:
        """How long one request can take, its turns apart, where an attempt takes no longer than that."""
        return self.total_seconds + attempt_seconds

    def raised(self, failure: Failure, effect: Idempotency) -> ApiError:
        """The error to raise once there is no further attempt."""
        error, told = failure.error, failure.told_seconds
        if told is not None and told > self.longest_seconds and isinstance(error, ThrottledError):
            return _copied(error, ThrottledError, f"{error} The server asks to wait {told:.0f} seconds.")
        if effect is not Idempotency.READ and _is_open(failure.kind, effect):
            return _copied(error, AmbiguousError, f"{error} Whether the change was made is unknown.")
        return error

    def _a_little_later(self, told_seconds: float) -> float:
        """A told wait and up to a tenth more, so that clients that were told the same do not come back together."""
        return told_seconds + min(_MOST_JITTER_SECONDS, told_seconds / 10) * self.random()

    def _backoff(self, attempt: int) -> float:
        ceiling = min(self.most_seconds, self.first_seconds * 2.0 ** (attempt - 1))
        return max(self.first_seconds / 2, ceiling * self.random())


def may_repeat(trouble: FailureKind, effect: Idempotency) -> bool:
    """Whether sending a request again after such a failure cannot make a second object."""
    match trouble:
        case FailureKind.THROTTLED | FailureKind.UNSENT:
            return True
        case FailureKind.UNCLEAR | FailureKind.CUT_SHORT | FailureKind.CONFLICT:
            return effect is not Idempotency.ONCE
    return False


def _is_open(trouble: FailureKind, effect: Idempotency) -> bool:
    if trouble in (FailureKind.GARBLED, FailureKind.CONFLICT):
        return effect is Idempotency.ONCE
    return trouble in (FailureKind.UNCLEAR, FailureKind.CUT_SHORT)


def _copied(error: ApiError, kind: type[ApiError], message: str) -> ApiError:
    return kind(
        message, hint=error.hint, status=error.status, code=error.code, param=error.param, request_id=error.request_id
    )


def told_seconds(headers: Mapping[str, str], message: str, *, now: float) -> float | None:
    """How many seconds the server says to wait, in whichever of its ways; None where it does not say.

    `headers` has lower-case names; `now` is in unix seconds, for waits that are given as a date.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    return (
        _retry_after(headers.get("retry-after", ""), now=now)
        or _in_text(message)
        or (duration(headers.get("x-ratelimit-reset-requests", "")) if _exhausted(headers) else None)
    )


def _exhausted(headers: Mapping[str, str]) -> bool:
    return headers.get("x-ratelimit-remaining-requests", "").strip() == "0"


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", text) else None


def _retry_after(text: str, *, now: float) -> float | None:
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


_UNIT_SECONDS = {"h": 3600.0, "hour": 3600.0, "m": 60.0, "min": 60.0, "minute": 60.0, "s": 1.0, "sec": 1.0,
                 "second": 1.0, "ms": 0.001, "millisecond": 0.001}  # fmt: skip
_PART = r"\d{1,9}(?:\.\d{1,9})?\s*(?:milliseconds?|ms|hours?|minutes?|min|seconds?|sec|h|m|s)"
_DURATION = re.compile(rf"{_PART}(?:\s*{_PART})*", re.IGNORECASE)
_TRY_AGAIN = re.compile(rf"(?:try again|retry)\s+(?:in|after)\s+({_PART}(?:\s*{_PART})*)", re.IGNORECASE)
_ONE_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)


def _in_text(message: str) -> float | None:
    found = _TRY_AGAIN.search(message)
    return duration(found.group(1)) if found else None


def duration(text: str) -> float | None:
    """Seconds of a duration as the API writes it: `6.937s`, `20ms`, `1m30s`, `6.937 seconds`; None if it is none."""
    if not _DURATION.fullmatch(text.strip()):
        return None
    total = 0.0
    for number, unit in _ONE_PART.findall(text):
        name = unit.lower()
        total += float(number) * _UNIT_SECONDS[name if name in _UNIT_SECONDS else name.removesuffix("s")]
    return total
