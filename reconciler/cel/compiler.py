"""Compiles a syntax tree into nested Python functions, which are evaluated many times.

An evaluation can end without a value: with an error, because a value is not known yet, or because
the budget is used up. `&&`, `||` and the macros built on them are symmetric: an operand that decides
the result does so whatever the other operands are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from reconciler.cel import functions
from reconciler.cel.budget import Budget
from reconciler.cel.errors import BudgetError, EvaluationError, ExpressionError, UndecidedError
from reconciler.cel.functions import FUNCTIONS
from reconciler.cel.indexed import IndexedList
from reconciler.cel.lexer import problem
from reconciler.cel.narrowing import Narrowing, narrowing_of
from reconciler.cel.nodes import (
    All,
    Any_,
    Comprehension,
    Condition,
    Constant,
    FunctionCall,
    Index,
    ListLiteral,
    MapLiteral,
    Name,
    Node,
    Select,
    children,
)
from reconciler.cel.parser import parse
from reconciler.cel.values import (
    NONE,
    TYPES,
    Later,
    Optional,
    TypeName,
    contains,
    equal,
    has_key,
    known,
    shown_type,
)
from reconciler.model.diagnostic import nearest

Scope = dict[str, Any]
"""The variables of an evaluation; `BUDGET` is one of them."""
Code = Callable[[Scope], Any]

BUDGET = "$budget"
_ABSORBED = (EvaluationError, UndecidedError)


class Program(Struct, frozen=True):
    """A compiled expression. `cost` is the number of steps of an evaluation without macros."""

    source: str
    tree: Node
    code: Code
    cost: int
    names: frozenset[str]
    """The variables that it reads."""

    def evaluate(self, scope: Scope, budget: Budget) -> Any:
        """The value for some variables.

        Raises EvaluationError, UndecidedError and BudgetError.
        """
        return self.prepared(scope, budget)(scope)

    def prepared(self, scope: Scope, budget: Budget) -> Code:
        """The evaluation for a scope whose variables change, with a budget for all of them."""
        scope[BUDGET] = budget
        # Local names, because a policy is evaluated for up to millions of resources.
        begin, cost, code = budget.begin, self.cost, self.code

        def evaluate(scope: Scope) -> Any:
            # The nodes outside of macros are paid for at once, instead of one by one.
            begin(cost)
            try:
                value = code(scope)
            except RecursionError:
                raise BudgetError("the values are nested too deeply") from None
            if type(value) is Later:
                raise UndecidedError(value.source)
            return value

        return evaluate


def compile_expression(source: str, variables: Mapping[str, Any]) -> Program:
    """Compile an expression over some variables. Raises ExpressionError."""
    tree = parse(source)
    try:
        compiler = _Compiler(source, frozenset(variables))
        code = compiler.code(tree, {})
        return Program(source, tree, code, _cost(tree), frozenset(compiler.used))
    except RecursionError:
        raise problem(source, 0, "the expression is nested too deeply") from None


def _cost(node: Node) -> int:
    """The number of nodes, without the bodies of macros, which are paid for per item."""
    # The body of cel.bind is evaluated once, like any other node.
    if isinstance(node, Comprehension) and node.macro != "bind":
        return 1 + _cost(node.target)
    return 1 + sum(map(_cost, children(node)))


class _Compiler:
    """Compiles the nodes of one expression.

    `names` maps the variables of enclosing macros to their slots, which are keys of the scope.
    """

    def __init__(self, source: str, variables: frozenset[str]) -> None:
        self._source = source
        self._variables = variables
        self._slots = itertools.count()
        self.used: set[str] = set()

    def code(self, node: Node, names: Mapping[str, str]) -> Code:
        """The function that evaluates a node."""
        match node:
            case Constant(value=value):
                return lambda _: value
            case Name():
                return self._name(node, names)
            case Select():
                return self._select(node, names)
            case Index():
                return self._index(node, names)
            case All(terms=terms):
                return _logical([self._logical_term(term, names) for term in terms], decides=False)
            case Any_(terms=terms):
                return _logical([self._logical_term(term, names) for term in terms], decides=True)
            case Condition():
                return self._condition(node, names)
            case ListLiteral(items=items):
                return _list([self.code(item, names) for item in items])
            case MapLiteral(pairs=pairs):
                codes = [(self.code(key, names), self.code(value, names)) for key, value in pairs]
                return _map(codes)
            case Comprehension():
                return self._comprehension(node, names)
            case FunctionCall():
                return self._call(node, names)
        raise TypeError(type(node).__name__)

    def _problem(self, node: Node, message: str) -> ExpressionError:
        return problem(self._source, node.at, message)

    def _slot(self, node: Name, names: Mapping[str, str]) -> str | None:
        if node.name in names:
            return names[node.name]
        if node.name in self._variables:
            self.used.add(node.name)
            return node.name
        if node.name in TYPES:
            return None
        hint = nearest(node.name, (*names, *self._variables))
        if not hint:
            hint = f" The variables are {', '.join(sorted(self._variables))}"
        raise self._problem(node, f'unknown variable "{node.name}".{hint}')

    def _name(self, node: Name, names: Mapping[str, str]) -> Code:
        slot = self._slot(node, names)
        if slot is None:
            type_name = TypeName(node.name)
            return lambda _: type_name

        def read(scope: Scope) -> Any:
            value = scope[slot]
            if type(value) is Later:
                raise UndecidedError(value.source)
            return value

        return read

    def _select(self, node: Select, names: Mapping[str, str]) -> Code:
        field = node.field
        if node.is_test:
            return _test(self.code(node.target, names), field)
        if node.is_optional:
            return _optional(self.code(node.target, names), lambda _: field)
        fields, root = _path(node)
        if isinstance(root, Name):
            slot = self._slot(root, names)
            if slot is not None:
                return _variable_path(slot, fields)
        return _value_path(self.code(root, names), fields)

    def _index(self, node: Index, names: Mapping[str, str]) -> Code:
        target, key = self.code(node.target, names), self.code(node.key, names)
        if node.is_optional:
            return _optional(target, key)
        return lambda scope: _item(target(scope), key(scope))

    def _logical_term(self, node: Node, names: Mapping[str, str]) -> Code:
        # Found at compile time, because no evaluation would reach it if another operand decides.
        if isinstance(node, Constant) and not isinstance(node.value, bool):
            raise self._problem(node, "&& and || need booleans on both sides")
        return self.code(node, names)

    def _condition(self, node: Condition, names: Mapping[str, str]) -> Code:
        test, then = self.code(node.test, names), self.code(node.then, names)
        otherwise = self.code(node.otherwise, names)

        def choose(scope: Scope) -> Any:
            chosen = test(scope)
            if chosen is True:
                return then(scope)
            if chosen is False:
                return otherwise(scope)
            raise EvaluationError(f"a condition needs a boolean, not {shown_type(chosen)}")

        return choose

    def _comprehension(self, node: Comprehension, names: Mapping[str, str]) -> Code:
        target = self.code(node.target, names)
        # A slot of its own, since macros can nest and reuse the name of a variable.
        slot = f"${next(self._slots)}"
        inner = {**names, node.variable: slot}
        body = self.code(node.body, inner)
        if node.macro == "bind":
            return _bind(target, slot, body)
        narrowing = narrowing_of(node)
        items = _items(target, narrowing, self._narrowed_project(narrowing, names))
        cost = 1 + _cost(node.body)
        where = None
        if node.where is not None:
            where = self.code(node.where, inner)
            cost += _cost(node.where)
        return _MACROS[node.macro](items, slot, body, where, cost)

    def _narrowed_project(
        self, narrowing: Narrowing | None, names: Mapping[str, str]
    ) -> Code | None:
        if narrowing is None or narrowing.project is None:
            return None
        return self.code(narrowing.project, names)

    def _call(self, node: FunctionCall, names: Mapping[str, str]) -> Code:
        arguments = [self.code(argument, names) for argument in node.arguments]
        if node.name in _OPERATORS:
            return _OPERATORS[node.name](node, arguments)
        function = FUNCTIONS.get(node.name)
        if function is None:
            detail = f'unknown function "{node.name}".{nearest(node.name, FUNCTIONS)}'
            raise self._problem(node, detail.rstrip("."))
        self._check_call(node, function)
        return _function(function.call, arguments)

    def _check_call(self, node: FunctionCall, function: functions.Function) -> None:
        if node.is_member and function.style == "global":
            raise self._problem(node, f"write {node.name}(…) instead of ….{node.name}()")
        if not node.is_member and function.style == "member":
            raise self._problem(node, f"write ….{node.name}(…) instead of {node.name}(…)")
        if not function.least <= len(node.arguments) <= function.most:
            given = len(node.arguments) - node.is_member
            raise self._problem(node, f"{node.name} does not take {given} arguments")


# --- fields and items


def _path(node: Select) -> tuple[tuple[str, ...], Node]:
    """The fields of `a.b.c` and the node that they start from."""
    fields: list[str] = []
    root: Node = node
    while isinstance(root, Select) and not root.is_optional and not root.is_test:
        fields.append(root.field)
        root = root.target
    return tuple(reversed(fields)), root


def _variable_path(slot: str, fields: tuple[str, ...]) -> Code:
    """Reads `variable.field…`, the most frequent kind of node."""

    def read(scope: Scope) -> Any:
        value = scope[slot]
        # Without checks of types: a text subscript fails for everything but a map, and then the
        # slow path finds the reason.
        try:
            for field in fields:
                value = value[field]
        except (KeyError, TypeError):
            return _slow_path(scope[slot], fields)
        if type(value) is Later:
            raise UndecidedError(value.source)
        return value

    return read


def _value_path(root: Code, fields: tuple[str, ...]) -> Code:
    return lambda scope: _slow_path(root(scope), fields)


def _slow_path(value: Any, fields: tuple[str, ...]) -> Any:
    """The value at a path. Raises EvaluationError with the field that does not exist."""
    for field in fields:
        value = _field(value, field)
    if type(value) is Later:
        raise UndecidedError(value.source)
    return value


def _field(value: Any, field: str) -> Any:
    if type(value) is Later:
        raise UndecidedError(value.source)
    if isinstance(value, Optional):
        return _optional_field(value, field)
    if not isinstance(value, Mapping):
        raise EvaluationError(f'{shown_type(value)} has no field "{field}"')
    if field not in value:
        hint = nearest(field, map(str, value))
        raise EvaluationError(
            f'there is no "{field}" here; test it with has(…) or write .?{field}.{hint}'
        )
    return value[field]


def _optional_field(value: Optional, key: Any) -> Optional:
    if not value.has_value:
        return NONE
    inner = value.value
    if type(inner) is Later:
        raise UndecidedError(inner.source)
    if isinstance(inner, Mapping) and isinstance(key, str | int):
        return Optional(inner[key]) if key in inner else NONE
    if isinstance(inner, list) and type(key) is int:
        return Optional(inner[key]) if 0 <= key < len(inner) else NONE
    # Unlike in CEL, no error: the API answers null for an object that is not set.
    if inner is None:
        return NONE
    raise EvaluationError(f'{shown_type(inner)} has no field "{key}"')


def _optional(target: Code, key: Code) -> Code:
    def read(scope: Scope) -> Any:
        value = target(scope)
        whole = value if isinstance(value, Optional) else Optional(value)
        return _optional_field(whole, key(scope))

    return read


def _test(target: Code, field: str) -> Code:
    def test(scope: Scope) -> bool:
        value = target(scope)
        if isinstance(value, Optional):
            return _optional_field(value, field).has_value
        if not isinstance(value, Mapping):
            raise EvaluationError(f'{shown_type(value)} has no field "{field}"')
        return has_key(value, field)

    return test


def _item(value: Any, key: Any) -> Any:
    if isinstance(value, Optional):
        return _optional_field(value, key)
    if isinstance(value, list) and isinstance(key, int | float) and not isinstance(key, bool):
        if key != int(key) or not 0 <= key < len(value):
            raise EvaluationError(f"the list has no item {key}: it has {len(value):,}")
        return known(value[int(key)])
    if isinstance(value, Mapping) and isinstance(key, str | int):
        if key not in value:
            raise EvaluationError(f"the map has no key {str(key)[:80]!r}")
        return known(value[key])
    raise EvaluationError(f"{shown_type(value)} has no items by {shown_type(key)}")


# --- operators and functions


def _logical(terms: list[Code], *, decides: bool) -> Code:
    """`&&` or `||`: a term with the value `decides` decides."""
    needs = "|| needs booleans" if decides else "&& needs booleans"
    return lambda scope: _decided(terms, scope, decides=decides, needs=needs)


def _decided(codes: Iterable[Code], scope: Scope, *, decides: bool, needs: str) -> bool:
    """The value of the first code that evaluates to `decides`, else the opposite.

    A failure counts only if no other code decides: `false && (1 / 0 > 1)` is false. `needs` begins
    the message about a value that is no boolean.
    """
    failure: Exception | None = None
    for code in codes:
        try:
            value = code(scope)
        except _ABSORBED as error:
            failure = _graver(failure, error)
            continue
        if not isinstance(value, bool):
            failure = _graver(failure, EvaluationError(f"{needs}, not {shown_type(value)}"))
        elif value is decides:
            return decides
    if failure is not None:
        raise failure
    return not decides


def _graver(first: Exception | None, second: Exception) -> Exception:
    """The failure to raise for two operands."""
    # A value that is not known yet can still decide the result, and then the error does not matter.
    if isinstance(first, UndecidedError):
        return first
    return second


def _list(items: list[Code]) -> Code:
    return lambda scope: [item(scope) for item in items]


def _map(codes: list[tuple[Code, Code]]) -> Code:
    def evaluate(scope: Scope) -> dict[Any, Any]:
        entries: dict[Any, Any] = {}
        for key_code, value_code in codes:
            key = key_code(scope)
            if not isinstance(key, str | int) or key in entries:
                raise EvaluationError("the keys of a map are distinct texts or integers")
            entries[key] = value_code(scope)
        return entries

    return evaluate


def _function(call: functions.Implementation, arguments: list[Code]) -> Code:
    return lambda scope: call(scope[BUDGET], *[argument(scope) for argument in arguments])


def _equality(node: FunctionCall, arguments: list[Code]) -> Code:
    left, right = arguments
    is_equal = node.name == "=="
    operand = node.arguments[1]
    # The usual form, such as resource.kind == "Project", needs no general comparison.
    if isinstance(operand, Constant):
        return _equals_constant(left, operand.value, is_equal=is_equal)
    return lambda scope: equal(left(scope), right(scope), scope[BUDGET].spend) is is_equal


def _equals_constant(left: Code, constant: Any, *, is_equal: bool) -> Code:
    constant_type = type(constant)

    def compare(scope: Scope) -> bool:
        value = left(scope)
        if type(value) is constant_type:
            return (value == constant) is is_equal
        return equal(value, constant, scope[BUDGET].spend) is is_equal

    return compare


def _ordering(node: FunctionCall, arguments: list[Code]) -> Code:
    left, right = arguments
    name = node.name
    compare = _COMPARE[name]

    def evaluate(scope: Scope) -> bool:
        first, second = left(scope), right(scope)
        if type(first) is not type(second) or type(first) not in (int, str):
            first, second = functions.order(name, first, second)
        return compare(first, second)

    return evaluate


_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def _membership(node: FunctionCall, arguments: list[Code]) -> Code:
    item, container = arguments
    texts = _texts_of(node.arguments[1])
    if texts is not None:
        return _in_texts(item, texts)
    return lambda scope: contains(item(scope), container(scope), scope[BUDGET].spend)


def _texts_of(node: Node) -> frozenset[str] | None:
    """The items of a list literal of constant texts; None for any other node."""
    if not isinstance(node, ListLiteral):
        return None
    texts = set()
    for item in node.items:
        if not isinstance(item, Constant) or not isinstance(item.value, str):
            return None
        texts.add(item.value)
    return frozenset(texts)


def _in_texts(item: Code, texts: frozenset[str]) -> Code:
    def test(scope: Scope) -> bool:
        value = item(scope)
        return isinstance(value, str) and not isinstance(value, TypeName) and value in texts

    return test


def _negation(_: FunctionCall, arguments: list[Code]) -> Code:
    (operand,) = arguments

    def negate(scope: Scope) -> bool:
        value = operand(scope)
        if value is True:
            return False
        if value is False:
            return True
        raise EvaluationError(f"! needs a boolean, not {shown_type(value)}")

    return negate


def _operation(call: functions.Implementation) -> Callable[[FunctionCall, list[Code]], Code]:
    return lambda _, arguments: _function(call, arguments)


_OPERATORS: Mapping[str, Callable[[FunctionCall, list[Code]], Code]] = {
    "==": _equality,
    "!=": _equality,
    "<": _ordering,
    "<=": _ordering,
    ">": _ordering,
    ">=": _ordering,
    "@in": _membership,
    "!": _negation,
    "+": _operation(functions.add),
    "-": _operation(functions.subtract),
    "*": _operation(functions.multiply),
    "/": _operation(functions.divide),
    "%": _operation(functions.remainder),
    "-_": _operation(functions.negate),
}


# --- macros

Items = Callable[[Scope], list[Any]]


def _items(target: Code, narrowing: Narrowing | None, project: Code | None) -> Items:
    """The items that a macro visits: those of a list, or the keys of a map."""

    def visited(scope: Scope) -> list[Any]:
        value = target(scope)
        if narrowing is not None and type(value) is IndexedList:
            return _narrowed(value, narrowing, project, scope)
        if isinstance(value, Mapping):
            return list(value)
        if not isinstance(value, list):
            raise EvaluationError(f"a macro needs a list or a map, not {shown_type(value)}")
        return value

    return visited


def _narrowed(
    value: IndexedList, narrowing: Narrowing, project: Code | None, scope: Scope
) -> list[Any]:
    """The items for which the body can have another value than for all others."""
    if project is None:
        return value.of(narrowing.kind)
    try:
        name = project(scope)
    except _ABSORBED:
        return value.of(narrowing.kind)  # the body raises the same error where it matters
    return value.of(narrowing.kind, name)


def _bind(value: Code, slot: str, body: Code) -> Code:
    def evaluate(scope: Scope) -> Any:
        scope[slot] = value(scope)
        return body(scope)

    return evaluate


def _paid(scope: Scope, items: list[Any], cost: int) -> Iterator[Any]:
    """The items. Each block of them is paid for before it is visited."""
    # In blocks, because a call per item would cost as much as many bodies, and in no larger ones,
    # because a quantifier often ends early.
    spend = scope[BUDGET].spend
    for begin in range(0, len(items), 64):
        block = items[begin : begin + 64]
        spend(cost * len(block))
        yield from block


def _quantifier(
    items: Items, slot: str, body: Code, _: Code | None, cost: int, *, decides: bool
) -> Code:
    def bodies(scope: Scope) -> Iterator[Code]:
        for item in _paid(scope, items(scope), cost):
            scope[slot] = item
            yield body

    needs = "a macro needs a boolean"
    return lambda scope: _decided(bodies(scope), scope, decides=decides, needs=needs)


def _all(items: Items, slot: str, body: Code, where: Code | None, cost: int) -> Code:
    return _quantifier(items, slot, body, where, cost, decides=False)


def _exists(items: Items, slot: str, body: Code, where: Code | None, cost: int) -> Code:
    return _quantifier(items, slot, body, where, cost, decides=True)


def _chosen(code: Code, scope: Scope) -> bool:
    value = code(scope)
    if isinstance(value, bool):
        return value
    raise EvaluationError(f"a macro needs a boolean, not {shown_type(value)}")


def _exists_one(items: Items, slot: str, body: Code, _: Code | None, cost: int) -> Code:
    def evaluate(scope: Scope) -> bool:
        count = 0
        for item in _paid(scope, items(scope), cost):
            scope[slot] = item
            count += _chosen(body, scope)
        return count == 1

    return evaluate


def _filter(items: Items, slot: str, body: Code, _: Code | None, cost: int) -> Code:
    def evaluate(scope: Scope) -> list[Any]:
        kept = []
        for item in _paid(scope, items(scope), cost):
            scope[slot] = item
            if _chosen(body, scope):
                kept.append(item)
        return kept

    return evaluate


def _transform(items: Items, slot: str, body: Code, where: Code | None, cost: int) -> Code:
    def evaluate(scope: Scope) -> list[Any]:
        values = []
        for item in _paid(scope, items(scope), cost):
            scope[slot] = item
            if where is None or _chosen(where, scope):
                values.append(body(scope))
        return values

    return evaluate


_MACROS: Mapping[str, Callable[[Items, str, Code, Code | None, int], Code]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _transform,
}
