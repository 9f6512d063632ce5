"""Bounds the work of evaluations: steps, sizes of values, and time spent in regular expressions.

Steps are counted, not timed, so an expression ends after the same work on every machine. Regular
expressions are the exception: their engine can only be limited in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from reconciler.cel.errors import BudgetError, EvaluationError

MAX_TEXT = 1_000_000
"""The longest text, in characters, that an evaluation may build."""
MAX_ITEMS = 200_000
"""The longest list that an evaluation may build."""
CHARACTERS_PER_STEP = 64

Search = Callable[[str, str, float], bool]
"""Whether a pattern occurs in a text, within a number of seconds.

Raises TimeoutError, and ValueError for an invalid pattern.
"""


class Budget:
    """The remaining work. `begin` starts an evaluation; `total` limits all evaluations together."""

    __slots__ = ("_search", "evaluation", "seconds", "steps", "total")

    def __init__(self, *, evaluation: int, total: int, seconds: float, search: Search) -> None:
        self.evaluation = evaluation
        self.total = total
        self.seconds = seconds
        self.steps = 0
        self._search = search

    def begin(self, steps: int) -> None:
        """Start an evaluation that takes at least `steps`."""
        self.total -= steps
        if self.total < 0:
            raise BudgetError("the step budget of the policy is used up")
        self.steps = self.evaluation - steps

    def spend(self, steps: int) -> None:
        """Take steps. Raises BudgetError once there are none left."""
        self.steps -= steps
        self.total -= steps
        if self.steps < 0:
            raise BudgetError(f"one evaluation takes more than {self.evaluation:,} steps")
        if self.total < 0:
            raise BudgetError("the step budget of the policy is used up")

    def text(self, length: int) -> None:
        """Pay for a text of a length. Raises BudgetError if it is too long."""
        if length > MAX_TEXT:
            raise BudgetError(f"a text would have more than {MAX_TEXT:,} characters")
        self.spend(1 + length // CHARACTERS_PER_STEP)

    def items(self, length: int) -> None:
        """Pay for a list of a length. Raises BudgetError if it is too long."""
        if length > MAX_ITEMS:
            raise BudgetError(f"a list would have more than {MAX_ITEMS:,} items")
        self.spend(1 + length)

    def matches(self, text: str, pattern: str) -> bool:
        """Whether a pattern occurs in a text. Its time counts against `seconds`."""
        self.text(len(text) + len(pattern))
        if self.seconds <= 0:
            raise BudgetError("regular expressions took too much time")
        began = time.monotonic()
        try:
            return self._search(pattern, text, self.seconds)
        except TimeoutError:
            self.seconds = 0.0
            raise BudgetError("regular expressions took too much time") from None
        except ValueError as error:
            raise EvaluationError(str(error)) from None
        finally:
            self.seconds -= time.monotonic() - began
