"""Retries: which failures are retried, after how long, and when to give up.

One rule comes first: a request that may have created something is never sent twice. Reads are
always safe to retry. Writes with the same effect when repeated (modify, delete) are retried unless
the response was garbled, creates only where the server cannot have acted on them.
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
    """The effect of sending a request twice."""

    READ = auto()
    REPEATABLE = auto()  # a write that has the same result however often it is sent
    ONCE = auto()  # a create: a second request would create a second object


class FailureKind(Enum):
    """What a failure says about whether the server acted."""

    FINAL = auto()
    """Refused for good."""
    THROTTLED = auto()
    """Refused for now."""
    CONFLICT = auto()
    """Refused because of another writer, or because this very create already happened."""
    UNSENT = auto()
    """The server was not reached."""
    UNCLEAR = auto()
    """The server may have acted: 5xx, time-out, lost connection."""
    CUT_SHORT = auto()
    """The server may have acted: its response is incomplete or contradictory."""
    GARBLED = auto()
    """The server says that it acted, in a response that cannot be parsed."""


class FailedAttempt(Struct, frozen=True):
    """A failed attempt: the error it would be, and the wait that the server asked for, if any."""

    error: ApiError
    kind: FailureKind
    retry_after_seconds: float | None = None


class RetryPolicy(Struct, frozen=True):
    """When to retry.

    `total_seconds` limits the time from the first attempt of a request to the start of its last.
    Waiting for rate limits does not count: it depends on the number of requests.
    """

    attempts: int = 10
    # An unreachable host is usually a mistake in its name.
    connects: int = 4
    total_seconds: float = 300.0
    # A proxy that truncates responses usually keeps doing so.
    cut_short_seconds: float = 25.0
    # The API names no longest wait. Its own SDK waits for nothing above two minutes either.
    longest_seconds: float = 120.0
    first_seconds: float = 1.0
    most_seconds: float = 30.0
    random: Callable[[], float] = random.random

    def wait(
        self,
        failure: FailedAttempt,
        idempotency: Idempotency,
        *,
        attempt: int,
        spent_seconds: float,
    ) -> float | None:
        """The seconds before attempt number `attempt + 1`, or None to give up.

        `spent_seconds` is the duration of the earlier attempts and the waits between them.
        """
        limit = self.attempts
        if failure.kind is FailureKind.UNSENT:
            limit = self.connects
        if not may_repeat(failure.kind, idempotency) or attempt >= limit:
            return None
        retry_after = failure.retry_after_seconds
        # What the server asks for outranks our own back-off.
        if retry_after is None:
            seconds = self._backoff(attempt)
        elif retry_after > self.longest_seconds:
            return None
        else:
            seconds = self._with_jitter(retry_after)
        most = self.total_seconds
        if failure.kind is FailureKind.CUT_SHORT:
            most = self.cut_short_seconds
        # The end of the wait counts: an attempt that would begin too late is not made.
        if spent_seconds + seconds > most:
            return None
        return seconds

    def bound_seconds(self, attempt_seconds: float) -> float:
        """The longest that a request takes if an attempt takes `attempt_seconds`."""
        return self.total_seconds + attempt_seconds

    def raised(self, failure: FailedAttempt, idempotency: Idempotency) -> ApiError:
        """The error to raise when there is no further attempt."""
        error = failure.error
        retry_after = failure.retry_after_seconds or 0.0
        if retry_after > self.longest_seconds and isinstance(error, ThrottledError):
            message = f"{error} The server asks to wait {retry_after:.0f} seconds."
            return _copied(error, ThrottledError, message)
        if idempotency is not Idempotency.READ and _may_have_acted(failure.kind, idempotency):
            message = f"{error} Whether the change was made is unknown."
            return _copied(error, AmbiguousError, message)
        return error

    def _with_jitter(self, retry_after: float) -> float:
        """Up to a tenth more, so that clients with the same wait do not return at the same time."""
        return retry_after + min(_MOST_JITTER_SECONDS, retry_after / 10) * self.random()

    def _backoff(self, attempt: int) -> float:
        ceiling = min(self.most_seconds, self.first_seconds * 2.0 ** (attempt - 1))
        # With so much jitter, clients that failed together do not return together.
        return max(self.first_seconds / 2, ceiling * self.random())


def may_repeat(kind: FailureKind, idempotency: Idempotency) -> bool:
    """Whether a retry after such a failure cannot create a second object."""
    match kind:
        # The server has not acted.
        case FailureKind.THROTTLED | FailureKind.UNSENT:
            return True
        # It may have. The API has no idempotency keys that would tell it about the repetition.
        case FailureKind.UNCLEAR | FailureKind.CUT_SHORT | FailureKind.CONFLICT:
            return idempotency is not Idempotency.ONCE
    return False


def _may_have_acted(kind: FailureKind, idempotency: Idempotency) -> bool:
    # An object that already exists may be that of a first request, which a proxy has repeated.
    if kind in (FailureKind.GARBLED, FailureKind.CONFLICT):
        return idempotency is Idempotency.ONCE
    return kind in (FailureKind.UNCLEAR, FailureKind.CUT_SHORT)


def _copied(error: ApiError, error_type: type[ApiError], message: str) -> ApiError:
    return error_type(
        message,
        hint=error.hint,
        status=error.status,
        code=error.code,
        param=error.param,
        request_id=error.request_id,
    )


def retry_after_seconds(headers: Mapping[str, str], message: str, *, now: float) -> float | None:
    """The seconds that the server asks to wait, from headers or the message; None without any.

    `headers` has lower-case names; `now` is in unix seconds, for waits given as a date.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    # The API documents `Retry-After` as optional. Some errors say only in their text how long to
    # wait: "Please try again after 6.937 seconds".
    seconds = _retry_after(headers.get("retry-after", ""), now=now) or _in_text(message)
    if seconds or not _exhausted(headers):
        return seconds or None
    # The time until all requests are allowed again. It counts only where none is allowed now: the
    # header comes with every answer of a project's route. Admin routes have no such headers.
    return duration(headers.get("x-ratelimit-reset-requests", ""))


