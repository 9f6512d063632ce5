"""The syntax tree of an expression."""

from __future__ import annotations

from itertools import chain
from typing import Any

from msgspec import Struct


class Node(Struct, frozen=True):
    """Any part of an expression."""

    at: int
    """The offset in the source, for error messages."""


class Constant(Node, frozen=True):
    """A literal string, number, boolean or null."""

    value: Any


class Name(Node, frozen=True):
    """A variable."""

    name: str


class Select(Node, frozen=True):
    """`target.field`, `target.?field` if optional, `has(target.field)` if a test."""

    target: Node
    field: str
    is_optional: bool = False
    is_test: bool = False


class Index(Node, frozen=True):
    """`target[key]`, or `target[?key]` if optional."""

    target: Node
    key: Node
    is_optional: bool = False


class FunctionCall(Node, frozen=True):
    """`name(argument, …)`, `target.name(argument, …)`, or an operator with its operands."""

    name: str
    """The function or the operator. `-_` is the sign, `@in` is `in`."""
    arguments: tuple[Node, ...]
    """The arguments, after the target of a member call."""
    is_member: bool = False


# A series is one node, not nested pairs, so that its length does not add to the depth of the tree.


class All(Node, frozen=True):
    """`a && b && …`."""

    terms: tuple[Node, ...]


class Any_(Node, frozen=True):  # noqa: N801 - `Any` is a type
    """`a || b || …`."""

    terms: tuple[Node, ...]


class Condition(Node, frozen=True):
    """`test ? then : otherwise`."""

    test: Node
    then: Node
    otherwise: Node


class ListLiteral(Node, frozen=True):
    """`[a, b]`. The items are any expressions."""

    items: tuple[Node, ...]


class MapLiteral(Node, frozen=True):
    """`{key: value}`. Keys and values are any expressions."""

    pairs: tuple[tuple[Node, Node], ...]


class Comprehension(Node, frozen=True):
    """`target.all(variable, body)` and the other macros.

    `where` is the condition of `map` with three arguments. For `cel.bind`, `target` is the value.
    """

    macro: str
    target: Node
    variable: str
    body: Node
    where: Node | None = None


def children(node: Node) -> tuple[Node, ...]:
    """The direct parts of a node, in the order of the source."""
    match node:
        case Select(target=target):
            return (target,)
        case Index(target=target, key=key):
            return (target, key)
        case (
            FunctionCall(arguments=parts)
            | All(terms=parts)
            | Any_(terms=parts)
            | ListLiteral(items=parts)
        ):
            return parts
        case Condition():
            return (node.test, node.then, node.otherwise)
        case MapLiteral(pairs=pairs):
            return tuple(chain.from_iterable(pairs))
        case Comprehension():
            if node.where is None:
                return (node.target, node.body)
            return (node.target, node.where, node.body)
    return ()
