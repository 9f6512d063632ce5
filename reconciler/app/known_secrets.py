"""Recognizes secrets by the digests in the state, to keep them out of every resource.

The state holds only digests: salted ones of delivered keys, and keyed ones of secrets that were
sent. A text is compared with each digest; no secret can be recovered from them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import cached_property

from reconciler.app.secret_digests import KEY
from reconciler.errors import StateError
from reconciler.manifests import Remembered
from reconciler.model.values import Spec, secrets_in
from reconciler.secrets.digests import keyed_digest, matches
from reconciler.secrets.sinks import digests_in, known_files
from reconciler.state import StateStore

_LONGEST_KEY_BYTES = 512


def remembered(store: Callable[[], StateStore]) -> Remembered:
    """The secrets that the state knows. Opens the state at the first question.

    An unreadable state knows none; the first step that needs more of it reports why.
    """
    known = _Known(store)
    return Remembered(paths=lambda: known.paths, holds=known.holds)


def was_delivered(store: Callable[[], StateStore]) -> Callable[[bytes], bool]:
    """A function that recognizes keys that were delivered. Opens the state at the first question."""
    return _Known(store).is_delivered


class _Known:
    """The digests of a state, read once."""

    def __init__(self, store: Callable[[], StateStore]) -> None:
        self._store = store

    @cached_property
    def _receipts(self) -> Sequence[Spec]:
        with suppress(StateError):
            return [record.delivered for record in self._store().records().values()]
        return ()

    @cached_property
    def paths(self) -> Collection[str]:
        return tuple(known_files(self._receipts))

    @cached_property
    def _delivered(self) -> tuple[str, ...]:
        return tuple(digests_in(self._receipts))

    @cached_property
    def _sent(self) -> tuple[bytes, frozenset[tuple[str, str]]]:
        """The key of the digests, and the source and digest of each secret that was sent."""
        with suppress(StateError):
            store = self._store()
            key = store.remarks.get(KEY) or ""
            sent = set()
            for record in store.records().values():
                for value in secrets_in(record.applied):
                    if value.digest:
                        sent.add((value.source, value.digest))
            return bytes.fromhex(key), frozenset(sent)
        return b"", frozenset()

    def holds(self, content: bytes) -> bool:
        """Whether these bytes are a secret that was delivered or sent."""
        key, sent = self._sent
        for source, digest in sent:
            if keyed_digest(key, f"{source}\0".encode() + content) == digest:
                return True
        return self.is_delivered(content)

    def is_delivered(self, content: bytes) -> bool:
        """Whether these bytes are a key that was delivered."""
        # A key is one word. Comparing every small file with every delivered key takes minutes.
        if len(content) > _LONGEST_KEY_BYTES or len(content.split(None, 1)) != 1:
            return False
        return any(matches(content + b"\n", digest) for digest in self._delivered)
