"""Evaluates expressions with the reference implementation of CEL and with ours, in comparable results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_math, ext_optional, ext_strings

from reconciler.cel import (
    Budget,
    BudgetError,
    EvaluationError,
    ExpressionError,
    UndecidedError,
    compile_expression,
)
from reconciler.rules.bounded import search

FAILED = "no result"
"""What both give for an expression without a value, whenever they notice it."""

_ENVIRONMENT = cel.NewEnv(
    variables={"x": cel.Type.DYN, "y": cel.Type.DYN},
    extensions=[
        ext_strings.ExtStrings(),
        ext_math.ExtMath(),
        ext_optional.ExtOptional(),
        ext_bindings.ExtBindings(),
    ],
)


def budget(*, evaluation: int = 100_000, total: int = 10_000_000) -> Budget:
    return Budget(evaluation=evaluation, total=total, seconds=2.0, search=search)


def value_of(source: str, variables: Mapping[str, Any]) -> Any:
    """Our value. Raises what our evaluation raises."""
    return compile_expression(source, variables).evaluate(dict(variables), budget())


def ours(source: str, variables: Mapping[str, Any]) -> Any:
    try:
        return _comparable(value_of(source, variables))
    except (ExpressionError, EvaluationError, UndecidedError, BudgetError):
        return FAILED


def theirs(source: str, variables: Mapping[str, Any]) -> Any:
    try:
        value = _ENVIRONMENT.compile(source).eval(data=dict(variables))
    except RuntimeError:
        return FAILED
    return FAILED if value.type() == cel.Type.ERROR else _comparable(value.plain_value())


def _comparable(value: Any) -> Any:
    """A value with its types, since to Python 1, 1.0 and True are equal."""
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _comparable(item) for key, item in value.items()}
    return (type(value).__name__, str(value))
