"""Claims about errors of expressions: they explain the problem and name its position."""

from __future__ import annotations

import pytest

from reconciler.cel import EvaluationError, ExpressionError, compile_expression
from tests.cel.reference import value_of


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        ("1 +", 1, 4, "the expression ends too early"),
        ("x &&\n  y.", 2, 5, "expected a name, found the end"),
        ("resorce == 1", 1, 1, 'unknown variable "resorce"'),
        ("x.trm()", 1, 3, 'unknown function "trm". Did you mean "trim"?'),
        ("size(1, 2)", 1, 1, "size does not take 2 arguments"),
        ("startsWith('a', 'b')", 1, 1, "write ….startsWith(…) instead of startsWith(…)"),
        ("x.int()", 1, 3, "write int(…) instead of ….int()"),
        ("true ||\n\n 'a", 3, 2, "the string is not closed: add '"),
        ("x = 1", 1, 3, "unexpected character '='"),
        ("", 1, 1, "the expression is empty"),
        ("1u", 1, 1, "unsigned integers are not supported: write 1"),
        ("b'a'", 1, 1, "bytes are not supported: write a string"),
        ("has(x)", 1, 1, "has takes one field, such as has(resource.spec.name)"),
        ("x.all(1, true)", 1, 7, "expected the name of a variable"),
        ("x 1", 1, 3, "unexpected 1"),
        ("while", 1, 1, '"while" is a reserved word'),
        ("true && 'a'", 1, 9, "&& and || need booleans on both sides"),
    ],
)
def test_an_invalid_expression_is_explained_at_its_place(
    source: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(ExpressionError) as error:
        compile_expression(source, {"x": 0, "y": 0})
    assert (error.value.line, error.value.column) == (line, column)
    assert error.value.message.startswith(message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x.tresholds", 'there is no "tresholds" here; test it with has(…) or write .?tresholds'),
        ("x.tresholds", 'Did you mean "threshold"?'),
        ("x.list[9]", "the list has no item 9: it has 2"),
        ("x.threshold.a", 'int has no field "a"'),
        ("x.threshold < 'a'", "< cannot be used with int, string"),
        ("x.threshold + 1.0", "+ cannot be used with int, double"),
        ("x.threshold ? 1 : 2", "a condition needs a boolean, not int"),
        ("!x.threshold", "! needs a boolean, not int"),
        ("x.threshold.all(i, true)", "a macro needs a list or a map, not int"),
        ("timestamp('now')", "'now' is not a timestamp: write 2027-01-31T00:00:00Z"),
        ("duration('1 day')", "'1 day' is not a duration: write 72h, 30m or 10s"),
    ],
)
def test_a_failed_evaluation_is_explained(source: str, message: str) -> None:
    with pytest.raises(EvaluationError) as error:
        value_of(source, {"x": {"threshold": 1, "list": [1, 2]}})
    assert message in str(error.value)
