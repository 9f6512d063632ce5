"""How much the documents of one configuration may come to together.

Thirty kilobytes of YAML can ask for a million resources, and one text can be inserted ten thousand
times. Each part has its own limit; this is the limit of what they multiply to, so that reading a
stranger's manifests ends soon.
"""

from __future__ import annotations

from typing import Any

MAX_RESOURCES = 100_000
MAX_CHARACTERS = 250_000_000
_NODE = 20
"""What a node counts beside its text: about what it takes to write one."""


class NoRoomError(Exception):
    """A limit was reached; the text says which, and what to do."""


class Room:
    """What is left of the limits. A value that is inserted in many places counts in each."""

    def __init__(self, resources: int = MAX_RESOURCES, characters: int = MAX_CHARACTERS) -> None:
        self._resources, self._most_resources = resources, resources
        self._characters, self._most_characters = characters, characters
        self._known: dict[int, tuple[Any, int]] = {}

    def take_resources(self, count: int, document: Any) -> None:
        """Take what the resources of one document need; raises NoRoomError."""
        self._resources -= count
        if self._resources < 0:
            raise NoRoomError(
                f"The documents expand to more than {self._most_resources:,} resources. Split the stack into several."
            )
        if count > 1:
            self.take_characters(count * self.size(document))

    def take_value(self, value: Any) -> None:
        """Take what a value needs that an expression inserts; raises NoRoomError."""
        if isinstance(value, str):
            self.take_characters(len(value))
        elif isinstance(value, dict | list):
            self.take_characters(self.size(value))

    def take_characters(self, count: int) -> None:
        """Take so many characters; raises NoRoomError."""
        self._characters -= count
        if self._characters < 0:
            raise NoRoomError(
                f"The documents exceed {self._most_characters:,} characters after their "
                "expressions are expanded. Insert less text into each resource, or split the "
                "stack into several."
            )

    def size(self, value: Any) -> int:
        """The size of a value as it would be written, in characters."""
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
