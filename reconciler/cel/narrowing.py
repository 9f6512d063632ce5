"""Finds macros over resources that only concern one kind, so that an index can serve them.

`resources.exists(r, r.kind == "K" && …)` is false for every other kind, whatever the rest is,
because `false && error` is false. The same holds for `filter` and, with the opposite operators,
for `all`.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from reconciler.cel.nodes import (
    All,
    Any_,
    Comprehension,
    Constant,
    FunctionCall,
    Name,
    Node,
    Select,
    children,
)

_DECIDING = {"exists": "==", "filter": "==", "exists_one": "==", "all": "!="}
"""The comparison with a kind that decides the body of a macro for all other kinds."""


class Narrowing(Struct, frozen=True):
    """The items that decide a macro: those of a kind and, if given, of the project `project`."""

    kind: str
    project: Node | None


def narrowing_of(node: Comprehension) -> Narrowing | None:
    """How a macro can be narrowed; None if it cannot."""
    operator = _DECIDING.get(node.macro)
    if operator is None:
        return None
    kind, project = None, None
    for term in _terms(node.body, operator):
        compared = _compared(term, operator, node.variable)
        if compared is None:
            continue
        field, other = compared
        if field == "kind" and isinstance(other, Constant) and isinstance(other.value, str):
            kind = kind or other.value
        # Evaluated once before the macro, so it must not depend on the item.
        elif field == "project" and node.variable not in _names(other):
            project = project or other
    return Narrowing(kind, project) if kind is not None else None


def _terms(body: Node, operator: str) -> tuple[Node, ...]:
    """The terms that can each decide the body: of `&&` for `==`, of `||` for `!=`."""
    if operator == "==" and isinstance(body, All):
        return body.terms
    if operator == "!=" and isinstance(body, Any_):
        return body.terms
    return (body,)


def _compared(term: Node, operator: str, variable: str) -> tuple[str, Node] | None:
    """The field of the variable and the node that it is compared with."""
    if not isinstance(term, FunctionCall) or term.name != operator:
        return None
    for side, other in (term.arguments, term.arguments[::-1]):
        if (
            isinstance(side, Select)
            and not side.is_optional
            and not side.is_test
            and side.field in ("kind", "project")
            and isinstance(side.target, Name)
            and side.target.name == variable
        ):
            return side.field, other
    return None


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, Name):
        yield node.name
    for child in children(node):
        yield from _names(child)
