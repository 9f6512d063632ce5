"""Rules: documents that declare no object, such as checks and retention rules.

A rule is declared like a resource, with a kind, a name, a spec, references and `for_each`. It is
never created, and the state and exports do not contain it. The command that reads it gives it
meaning.
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
    """A problem in a spec that no schema can express."""

    trail: Trail
    """The path below `spec`."""
    summary: str
    detail: str
    at_key: bool = False
    """Whether the key is wrong instead of the value."""


def _none(spec: Spec) -> Iterable[RuleProblem]:  # noqa: ARG001 - the signature of every `flaws`
    return ()


class RuleKind(Declaration, frozen=True, kw_only=True):
    """One kind of rule."""

    problems: Callable[[Spec], Iterable[RuleProblem]] = _none
    """Finds problems in a spec, offline and before references are resolved."""
    # Such a rule can delete objects that no manifest names, so plans show it to the reviewer.
    removes: bool = False
    """Whether plans delete what rules of this kind match. The rule is then part of what the user
    approves."""
    expands: bool = False
    """Whether a document of this kind stands for other documents, and is no rule itself."""


class Rule(Struct, frozen=True, dict=True):
    """One rule, expanded and resolved as far as the manifests alone allow; `spec` may contain
    references."""

    address: Address
    kind: RuleKind
    spec: Spec
    location: SourceLocation | None = None
    locations: Mapping[str, SourceLocation] = field(default_factory=dict)

    @cached_property
    def references(self) -> frozenset[Address]:
        """The addresses that the spec refers to."""
        return frozenset(reference.address for reference in references_in(self.spec))
