"""Claims about hostile expressions: each ends soon, without much memory, and reaches nothing."""

from __future__ import annotations

import pytest

from reconciler.cel import BudgetError, EvaluationError, ExpressionError, compile_expression
from tests.cel.reference import budget, value_of

ONES = "[" + ",".join(["1"] * 100) + "]"


def nested(macro: str, depth: int) -> str:
    source = "true"
    for level in range(depth):
        source = f"{ONES}.{macro}(v{level}, {source})"
    return source


def doubled(times: int) -> str:
    source = "x"
    for level in range(times):
        source = f"cel.bind(v{level}, {source}, v{level} + v{level} + v{level} + v{level})"
    return source


@pytest.mark.parametrize(
    "source",
    [
        nested("all", 6),
        nested("map", 4),
        doubled(20),
        doubled(20).replace("x", "[x]"),
        "x" + ".replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')" * 6,
        "x" + ".split('').join('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')" * 6,
        f"[{','.join(['x'] * 150)}].map(a, " * 5 + "x" + ")" * 5,
    ],
    ids=["comprehensions", "lists", "texts", "long lists", "replace", "join", "nested lists"],
)
def test_a_bomb_uses_up_its_budget(source: str) -> None:
    with pytest.raises(BudgetError):
        value_of(source, {"x": "aaaa"})


def test_a_regular_expression_that_backtracks_uses_up_its_time() -> None:
    limits = budget()
    limits.seconds = 0.2
    program = compile_expression(r"x.matches('^(a|a|aa)+$')", {"x": ""})
    with pytest.raises(BudgetError, match="regular expressions"):
        program.evaluate({"x": "a" * 5_000 + "b"}, limits)


def test_the_time_of_all_regular_expressions_counts_together() -> None:
    limits = budget()
    limits.seconds = 0.0
    with pytest.raises(BudgetError, match="regular expressions"):
        compile_expression("x.matches('a')", {"x": ""}).evaluate({"x": "a"}, limits)


@pytest.mark.parametrize("pattern", ["(", "(a{1000}){1000}", "a" * 2_000])
def test_a_pattern_that_is_invalid_or_too_large_is_an_error(pattern: str) -> None:
    with pytest.raises(EvaluationError):
        value_of("x.matches(y)", {"x": "a", "y": pattern})


def test_the_steps_of_all_evaluations_count_together() -> None:
    limits = budget(total=100)
    program = compile_expression("x + 1 > 0", {"x": 0})
    for _ in range(100 // program.cost):
        program.evaluate({"x": 1}, limits)
    with pytest.raises(BudgetError, match="of the policy"):
        program.evaluate({"x": 1}, limits)


def test_an_expression_takes_the_same_steps_whatever_the_time() -> None:
    program = compile_expression("x.all(i, i > 0)", {"x": []})
    left = []
    for _ in range(2):
        limits = budget()
        program.evaluate({"x": [1, 2, 3]}, limits)
        left.append(limits.total)
    assert left[0] == left[1] < budget().total


@pytest.mark.parametrize(
    "source",
    [
        "(" * 40 + "1" + ")" * 40,
        "[" * 40 + "]" * 40,
        "x" + ".a" * 300,
        "!" * 300 + "true",
        "1" + "+1" * 300,
        "true" + "&&true" * 300,
        "x" * 10_001,
        "[" + "1," * 300 + "1]",
    ],
)
def test_an_expression_that_is_too_deep_or_too_long_is_refused(source: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(source, {"x": 0})


@pytest.mark.parametrize(
    "source",
    [
        "x.__class__",
        "x.__class__.__mro__",
        "x.format('{0.__class__}')",
        "__import__('os')",
        "open('/etc/passwd')",
        "env.HOME",
        "x.encode()",
        "'%s'.format([x])",
        "$budget",
        "x['__class__']",
    ],
)
def test_nothing_of_python_can_be_reached(source: str) -> None:
    with pytest.raises((ExpressionError, EvaluationError)):
        value_of(source, {"x": "text"})


def test_deeply_nested_values_do_not_crash() -> None:
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(BudgetError):
        value_of("x == y", {"x": deep, "y": [list(deep)]})
