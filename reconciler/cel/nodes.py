"""The syntax tree of an expression. `at` is the offset of a node in the source."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Node(Struct, frozen=True):
    """Any part of an expression."""

    at: int


class Constant(Node, frozen=True):
    """A string, a number, a boolean or null."""

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
    """A function or an operator. A member call has its target first among the arguments."""

    name: str
    arguments: tuple[Node, ...]
    is_member: bool = False


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
    """`[a, b]`."""

    items: tuple[Node, ...]


class MapLiteral(Node, frozen=True):
    """`{key: value}`."""

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
            return tuple(part for pair in pairs for part in pair)
        case Comprehension():
            where = (node.where,) if node.where else ()
            return (node.target, *where, node.body)
    return ()
