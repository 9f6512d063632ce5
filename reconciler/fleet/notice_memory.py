"""Remembers announced notices next to the history of the fleet, in a document for each target.

Without it, every run would announce every problem again. A document has the shape of a history
without entries, so readers of histories skip it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from reconciler.errors import StateError
from reconciler.state.fleet_history import HistoryStorage

_STACK = ".notices"
"""Stands in for the name of a stack."""


class _Document(Struct):
    """The notices announced to one target."""

    stack: str = _STACK
    environment: str = ""
    announced: dict[str, dict[str, str]] = field(default_factory=dict)
    """The topics of each stack, and their cases."""


class StoredNoticeMemory:
    """A `NoticeMemory` in the storage of the history. Raises StateError."""

    def __init__(self, storage: HistoryStorage) -> None:
        self._storage = storage

    def announced(self, target: str) -> Mapping[str, Mapping[str, str]]:
        """The announced topics of each stack, and their cases."""
        # The storage cannot read a single document. A write that changes nothing also proves that
        # the memory is writable before anything is sent.
        known: dict[str, dict[str, str]] = {}

        def look(body: bytes | None) -> bytes:
            document = _parsed(body, target)
            known.update(document.announced)
            return msgspec.json.encode(document)

        self._storage.update(_STACK, target, look)
        return known

    def announce(self, target: str, states: Mapping[str, Mapping[str, str]]) -> None:
        """Replace the states of some stacks."""

        def change(body: bytes | None) -> bytes:
            document = _parsed(body, target)
            for stack, topics in states.items():
                document.announced.pop(stack, None)
                if topics:
                    document.announced[stack] = dict(topics)
            return msgspec.json.encode(document)

        self._storage.update(_STACK, target, change)


def _parsed(body: bytes | None, target: str) -> _Document:
    if not body:
        return _Document(environment=target)
    try:
        return msgspec.json.decode(body, type=_Document)
    except msgspec.MsgspecError as error:
        # An empty memory would announce everything once more, and hide the problem.
        raise StateError(f"the notices announced to {target} cannot be read: {error}") from error
