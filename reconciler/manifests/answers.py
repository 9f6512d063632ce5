"""Accepts answers of the API as specs, so that the answer of a GET can be pasted into a manifest.

Values that an answer contains in another form than a request are rewritten, and nulls that mean
"not set" are dropped. Fields that only the server sets stay errors, with a message that names them.
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
    if isinstance(spec, Mapping):
        spec = kind.from_answer(spec)
    return without_nulls(kind, spec)


def keeps_secret(
    kind: Declaration, document: Mapping[str, Any], violation: SchemaViolation
) -> bool:
    """Whether a violation is about a missing secret of an object that is adopted by its id."""
    lifecycle = document.get("lifecycle")
    if not kind.takes_secrets or not isinstance(lifecycle, Mapping):
        return False
    # No answer contains a secret, so a pasted one lacks it. Such an object keeps the secret that it
    # has, while an object to be created needs one.
    if not isinstance(lifecycle.get("adopt"), str):
        return False
    for field in kind.fields:
        for part in properties_in(field.type):
            is_secret = isinstance(part.type, SecretValueType)
            if is_secret and violation.summary == f'Missing "{part.name}"':
                return True
    return False
