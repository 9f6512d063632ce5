"""Recognises delivered secrets without storing them.

A key has more random bits than anyone can search, so any good digest hides it. The salt prevents
matching: without it, equal keys would have equal digests, and two states could be compared at a
glance. A slow hash would cost time for each key and protect nothing more.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_NAME = "hmac-sha256"
_SALT_BYTES = 16


def digest(content: bytes) -> str:
    """A salted digest, `hmac-sha256:SALT:HEX`, different at every call."""
    salt = secrets.token_hex(_SALT_BYTES)
    return f"{_NAME}:{salt}:{_mac(salt, content)}"


def matches(content: bytes, known: str) -> bool:
    """Whether `known` is a digest of `content`; False if it is not one of our digests."""
    name, _, rest = known.partition(":")
    salt, _, mac = rest.partition(":")
    return name == _NAME and hmac.compare_digest(_mac(salt, content).encode(), mac.encode())


def keyed_digest(key: bytes, content: bytes) -> str:
    """A hexadecimal digest with a key that is stored elsewhere; the same for the same content.

    For values that people chose and others could guess: without the key, guesses cannot be tested.
    """
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _mac(salt: str, content: bytes) -> str:
    return hmac.new(salt.encode(), content, hashlib.sha256).hexdigest()
