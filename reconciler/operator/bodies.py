"""Reads parts of JSON objects of the API server, which need not have the shape that we expect."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any


def mapping_at(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under a name; empty if there is none, or a value of another type."""
    value = body.get(name)
    if isinstance(value, Mapping):
        return value
    return {}


def decoded_at(body: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """The values of the object under a name, decoded from base64. Others are left out."""
    values: dict[str, bytes] = {}
    for key, encoded in mapping_at(body, name).items():
        try:
            values[str(key)] = base64.b64decode(str(encoded), validate=True)
        except (binascii.Error, ValueError):
            continue
    return values
