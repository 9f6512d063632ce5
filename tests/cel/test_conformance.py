"""Claims about the language: expressions have the value that the reference implementation gives them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cel.reference import FAILED, ours, theirs

X: dict[str, Any] = {
    "a": 1,
    "b": [1, 2, 3],
    "s": "hello",
    "n": None,
    "f": 1.5,
    "m": {"k": "v"},
    "t": True,
}
VARIABLES = {"x": X, "y": [{"k": 1}, {"k": 2}]}

EXPRESSIONS = r"""
1 + 2 * 3
(1 + 2) * 3
-7 / 2
-7 % 3
7 / 0
7 % 0
1.5 + 1
1.0 / 0.0
x.a == 1.0
x.a == true
x.t == 1
x.s + " you"
x.b + [4]
x.b[1]
x.b[5]
x.b[-1]
x.b[1.0]
x.m["k"]
x["a"]
x.nope
x.n.nope
has(x.nope)
has(x.n)
has(x.m.k)
has(x.nope.k)
x.n == null
x.?nope.orValue(3)
x.?m.?k.orValue("z")
x.?m.k.orValue("z")
x[?"q"].hasValue()
x.b[?7].orValue(9)
x.?a.value()
x.?nope.value()
1 in x.b
1.0 in x.b
"k" in x.m
4 in x.b
"a" in "abc"
x.b.all(i, i > 0)
x.b.exists(i, i / (i - 2) > 10 || i == 3)
x.b.exists(i, 1 / (i - 1) == 5)
x.b.exists(i, 1 / (i - 1) == 1)
x.b.all(i, 1 / (i - 1) == 5 && i > 1)
x.b.all(i, 1 / (i - 1) == 1)
x.b.exists_one(i, i == 2)
x.b.exists_one(i, i > 1)
x.b.filter(i, i > 1)
x.b.map(i, i * 2)
x.b.map(i, i > 1, i * 2)
x.m.exists(k, k == "k")
x.b.map(i, x.b.map(j, i * j))
x.b.exists(x, x == 1)
x.b.exists(i, i)
x.s.exists(i, true)
x.nope || true
true || x.nope
x.nope && false
false && x.nope
x.nope || false
x.nope && true
1 || true
false || 1
x.a > 0 ? "p" : "n"
x.a ? 1 : 2
x.t ? x.nope : 1
size(x.s)
x.s.size()
size(x.b) + size(x.m)
size(3)
x.s.startsWith("he")
x.s.endsWith("lo")
x.s.contains("ell")
x.s.matches("^h.*o$")
matches(x.s, "l+")
x.s.matches("(")
x.s.upperAscii()
"ÄBC".lowerAscii()
" a b ".trim()
"a,b,c".split(",")
"a,b,c".split(",", 2)
"a,b,c".split(",", 0)
["a", "b"].join("-")
["a", "b"].join()
[1].join()
x.s.replace("l", "L")
x.s.replace("l", "L", 1)
x.s.substring(1, 3)
x.s.substring(2)
x.s.substring(9)
x.s.indexOf("l")
x.s.indexOf("z")
int("42")
int("4x")
int(3.9)
int(-3.9)
int(true)
double("1.5")
double(3)
string(1.0)
string(1.5)
string(true)
string(-3)
string([1])
bool("true")
bool("maybe")
type(x.a) == int
type(x.s) == int
type(1) == type(2)
type("a") == string
type(null) == null_type
type([]) == list
type({}) == map
timestamp("2026-01-01T00:00:00Z") < timestamp("2026-01-02T00:00:00Z")
timestamp("2026-01-02T00:00:00Z") - timestamp("2026-01-01T00:00:00Z") == duration("24h")
timestamp("2026-01-01T00:00:00Z") + duration("24h") == timestamp("2026-01-02T00:00:00Z")
timestamp(0) == timestamp("1970-01-01T00:00:00Z")
timestamp("2026-01-01T02:00:00+02:00") == timestamp("2026-01-01T00:00:00Z")
timestamp("tomorrow")
string(timestamp(0))
string(duration("1h30m"))
int(timestamp("2026-01-01T00:00:00Z"))
timestamp("2026-03-05T10:11:12Z").getFullYear()
timestamp("2026-03-05T10:11:12Z").getMonth()
timestamp("2026-03-05T10:11:12Z").getDate()
timestamp("2026-03-05T10:11:12Z").getDayOfMonth()
timestamp("2026-03-05T10:11:12Z").getDayOfWeek()
timestamp("2026-03-05T10:11:12Z").getDayOfYear()
timestamp("2026-03-05T10:11:12Z").getHours()
duration("90m").getHours()
duration("90m").getMinutes()
duration("90m").getSeconds()
duration("-1h") < duration("0s")
duration("1x")
math.greatest(1, 5, 3)
math.greatest([1, 5, 3])
math.least(1, 2)
cel.bind(v, 3, v * v)
cel.bind(v, x.b, v.map(i, i + v.size()))
{"a": 1}["a"]
{"a": 1}.a
{"a": 1, "a": 2}
{1: 2}[1]
dyn([1, 2]) == [1.0, 2.0]
[1, [2]] == [1, [2]]
x.b == [1, 2, 3, 4]
x == x
x.m == {"k": "v"}
"abc" < "abd"
"a" < x.a
x.a < "a"
true < false
x.a < 2.5
x.f > 1
x.f >= 1.5
!x.t
!!x.t
!x.a
--x.a
-x.a
-x.s
9223372036854775807 + 1
-9223372036854775808
9223372036854775808
9223372036854775807 * 2
0x1F
1e3
.5
y.map(e, e.k)
y.exists(e, e.k == 2)
y[0].k
null
[]
{}
"a\tb" == "a	b"
r"a\d" == "a\\d"
'''tri'ple'''
"\u00e9\x41\101" == "éAA"
"é".size()
"\q"
x.m.k == "v" ? 1 : true ? 2 : 3
optional.of(1).orValue(2)
optional.none().hasValue()
dyn(1) == 1
1 == 1 == true
1 +
foo
x.s.nope()
nope(1)
size()
has(x)
x.b.all(1, true)
if
for
x..a
"unclosed
x = 1
x.b.all(i)
(1
[1, 2
{"a" 1}
""".strip("\n").split("\n")


@pytest.mark.parametrize("source", EXPRESSIONS)
def test_an_expression_has_the_value_of_the_reference(source: str) -> None:
    assert ours(source, VARIABLES) == theirs(source, VARIABLES)


def test_most_of_these_expressions_have_a_value() -> None:
    values = [ours(source, VARIABLES) for source in EXPRESSIONS]
    assert values.count(FAILED) < len(values) / 3


ATOMS = st.sampled_from(
    ["x.a", "x.nope", "x.t", "x.b", "x.s", "x.n", "x.f", "1", "2", "true", "false", '"v"', "x.m.k"]
)


def _larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["&&", "||", "==", "!=", "+", "<", "in"])
    return st.one_of(
        st.builds("(dyn({}) {} dyn({}))".format, parts, binary, parts),
        st.builds("(!dyn({}))".format, parts),
        st.builds("(dyn({}) ? dyn({}) : dyn({}))".format, parts, parts, parts),
        st.builds("dyn([{}, {}])".format, parts, parts),
        st.builds("x.b.exists(i, dyn({}) == i || dyn({}))".format, parts, parts),
        st.builds("x.b.all(i, dyn({}) != i && dyn({}))".format, parts, parts),
    )


@given(st.recursive(ATOMS, _larger, max_leaves=8))
@settings(max_examples=150, deadline=None)
def test_any_expression_has_the_value_of_the_reference(source: str) -> None:
    assert ours(f"dyn({source})", VARIABLES) == theirs(f"dyn({source})", VARIABLES)