def _exhausted(headers: Mapping[str, str]) -> bool:
    return headers.get("x-ratelimit-remaining-requests", "").strip() == "0"


def _number(text: str) -> float | None:
    # `float` alone accepts "nan", "inf" and "1e9".
    if not re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", text):
        return None
    return float(text)


def _retry_after(text: str, *, now: float) -> float | None:
    """The value of `Retry-After`: seconds, or an HTTP date."""
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


_UNIT_SECONDS = {
    **dict.fromkeys(("h", "hour"), 3600.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("ms", "millisecond"), 0.001),
}
_PART = r"\d{1,9}(?:\.\d{1,9})?\s*(?:milliseconds?|ms|hours?|minutes?|min|seconds?|sec|h|m|s)"
# Texts rather than patterns: most runs need none of them, and compiling takes time.
_DURATION = rf"(?i){_PART}(?:\s*{_PART})*"
_TRY_AGAIN = rf"(?i)(?:try again|retry)\s+(?:in|after)\s+({_PART}(?:\s*{_PART})*)"
_ONE_PART = r"(?i)(\d+(?:\.\d+)?)\s*([a-z]+)"


def _in_text(message: str) -> float | None:
    match = re.search(_TRY_AGAIN, message)
    if match is None:
        return None
    return duration(match.group(1))


def duration(text: str) -> float | None:
    """Seconds of a duration in the API's notation: `6.937s`, `20ms`, `1m30s`, `6.937 seconds`.

    None for any other text.
    """
    if not re.fullmatch(_DURATION, text.strip()):
        return None
    total = 0.0
    for number, unit in re.findall(_ONE_PART, text):
        name = unit.lower()
        if name not in _UNIT_SECONDS:
            name = name.removesuffix("s")
        total += float(number) * _UNIT_SECONDS[name]
    return total
