"""Encrypted files: JSON with sealed bytes, and the content, stack and environment in plain text.

The names are readable, so that a file can be decrypted without the stack. They are also part of the
context, so a file whose names were edited does not decrypt.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec import Struct

from reconciler.errors import StateError
from reconciler.state.encryption import Cipher, is_sealed

FORMAT = "reconciler-encrypted"
VERSION = 1

_T = TypeVar("_T")


class Content(StrEnum):
    """The content of a file."""

    PLAN = "plan"
    STATE = "state"
    RECORDING = "recording"

    @property
    def noun(self) -> str:
        """The content in messages."""
        return _NOUNS[self]


_NOUNS = {
    Content.PLAN: "saved plan",
    Content.STATE: "state export",
    Content.RECORDING: "recording",
}


def enclose(text: str, cipher: Cipher, content: Content, *, stack: str, environment: str) -> str:
    """The text as an encrypted file."""
    sealed = cipher.seal(text.encode(), _context(content, stack, environment))
    envelope = {
        "format": FORMAT,
        "version": VERSION,
        "content": content,
        "stack": stack,
        "environment": environment,
        "data": base64.b64encode(sealed).decode(),
    }
    return json.dumps(envelope, indent=2) + "\n"


def disclose(text: str, opener: Callable[[], Cipher], content: Content) -> str:
    """The text of a file; of one that is not encrypted, the text itself. Raises StateError.

    `opener` makes the cipher, and is called for an encrypted file only.
    """
    version = _version(text)
    if version is None:
        return text
    if version > VERSION:
        raise StateError(
            f"the file was encrypted by a newer version of reconciler (file format {version}; "
            f"this version supports formats up to {VERSION})",
            hint="Use the version of reconciler that wrote it, or a later one.",
        )
    envelope = _parsed(text, _Envelope)
    if envelope is None:
        raise _damaged()
    if envelope.content != content:
        raise StateError(f"this is an encrypted {envelope.content.noun}, not a {content.noun}")
    try:
        sealed = base64.b64decode(envelope.data, validate=True)
    except binascii.Error:
        raise _damaged() from None
    if not is_sealed(sealed):
        raise _damaged()
    context = _context(content, envelope.stack, envelope.environment)
    return opener().open(sealed, context).decode()


class _Head(Struct, frozen=True):
    format: str
    version: int


class _Envelope(Struct, frozen=True):
    content: Content
    stack: str
    environment: str
    data: str


def _version(text: str) -> int | None:
    """The version of an encrypted file; None for any other text."""
    # A search first, so that a large plan that is not encrypted is not parsed twice.
    if f'"{FORMAT}"' not in text:
        return None
    head = _parsed(text, _Head)
    return head.version if head is not None and head.format == FORMAT else None


def _parsed(text: str, type: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(text, type=type)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None


def _context(content: Content, stack: str, environment: str) -> str:
    return f"{content.noun} of {stack}/{environment}"


def _damaged() -> StateError:
    return StateError("the encrypted file is damaged", hint="Use an undamaged copy of it.")
