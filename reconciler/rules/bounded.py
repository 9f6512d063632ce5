"""Evaluates regular expressions and JMESPath of manifests within bounds.

A check can come from an untrusted pull request, whose author may also choose the text that it
matches. So no check can occupy a run for long or exhaust its memory.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from reconciler.model.values import MAP
from reconciler.rules.pattern_size import expanded_size

LONGEST_PATTERN = 1_000
LONGEST_EXPRESSION = 2_000
MAX_STEPS = 500_000
MAX_SECONDS = 2.0

_SEARCHED = 100_000
"""How many characters of a text a pattern is matched against."""

_LARGEST_PATTERN = 200_000
"""How many parts a pattern may have with its counted repeats expanded: half a second, 100 MB."""
_STEPS_PER_CLOCK = 4_096


class TooMuchWorkError(Exception):
    """A bound was reached; the message names it."""


class Work:
    """The remaining budget for one answer."""

    def __init__(self, steps: int = MAX_STEPS, seconds: float = MAX_SECONDS) -> None:
        self._steps = steps
        self._clock_due = steps - _STEPS_PER_CLOCK
        """The number of remaining steps at which the clock is read next."""
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds

    def spend(self, steps: int = 1) -> None:
        """Take steps from the budget. Raises TooMuchWorkError if it is used up."""
        self._steps -= steps
        if self._steps < 0:
            raise TooMuchWorkError("it exceeds the maximum number of steps")
        # Not at every step, because reading the clock takes longer than most steps.
        if self._steps < self._clock_due:
            self._clock_due = self._steps - _STEPS_PER_CLOCK
            self._seconds_left()

    def search(self, pattern: str, text: str) -> bool:
        """Whether a pattern occurs in a text.

        Raises TooMuchWorkError if that takes too long, and ValueError if the pattern is invalid.
        """
        # Not `re`, whose matching of a hostile pattern nothing can interrupt.
        import regex

        self.spend()
        # A pattern that contained a reference could not be checked before.
        if flaw := flaw_of_pattern(pattern):
            raise ValueError(f"{pattern[:80]!r} is not a regular expression: {flaw}")
        try:
            return regex.search(pattern, text[:_SEARCHED], timeout=self._seconds_left()) is not None
        except TimeoutError:
            raise TooMuchWorkError(self._too_long()) from None

    def _seconds_left(self) -> float:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TooMuchWorkError(self._too_long())
        return left

    def _too_long(self) -> str:
        return f"it exceeds the time limit of {self._seconds:g} seconds"


def search(pattern: str, text: str, seconds: float) -> bool:
    """Whether a pattern occurs in a text, for callers with a time limit of their own.

    Raises TimeoutError once the seconds are over, and ValueError if the pattern is invalid.
    """
    try:
        return Work(seconds=seconds).search(pattern, text)
    except TooMuchWorkError:
        raise TimeoutError from None


@lru_cache(maxsize=1_000)
def flaw_of_pattern(pattern: str) -> str:
    """The problem of a regular expression; empty if it is valid."""
    import regex

    if len(pattern) > LONGEST_PATTERN:
        return f"it has {len(pattern):,} characters; the maximum is {LONGEST_PATTERN:,}"
    # Before it is compiled, which nothing can interrupt.
    if expanded_size(pattern) > _LARGEST_PATTERN:
        return f"it exceeds {_LARGEST_PATTERN:,} parts when its counted repeats are expanded"
    # `re` too, which refuses syntax that only the regex package knows.
    try:
        re.compile(pattern)
        regex.compile(pattern)
    except (re.error, regex.error) as error:
        return str(error)
    except (RecursionError, OverflowError, MemoryError):
        return "it is nested too deeply"
    return ""


# --- JMESPath


def flaw_of_expression(expression: str) -> str:
    """The problem of a JMESPath expression; empty if it is valid."""
    import jmespath
    from jmespath.exceptions import JMESPathError

    if len(expression) > LONGEST_EXPRESSION:
        return f"it has {len(expression):,} characters; the maximum is {LONGEST_EXPRESSION:,}"
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        return first_line(error)
    except RecursionError:
        return "it is nested too deeply"
    return ""


def first_line(error: Exception) -> str:
    """The first line of a library's error message."""
    return str(error).partition("\n")[0].rstrip(". :")


def evaluate(expression: str, value: Any, work: Work) -> Any:
    """The value of a JMESPath expression. Raises ValueError with a reason, and TooMuchWorkError."""
    import jmespath
    from jmespath.exceptions import JMESPathError
    from jmespath.visitor import TreeInterpreter

    sizes = _Sizes(work, value)

    # Every intermediate value is measured, because each step can double the size of the last.
    class Counting(TreeInterpreter):
        """Counts nodes, and the sizes of intermediate values."""

        def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
            work.spend()
            result = super().visit(node, *args, **kwargs)
            sizes.check(result)
            return result

    try:
        return Counting().visit(jmespath.compile(expression).parsed, value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (JMESPathError, TypeError, OverflowError) as error:
        raise ValueError(first_line(error)) from error


class _Sizes:
    """The sizes of values as trees. A shared part counts each time, as it does when written."""

    def __init__(self, work: Work, answer: Any) -> None:
        """Parts of the answer may be as large as the answer."""
        self._work = work
        self._answer = answer
        self._known: dict[int, tuple[Any, int]] = {}

    def check(self, value: Any) -> None:
        """Raise TooMuchWorkError if a value is too large."""
        size = self._size(value)
        # The size of the answer only where it matters, because it takes a pass over the answer.
        if size > MAX_STEPS and size > MAX_STEPS + self._size(self._answer):
            raise TooMuchWorkError("its result exceeds the maximum size")

    def _size(self, value: Any) -> int:
        if isinstance(value, str):
            return 1 + len(value) // 10
        if not isinstance(value, list | dict):
            return 1
        known = self._known.get(id(value))
        if known is None:
            self._work.spend(1 + len(value) // 100)
            # The value is kept with its size, so that no other gets its id.
            known = self._known[id(value)] = value, 1 + sum(map(self._size, _parts(value)))
        return known[1]


def _parts(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, MAP) else value
