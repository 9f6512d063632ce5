"""Answers of the API as specs: what a GET answers can be pasted into a manifest.

Fields that only the server sets are errors, by name. What an answer shows in another form than a
request takes is rewritten, and nulls that mean "not set" are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.manifests.nulls import without_nulls
from reconciler.manifests.validate import SchemaViolation
from reconciler.model.kind import Declaration, Kind
from reconciler.model.types import SecretValueType, properties_in


def as_manifest(kind: Kind, spec: Any) -> Any:
    """A spec in the form that requests take; the same object if it has that form."""
    rewritten = kind.from_answer(spec) if isinstance(spec, Mapping) else spec
    return without_nulls(kind, rewritten)


def keeps_secret(
    kind: Declaration, document: Mapping[str, Any], violation: SchemaViolation
) -> bool:
    """Whether a violation is about a secret that is missing, of an object that exists and has it.

    No answer shows a secret. An object that is adopted by its id keeps the one that it has.
    """
    lifecycle = document.get("lifecycle")
    adopt = lifecycle.get("adopt") if isinstance(lifecycle, Mapping) else None
    if not kind.takes_secrets or not isinstance(adopt, str):
        return False
    for field in kind.fields:
        for part in properties_in(field.type):
            is_secret = isinstance(part.type, SecretValueType)
            if is_secret and violation.summary == f'Missing "{part.name}"':
                return True
    return False
