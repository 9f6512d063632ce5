"""JSON by the fastest reader and writer at hand, where it can, and by Python's own where only that does."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from reconciler.model.values import encode


def read_json(text: bytes | str) -> Any:
    """The value of JSON. Raises ValueError, and RecursionError where it is nested too deeply.

    What is a little more than JSON, as Python's own reader takes it, is taken too: halves of characters, say.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return json.loads(text)


def sorted_json(value: Any) -> bytes:
    """The same bytes for the same value, to be hashed. Raises TypeError where it holds a secret."""
    try:
        return msgspec.json.encode(value, order="sorted", enc_hook=encode)
    except UnicodeEncodeError:  # a file's name need not be text
        return json.dumps(
            msgspec.to_builtins(value, order="sorted", enc_hook=encode), sort_keys=True
        ).encode()
