"""Retention rules: which unmanaged objects to delete once they are old.

Files, vector stores and stored completions accumulate without being declared. A rule selects them
by properties and age. Plans list them as deletions, and apply removes them under the usual guards.
Managed objects, and objects that managed ones refer to, never match.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.model.diagnostic import nearest
from reconciler.model.kind import Field, ScopeType
from reconciler.model.rule import RuleKind, RuleProblem
from reconciler.model.types import Integer, MapOf, Object, Property, Text
from reconciler.model.values import Spec, references_in

_BY = {
    "File": ("purpose", "name"),
    "VectorStore": ("name", "metadata"),
    "ChatCompletion": ("model", "metadata"),
}
"""The kinds that rules can remove, and the properties of each besides its age."""

_UNLISTED = ("Response", "Conversation")

_PURPOSES = (
    "assistants", "assistants_output", "batch", "batch_output", "fine-tune", "fine-tune-results", "vision",
    "user_data", "evals",
)  # fmt: skip


def flaws(spec: Spec) -> Iterator[RuleProblem]:
    """Problems of a rule, before any call."""
    if next(iter(references_in(spec)), None) is not None:
        detail = "A rule that removes objects must not depend on references: write a literal value or a variable."
        yield RuleProblem((), "Reference not possible here", detail)
        return
    of, match = spec.get("of"), spec.get("match")
    if not isinstance(of, str) or not isinstance(match, Mapping):
        return
    if of not in _BY:
        yield RuleProblem(("of",), f'Nothing to remove: "{of}"', _why_not(of))
        return
    # A null criterion excludes nothing, like an omitted one.
    criteria = {name: value for name, value in match.items() if value is not None}
    criteria.pop("older_than_days", None)
    for name in criteria:
        if name not in _BY[of]:
            detail = f"{of} objects can be matched by {_named(_BY[of])}, and by age."
            yield RuleProblem(("match", name), f"{of} has no {name}", detail, at_key=True)
    if not criteria:
        detail = f"Age alone would match everything: also match by {_named(_BY[of])}."
        yield RuleProblem(("match",), "Incomplete match", detail, at_key=True)
    yield from _vacuous(criteria)


def _why_not(of: str) -> str:
    # Both can only be read by id.
    if of in _UNLISTED:
        return f"The API has no list of {of.lower()}s, so undeclared ones cannot be found."
    removable = _named(tuple(_BY))
    return f"Only files, vector stores and stored completions can be removed: {removable}.{nearest(of, _BY)}"


def _vacuous(criteria: Mapping[str, Any]) -> Iterator[RuleProblem]:
    """Problems of criteria that every object meets."""
    name, metadata = criteria.get("name"), criteria.get("metadata")
    if isinstance(name, str) and not name.strip("*?"):
        detail = "The pattern matches every name: add the part that the names have in common."
        yield RuleProblem(("match", "name"), "Incomplete match", detail)
    if isinstance(metadata, Mapping) and not metadata:
        yield RuleProblem(
            ("match", "metadata"),
            "Incomplete match",
            "Give at least one pair that all of them have.",
        )


def _named(names: tuple[str, ...]) -> str:
    """Names as a list in a sentence: `a, b or c`."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


KIND = RuleKind(
    name="Retention",
    doc="Removes old objects that no stack manages. Declares no object.",
    scope=ScopeType.PROJECT_KEY,
    removes=True,
    fields=(
        Field(
            "of",
            Text(),
            "The kind of objects to remove: `File`, `VectorStore` or `ChatCompletion`.",
            required=True,
        ),
        Field(
            "match",
            Object(
                (
                    Property(
                        "older_than_days",
                        Integer(1, 36_500),
                        "The minimum age in days since creation or, for a vector store, since last use.",
                        required=True,
                    ),
                    Property("purpose", Text(choices=_PURPOSES), "The purpose of the file."),
                    Property(
                        "name",
                        Text(min_length=1),
                        "The name of the file or vector store, with the wildcards `*`, `?` and `[…]`.",
                    ),
                    Property(
                        "metadata",
                        MapOf(Text()),
                        "Metadata pairs that the vector store or stored completion must all have.",
                    ),
                    Property(
                        "model",
                        Text(min_length=1),
                        "The model of the stored completion, as the API returns it.",
                    ),
                )
            ),
            "The conditions for removal. All must hold, and at least one must be other than age.",
            required=True,
        ),
    ),
    problems=flaws,
    example="""\
kind: Retention
metadata: {name: old-batch-results}
spec:
  of: File
  match: {purpose: batch_output, older_than_days: 30}
""",
)
