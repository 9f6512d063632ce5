"""Limits on the total size of a configuration.

Thirty kilobytes of YAML can ask for a million resources, and one text can be inserted ten thousand
times. Each part has its own limit; this one limits their product, so that reading untrusted
manifests ends soon.
"""

from __future__ import annotations

from typing import Any

MAX_RESOURCES = 100_000
MAX_CHARACTERS = 250_000_000
_NODE = 20
"""The size of a node without its text: about the number of characters needed to write one."""


class NoRoomError(Exception):
    """A limit was reached; the message names it and the remedy."""


class Room:
    """The remaining budget. A value that is inserted several times counts each time."""

    def __init__(self, resources: int = MAX_RESOURCES, characters: int = MAX_CHARACTERS) -> None:
        self._resources, self._most_resources = resources, resources
        self._characters, self._most_characters = characters, characters
        self._known: dict[int, tuple[Any, int]] = {}

    def take_resources(self, count: int, document: Any) -> None:
        """Reserve the resources of one document. Raises NoRoomError."""
        self._resources -= count
        if self._resources < 0:
            raise NoRoomError(
                f"The documents expand to more than {self._most_resources:,} resources. Split the stack into several."
            )
        # The file limits the size of a document that is not repeated.
        if count > 1:
            self.take_characters(count * self.size(document))

    def take_value(self, value: Any) -> None:
        """Reserve an inserted value. Raises NoRoomError."""
        if isinstance(value, str):
            self.take_characters(len(value))
        elif isinstance(value, dict | list):
            self.take_characters(self.size(value))

    def take_characters(self, count: int) -> None:
        """Reserve characters. Raises NoRoomError."""
        self._characters -= count
        if self._characters < 0:
            raise NoRoomError(
                f"The documents exceed {self._most_characters:,} characters after their "
                "expressions are expanded. Insert less text into each resource, or split the "
                "stack into several."
            )

    def size(self, value: Any) -> int:
        """The size of a value as text, in characters."""
        if isinstance(value, str):
            return _NODE + len(value)
        if not isinstance(value, dict | list):
            return _NODE
        known = self._known.get(id(value))
        if known is None:
            parts = [*value, *value.values()] if isinstance(value, dict) else value
            # The value is kept with its size, so that no other gets its id.
            known = self._known[id(value)] = value, _NODE + sum(map(self.size, parts))
        return known[1]
