"""What the files of manifests came to when they were read last: those that nobody touched need not
be parsed again.

A file is known by the digest of its text, so it may be renamed, and whatever is changed in it makes
it another one. Only files without a problem are known. What is found here is treated as if it had
just been parsed: nothing that is checked afterwards is checked any less.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from reconciler import __version__
from reconciler.manifests.load import load_documents
from reconciler.manifests.problems import Problems
from reconciler.manifests.source_map import Document

_FORMAT = 1
"""Grows with every change of what documents a text comes to, or of how they are kept."""

_Packed = list[tuple[Any, bytes]]
"""The documents of a file: the value of each, and its packed positions."""


class ParsedFiles:
    """Reads texts as `load_documents` does. `find` gives what was kept for a digest, and None for
    what was not.
    """

    def __init__(self, find: Callable[[str], bytes | None] | None = None) -> None:
        self._find = find
        self._known: dict[str, bytes] = {}
        self._fresh: dict[str, list[Document]] = {}

    def documents(
        self, text: str, name: str, problems: Problems, *, is_json: bool = False
    ) -> list[Document]:
        """The documents of a text."""
        digest = _digest(text, is_json=is_json)
        kept = self._find(digest) if self._find else None
        found = None if kept is None else _unpacked(kept, name)
        if kept is not None and found is not None:
            self._known[digest] = kept
            return found
        before = problems.count
        found = load_documents(text, name, problems, is_json=is_json)
        if problems.count == before:
            self._fresh[digest] = found
        return found

    def to_keep(self) -> Mapping[str, bytes]:
        """What was read, by digest, to be found the next time."""
        return self._known | dict(self._packed())

    def _packed(self) -> Iterator[tuple[str, bytes]]:
        for digest, documents in self._fresh.items():
            try:
                packed = msgspec.msgpack.encode([document.packed for document in documents])
            except (OverflowError, UnicodeEncodeError, msgspec.MsgspecError):
                # Numbers beyond 64 bits, and halves of characters, are parsed each time.
                continue
            yield digest, zlib.compress(packed, 1)


def _digest(text: str, *, is_json: bool) -> str:
    about = f"{_FORMAT} {__version__} {sys.byteorder} {is_json}\0"
    return hashlib.sha256((about + text).encode("utf-8", "surrogatepass")).hexdigest()


def _unpacked(kept: bytes, name: str) -> list[Document] | None:
    """The documents again; None for what is damaged."""
    try:
        packed = msgspec.msgpack.decode(zlib.decompress(kept), type=_Packed)
        return [Document(name, value, array("Q", positions)) for value, positions in packed]
    except (zlib.error, msgspec.MsgspecError, ValueError, IndexError):
        return None
