"""Errors of expressions, and the reasons why an evaluation has no result."""

from __future__ import annotations


class ExpressionError(Exception):
    """An expression that cannot be used. `line` and `column` count from 1 within the expression."""

    def __init__(self, message: str, *, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class EvaluationError(Exception):
    """An evaluation failed, for example because a key is missing. `||` and `&&` can absorb it."""


class UndecidedError(Exception):
    """The result depends on a value that is not known yet. `||` and `&&` can absorb it."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source


class BudgetError(Exception):
    """The evaluation used up its budget. Nothing absorbs it."""
