"""A cache of parsed manifest files.

A file is identified by the digest of its text, so it can be renamed, and any edit makes it a new
file. Only files without problems are cached. Cached documents go through the same checks as new
ones.
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
"""Increase it whenever a text parses to other documents, or the storage format changes."""

_Packed = list[tuple[Any, bytes]]
"""The documents of a file: the value of each, and its packed positions."""


class ParsedFiles:
    """Parses texts, or takes their documents from the cache.

    `find` returns the cached entry of a digest, or None.
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
        entry = self._find(digest) if self._find else None
        if entry is not None:
            documents = _unpacked(entry, name)
            if documents is not None:
                self._known[digest] = entry
                return documents
        before = problems.count
        documents = load_documents(text, name, problems, is_json=is_json)
        # Warnings count too, since a cached file is not parsed and so would not repeat them.
        if problems.count == before:
            self._fresh[digest] = documents
        return documents

    def to_keep(self) -> Mapping[str, bytes]:
        """The entries to store, by digest."""
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
    # With everything else that the documents or their format depend on.
    about = f"{_FORMAT} {__version__} {sys.byteorder} {is_json}\0"
    return hashlib.sha256((about + text).encode("utf-8", "surrogatepass")).hexdigest()


def _unpacked(kept: bytes, name: str) -> list[Document] | None:
    """The cached documents; None if the entry is damaged."""
    try:
        packed = msgspec.msgpack.decode(zlib.decompress(kept), type=_Packed)
        return [Document(name, value, array("Q", positions)) for value, positions in packed]
    except (zlib.error, msgspec.MsgspecError, ValueError, IndexError):
        return None
