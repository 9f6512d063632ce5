"""Texts in JSON: keys in answers of servers, and places that hold several values as one object."""

from __future__ import annotations

import json
from typing import Any

from reconciler.errors import SinkError
from reconciler.model.secret import Secret


def content_of(secret: Secret, field: Any) -> str:
    """The text to store: the secret, or a JSON object with it in a field."""
    if field is None:
        return secret.reveal()
    return json.dumps({str(field): secret.reveal()})


def secret_in(value: Any) -> Secret | None:
    """The secret in a field of an answer; None if it is empty, or no text."""
    if not isinstance(value, str) or not value:
        return None
    return Secret(value)


def field_of(stored: Secret, field: Any, place: str) -> Secret:
    """The stored text, or the value of its field. `place` names its location.

    Raises SinkError if there is no such field. No message quotes the stored text.
    """
    if field is None:
        return stored
    # The parser's error quotes the stored text, so it is dropped.
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
