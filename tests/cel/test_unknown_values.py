"""Claims about values that are not known yet: they decide nothing, and hide nothing that is decided."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.cel import Later, UndecidedError
from tests.cel.reference import value_of

LATER = Later("${VectorStore/a}")
X: dict[str, Any] = {
    "later": LATER,
    "known": 1,
    "map": {"later": LATER, "known": 1},
    "list": [3, LATER],
    "maybe": Later("the live value", may_be_absent=True),
}
VARIABLES = {"x": X, "y": LATER}


@pytest.mark.parametrize(
    "source",
    [
        "x.later == 1",
        "y == 1",
        "x.later.below == 1",
        "x.later || false",
        "x.later == 1 && true",
        "x.map == {'later': 2, 'known': 1}",
        "x.list == [3, 4]",
        "4 in x.list",
        "x.later in [1]",
        "x.list[1] == 1",
        "x.list.exists(i, i == 4)",
        "x.list.all(i, i == 3)",
        "x.list.exists_one(i, i == 3)",
        "x.list.filter(i, i == 3).size() == 1",
        "size(x.later) == 1",
        "string(x.later) == ''",
        "['a', x.later].join('') == ''",
        "x.?later.orValue(1) == 1",
        "x.later ? true : true",
        "{'a': x.later}.a == 1",
        "x.later",
        "has(x.maybe)",
        "'maybe' in x",
        "x.?maybe.hasValue()",
        "cel.bind(v, x.list, v[1] == 1)",
        "1 / 0 == 1 || x.later == 1",
    ],
)
def test_an_expression_that_depends_on_an_unknown_value_is_undecided(source: str) -> None:
    with pytest.raises(UndecidedError):
        value_of(source, VARIABLES)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("true || x.later == 1", True),
        ("x.later == 1 || true", True),
        ("false && x.later == 1", False),
        ("x.later == 1 && false", False),
        ("x.known == 1", True),
        ("x.map.known == 1", True),
        ("x.map == {'later': 1, 'known': 2}", False),
        ("x.map == {}", False),
        ("x.list == [4, 4]", False),
        ("x.list == [3]", False),
        ("3 in x.list", True),
        ("x.list.exists(i, i == 3)", True),
        ("x.list.all(i, i == 4)", False),
        ("x.list.size()", 2),
        ("has(x.later)", True),
        ("has(x.map.later)", True),
        ("has(x.nothing)", False),
        ("x.?nothing.orValue(1)", 1),
        ("x.map.exists(k, k == 'known')", True),
    ],
)
def test_an_expression_that_is_decided_anyway_has_its_value(source: str, value: Any) -> None:
    assert value_of(source, VARIABLES) == value


def test_an_undecided_evaluation_names_the_source_of_the_value() -> None:
    with pytest.raises(UndecidedError) as error:
        value_of("x.later == 1", VARIABLES)
    assert error.value.source == "${VectorStore/a}"
