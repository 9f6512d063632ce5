"""Finds misspelled kinds and fields in policies, before they are evaluated.

A rule over a field that no resource has would be an error for every resource, or, behind `has()`,
silently false.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from reconciler.cel.errors import ExpressionError
from reconciler.cel.lexer import problem
from reconciler.cel.nodes import Comprehension, Name, Node, Select, children
from reconciler.model.diagnostic import Diagnostic, nearest
from reconciler.model.kind import Kind
from reconciler.policies.declared import Policy
from reconciler.policies.subjects import CHANGE_FIELDS, RESOURCE_FIELDS
from reconciler.rules.policy import located

_LISTS = ("resources",)
_MOST_LISTED = 12


def field_problems(policy: Policy, kinds: Mapping[str, Kind]) -> Iterator[Diagnostic]:
    """An error for each kind, field of a resource, and field of a spec that does not exist."""
    for index, kind in enumerate(sorted(policy.match.kinds)):
        if kind not in kinds:
            detail = f'There is no kind "{kind}".{nearest(kind, kinds)}'
            yield _error(policy, "Unknown kind", detail, "match.kinds", index)
    own = policy.match.kinds & kinds.keys()
    fields: set[str] = set()
    for name in own or kinds:
        fields.update(field.name for field in kinds[name].fields)
    for part, program in (("rule", policy.rule), ("message", policy.message)):
        if program is None:
            continue
        for error in _unknown_fields(program.source, program.tree, fields, own):
            detail = located(program.source, error)
            yield _error(policy, f"Unknown field in the {part}", detail, part)


def _error(
    policy: Policy, summary: str, detail: str, path: str, index: int | None = None
) -> Diagnostic:
    location = policy.locations.get(path) or policy.location
    if index is not None:
        location = policy.locations.get(f"{path}[{index}]") or location
    return Diagnostic(summary, detail, address=policy.address, location=location)


def _unknown_fields(
    source: str, tree: Node, fields: Collection[str], kinds: Collection[str]
) -> Iterator[ExpressionError]:
    # A macro comes before its body, so the variable is known when its fields are checked.
    elements: set[str] = set()
    for node in _walk(tree):
        if isinstance(node, Comprehension) and _is_list_of_resources(node.target):
            elements.add(node.variable)
        # `.?field` says that the field may not exist.
        if not isinstance(node, Select) or node.is_optional:
            continue
        target = node.target
        if isinstance(target, Name):
            known: Collection[str] = ()
            if target.name == "resource" or target.name in elements:
                known = RESOURCE_FIELDS
            elif target.name == "change":
                known = CHANGE_FIELDS
            if known and node.field not in known:
                yield _problem(source, node, f'{target.name} has no field "{node.field}"', known)
        elif _is_own_spec(target) and node.field not in fields:
            message = f'no kind has a field "{node.field}"'
            if kinds:
                message = f'{" or ".join(sorted(kinds))} has no field "{node.field}"'
            yield _problem(source, node, message, fields)


def _problem(source: str, node: Select, message: str, known: Collection[str]) -> ExpressionError:
    hint = nearest(node.field, known)
    if not hint and len(known) <= _MOST_LISTED:
        message = f"{message} (it has {', '.join(known)})"
    return problem(source, node.at, f"{message}.{hint}".rstrip("."))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _walk(child)


def _is_list_of_resources(node: Node) -> bool:
    """Whether a macro visits resources: `resources` itself, or a filter of it."""
    while isinstance(node, Comprehension) and node.macro == "filter":
        node = node.target
    return isinstance(node, Name) and node.name in _LISTS


def _is_own_spec(node: Node) -> bool:
    return (
        isinstance(node, Select)
        and node.field == "spec"
        and isinstance(node.target, Name)
        and node.target.name == "resource"
    )
