"""JSON by msgspec where it can, and by the standard library where only that one can."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from reconciler.model.values import encode


def read_json(text: bytes | str) -> Any:
    """Parse JSON. Raises ValueError, and RecursionError if it is nested too deeply.

    Accepts what the standard library accepts beyond JSON, such as lone surrogates.
    """
    # msgspec is several times faster; it refuses lone surrogates, which file names can contain.
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return json.loads(text)


def sorted_json(value: Any) -> bytes:
    """Canonical bytes of a value, for hashing. Raises TypeError if it contains a secret."""
    try:
        return msgspec.json.encode(value, order="sorted", enc_hook=encode)
    except UnicodeEncodeError:  # a file's name need not be text
        return json.dumps(
            msgspec.to_builtins(value, order="sorted", enc_hook=encode), sort_keys=True
        ).encode()
