"""Places that hold several values as one JSON object, such as a secret of AWS."""

from __future__ import annotations

import json
from typing import Any

from reconciler.errors import SinkError
from reconciler.model.secret import Secret


def content_of(secret: Secret, field: Any) -> str:
    """The text to store: the secret, or a JSON object with it in a field."""
    return secret.reveal() if field is None else json.dumps({str(field): secret.reveal()})


def field_of(stored: Secret, field: Any, place: str) -> Secret:
    """The stored text, or what its field holds. `place` names where it is stored.

    Raises SinkError if there is no such field. No message quotes what is stored.
    """
    if field is None:
        return stored
    try:
        content = json.loads(stored.reveal())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise SinkError(f"{place} is no JSON object", hint="leave out `field`")
    value = content.get(str(field))
    if not isinstance(value, str):
        raise SinkError(f'{place} has no text in its field "{field}"', hint="correct `field`")
    return Secret(value)
