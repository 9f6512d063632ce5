"""Checks what no schema can express about a single resource.

These are limits across fields, reserved names, and paths of fields that must exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.manifests.destinations import targets_in
from reconciler.manifests.key_checks import key_problems
from reconciler.manifests.paths import relative
from reconciler.manifests.problems import ValueProblem
from reconciler.manifests.references import AddressIndex, unknown_part
from reconciler.manifests.validate import SchemaViolation
from reconciler.model.address import Address
from reconciler.model.diagnostic import Severity, nearest
from reconciler.model.kind import Declaration
from reconciler.model.paths import Trail, undotted
from reconciler.model.resource import IGNORE_ALL, OUR_KEYS, Resource
from reconciler.model.rule import Rule
from reconciler.model.types import FileSetType, KeySinkType
from reconciler.model.values import Spec

RESERVED_ATTRIBUTES = ("reconciler_path", "reconciler_sha256")
MAX_PAIRS = 16


def check_resource(
    resource: Resource, declared: AddressIndex, written: Mapping[str, Any]
) -> Iterator[SchemaViolation]:
    """Problems of one resource. `written` is its spec before files replaced paths."""
    yield from _mark(resource)
    yield from _shape(resource.kind, resource.spec)
    yield from _ignored_paths(resource)
    if resource.lifecycle.renamed_from is not None:
        yield from _renamed(resource, resource.lifecycle.renamed_from, declared)
    for field in resource.kind.own_calls:
        value = written.get(field.name)
        if isinstance(field.type, FileSetType) and isinstance(value, list):
            for index, member in enumerate(value):
                if isinstance(member, dict):
                    yield from _member(member, ("spec", field.name, index))
        elif isinstance(field.type, KeySinkType) and isinstance(value, dict):
            yield from key_problems(resource, field.name, value)
            for trail, target in targets_in(value):
                yield from _file(target.get("file"), ("spec", field.name, *trail))


def check_rule(rule: Rule, written: Spec) -> Iterator[SchemaViolation]:
    """Problems of one rule. `written` is its spec before files replaced paths."""
    violations = list(_shape(rule.kind, written))
    if violations:
        yield from violations
        return
    # Only of a spec with one form, because these checks read its fields.
    for problem in rule.kind.problems(written):
        trail = ("spec", *problem.trail)
        yield SchemaViolation(trail, problem.summary, problem.detail, at_key=problem.at_key)


def _mark(resource: Resource) -> Iterator[SchemaViolation]:
    """Problems with the metadata that also holds the ownership mark."""
    name = resource.kind.mark
    if name is None:
        return
    pairs = resource.spec.get(name)
    if not isinstance(pairs, Mapping):
        return
    for key in sorted(OUR_KEYS.intersection(pairs)):
        detail = f'reconciler stores the owner of an object in "{key}": choose another key.'
        yield SchemaViolation(("spec", name, key), "Reserved key", detail, at_key=True)
    # A warning, since the object works without a mark.
    if len(pairs) == MAX_PAIRS:
        detail = (
            f"All {MAX_PAIRS} pairs are used, so there is no room for the ownership mark: "
            "if the state is lost, the object cannot be found again."
        )
        yield SchemaViolation(
            ("spec", name), "No room for the mark", detail, at_key=True, severity=Severity.WARNING
        )


def _shape(kind: Declaration, spec: Spec) -> Iterator[SchemaViolation]:
    """A spec must have exactly one form, with the fields that it needs and none of another form."""
    shapes = kind.shapes
    shape = next((form for form in shapes if form.fits(spec)), None)
    if shape is None:
        names: list[str] = []
        for form in shapes:
            if form.when is None:
                names += form.needs
        needed = " or ".join(f'"{name}"' for name in names)
        if needed:
            yield SchemaViolation(
                ("spec",), f"Missing {needed}", "spec requires one of them.", at_key=True
            )
        return
    selector = f'"{shape.needs[0]}"'
    if shape.when:
        selector = f"{shape.when[0]}: {shape.when[1]}"
    for name in shape.needs:
        if spec.get(name) is None:
            yield SchemaViolation(
                ("spec",),
                f'Missing "{name}"',
                f"spec requires it together with {selector}.",
                at_key=True,
            )
    # A field that no form mentions belongs to all of them.
    others: set[str] = set()
    for form in shapes:
        others.update(form.needs, form.takes)
    others.difference_update(shape.needs, shape.takes)
    for name in spec:
        if name in others and spec[name] is not None:
            yield SchemaViolation(
                ("spec", name),
                "Fields cannot be combined",
                f'"{name}" cannot be combined with {selector}.',
                at_key=True,
            )


def _ignored_paths(resource: Resource) -> Iterator[SchemaViolation]:
    for index, path in enumerate(resource.lifecycle.ignore_changes):
        if path == IGNORE_ALL:
            continue
        # A misspelled path would ignore nothing, and apply would reset the field.
        trail: Trail = ("lifecycle", "ignore_changes", index)
        try:
            name, *below = undotted(path)
        except ValueError as error:
            yield SchemaViolation(trail, "Invalid path", f"{error}.")
            continue
        field = resource.kind.by_name.get(str(name))
        if field is None:
            guess = nearest(str(name), resource.kind.by_name)
            yield SchemaViolation(
                trail, f'Unknown field "{name}"', f"{resource.kind.name} has no such field.{guess}"
            )
        elif wrong := unknown_part(field.type, below):
            yield SchemaViolation(
                trail, f'Unknown field "{wrong}"', f'"{path}": {name} has nothing at "{wrong}".'
            )


def _renamed(
    resource: Resource, earlier: Address, declared: AddressIndex
) -> Iterator[SchemaViolation]:
    # A declared address has an object of its own, which the rename would take away.
    if earlier in declared:
        reason = "is this resource itself" if earlier == resource.address else "is still declared"
        yield SchemaViolation(
            ("lifecycle", "renamed_from"), "Invalid earlier address", f"{earlier} {reason}."
        )


def _member(member: Mapping[str, Any], trail: Trail) -> Iterator[SchemaViolation]:
    attributes = member.get("attributes")
    for name in RESERVED_ATTRIBUTES:
        if isinstance(attributes, Mapping) and name in attributes:
            detail = f'reconciler stores the source of a file in "{name}": choose another key.'
            yield SchemaViolation((*trail, "attributes", name), "Reserved key", detail, at_key=True)
    chunking = member.get("chunking_strategy")
    if not isinstance(chunking, Mapping):
        return
    static = chunking.get("static")
    if not isinstance(static, Mapping):
        return
    size, overlap = static.get("max_chunk_size_tokens"), static.get("chunk_overlap_tokens")
    if isinstance(size, int) and isinstance(overlap, int) and overlap * 2 > size:
        detail = f"chunk_overlap_tokens is {overlap}; the maximum is half of max_chunk_size_tokens: {size // 2}."
        yield SchemaViolation(
            (*trail, "chunking_strategy", "static", "chunk_overlap_tokens"), "Out of range", detail
        )


def _file(path: Any, trail: Trail) -> Iterator[SchemaViolation]:
    if not isinstance(path, str):
        return
    try:
        relative(path)
    except ValueProblem as problem:
        yield SchemaViolation(trail, problem.summary, problem.detail)
        return
    # `relative` shortens a/../b to b, but the operating system follows a, which can be a link.
    if ".." in path.replace("\\", "/").split("/"):
        yield SchemaViolation(
            trail, "Path outside the stack", f'"{path}" contains "..": write the path without it.'
        )
