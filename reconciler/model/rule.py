"""Documents that declare no object: what should be so, told beside what should exist.

A rule is declared as a resource is, with a kind, a name, a spec, references and `for_each`. It is never created, so it
is no part of the state or of an export. What it is for is up to the command that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from msgspec import Struct, field

from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.kind import Declaration
from reconciler.model.paths import Trail
from reconciler.model.values import Spec, references_in


class RuleProblem(Struct, frozen=True):
    """Something wrong with a spec that no schema can say. `trail` begins below `spec`; `at_key` blames the key."""

    trail: Trail
    summary: str
    detail: str
    at_key: bool = False


def _none(spec: Spec) -> Iterable[RuleProblem]:  # noqa: ARG001 - the signature of every `flaws`
    return ()


class RuleKind(Declaration, frozen=True, kw_only=True):
    """One kind of rule. `flaws` finds what is wrong with a spec, offline and before references have values.

    What rules of a kind that `removes` match is deleted by plans, so that what they say is part of what is approved.
    """

    problems: Callable[[Spec], Iterable[RuleProblem]] = _none
    removes: bool = False


class Rule(Struct, frozen=True, dict=True):
    """One document, expanded and resolved as far as the manifests alone allow; `spec` may hold references."""

    address: Address
    kind: RuleKind
    spec: Spec
    location: SourceLocation | None = None
    locations: Mapping[str, SourceLocation] = field(default_factory=dict)

    @cached_property
    def references(self) -> frozenset[Address]:
        """The addresses that the spec refers to."""
        return frozenset(reference.address for reference in references_in(self.spec))
