"""Evaluates `for_each`: the entries that a document is repeated for.

The keys must be known at once, since they are in addresses. The values can contain references, whose
targets are known only once every document is expanded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sized
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.manifests.credential_scan import CredentialScan
from reconciler.manifests.expressions import Context, Evaluator
from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.manifests.references import AddressIndex
from reconciler.manifests.source_map import Document
from reconciler.manifests.validate import shortened
from reconciler.model.values import Unknown, has_unknown

MAX_INSTANCES = 10_000


class Entries(Struct, frozen=True):
    """The key and value of each entry; one None for a document without `for_each`."""

    pairs: list[tuple[str, Any] | None]
    is_postponed: bool = False
    """Whether the values depend on references, so that they have to be evaluated again."""


class ForEach:
    """Evaluates the `for_each` of documents."""

    def __init__(self, declared: AddressIndex, leaks: CredentialScan, problems: Problems) -> None:
        self._declared = declared
        self._leaks = leaks
        self._problems = problems

    def entries(self, document: Document, context: Context) -> Entries | None:
        """The entries, before references are known; None if there is a problem."""
        if "for_each" not in document.value:
            return Entries([None])
        references: list[str] = []

        def postpone(text: str) -> Unknown:
            references.append(text)
            return Unknown(text)

        written = self._evaluate(document, replace(context, reference=postpone))
        value = self._leaks.without_keys(written, document, ("for_each",))
        if value is not written:
            return None
        if isinstance(value, Unknown) and self._problems.errors and not references:
            return None  # the cause was reported where the value comes from
        try:
            pairs = list(_pairs_of(value))
        except ValueProblem as problem:
            self._problems.take(problem, place=document.location_of(("for_each",)))
            return None
        # Variables of a module can contain references too.
        return Entries(pairs, bool(references) or has_unknown(value))

    def values(self, document: Document, context: Context) -> dict[str, Any]:
        """The values by key, once every address is declared."""
        value = self._evaluate(document, replace(context, reference=self._declared.reference))
        return dict(pair for pair in _pairs_of(value) if pair is not None)

    def _evaluate(self, document: Document, context: Context) -> Any:
        evaluator = Evaluator(context, self._problems.reporter(document.location_of))
        return evaluator.evaluate(document.value["for_each"], ("for_each",))


def _pairs_of(value: Any) -> Iterator[tuple[str, Any] | None]:
    """The entries of a map or of a list of strings. Raises Problem for any other value."""
    if isinstance(value, dict):
        _require_few(value)
        yield from value.items()
        return
    if isinstance(value, Unknown):
        raise ValueProblem(
            "Cannot expand for_each", "The value of for_each must be known before apply."
        )
    description = shortened(value)
    if isinstance(value, list):
        description = "a list that does not only contain strings"
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueProblem(
            "Wrong type", f"for_each must be a map or a list of strings; found {description}."
        )
    _require_few(value)
    for text, count in Counter(value).items():
        if count > 1:
            raise ValueProblem("Not unique", f"for_each contains {shortened(text)} more than once.")
    for text in value:
        yield text, text


def _require_few(entries: Sized) -> None:
    if len(entries) > MAX_INSTANCES:
        raise ValueProblem(
            "Too many", f"for_each has {len(entries):,} entries; the maximum is {MAX_INSTANCES:,}."
        )
