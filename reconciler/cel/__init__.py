"""The Common Expression Language (CEL), evaluated within bounds and over values not known yet.

Expressions of policies can come from an untrusted pull request. So an evaluation counts its steps,
has no access to anything but its variables, and calls no code that is not in this package.
"""

from __future__ import annotations

from reconciler.cel.budget import Budget
from reconciler.cel.compiler import Program, compile_expression
from reconciler.cel.errors import BudgetError, EvaluationError, ExpressionError, UndecidedError
from reconciler.cel.indexed import IndexedList
from reconciler.cel.values import Later

__all__ = [
    "Budget",
    "BudgetError",
    "EvaluationError",
    "ExpressionError",
    "IndexedList",
    "Later",
    "Program",
    "UndecidedError",
    "compile_expression",
]
