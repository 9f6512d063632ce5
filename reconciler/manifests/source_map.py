"""Documents that know where each of their values was written.

A document keeps one number per node, in reading order, beside the plain value. Finding a place
counts its way through the value, which is slow and only happens when there is something to report
or to show; keeping a position object per node would cost more memory than everything else in a
large configuration.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.model.diagnostic import SourceLocation
from reconciler.model.paths import Trail, dotted, undotted

COLUMN_BITS = 24
"""A position is one number: the line above these bits, the column in them, both from 0. A file's
limit fits.
"""


class Document:
    """One document of a file: its value, as plain maps, lists and scalars, and the places of all
    its parts.

    `positions` holds a packed position for every node in reading order: a map's own, then for each
    pair the key's and those of the value; a list's own, then those of its items.
    """

    __slots__ = ("_name_place", "_positions", "_sizes", "file", "place", "spec_places", "value")

    def __init__(self, file: str, value: Any, positions: array[int]) -> None:
        self.file = file
        self.value = value
        self._positions = positions
        self._sizes: dict[int, int] = {}
        self._name_place: SourceLocation | None = None
        self.place = self._place(0)
        """Where the document's content begins."""
        self.spec_places: Mapping[str, SourceLocation] = _SpecPlaces(self)
        """The places of everything below `spec`, by dotted path."""

    @property
    def packed(self) -> tuple[Any, bytes]:
        """The value and its positions, from which the document can be made again."""
        return self.value, self._positions.tobytes()

    def location_of(self, trail: Trail, *, key: bool = False) -> SourceLocation:
        """Where a value was written, or its key; for a path that goes deeper than the text, its
        deepest part.
        """
        at = key_at = 0
        value = self.value
        for part in trail:
            found = self._child(value, at, part)
            if found is None:
                return self._place(at)
            value, at, key_at = found
        return self._place(key_at if key else at)

    def has(self, trail: Trail) -> bool:
        """Whether the text itself has something at a path."""
        value = self.value
        for part in trail:
            if isinstance(value, dict):
                known = part in value
            else:
                known = isinstance(value, list) and isinstance(part, int) and part < len(value)
            if not known:
                return False
            value = value[part]
        return True

    @property
    def name_place(self) -> SourceLocation:
        """Where `metadata.name` was written: asked for by every resource that the document becomes."""
        if self._name_place is None:
            self._name_place = self.location_of(("metadata", "name"))
        return self._name_place

    def _child(self, value: Any, at: int, part: str | int) -> tuple[Any, int, int] | None:
        cursor = at + 1
        if isinstance(value, dict) and part in value:
            for key, item in value.items():
                if key == part:
                    return item, cursor + 1, cursor
                cursor += 1 + self._size(item, cursor + 1)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            for item in value[:part]:
                cursor += self._size(item, cursor)
            return value[part], cursor, cursor
        return None

    def _size(self, value: Any, at: int) -> int:
        if not isinstance(value, dict | list):
            return 1
        if at not in self._sizes:
            cursor = at + 1
            for item in value.values() if isinstance(value, dict) else value:
                cursor += isinstance(value, dict)
                cursor += self._size(item, cursor)
            self._sizes[at] = cursor - at
        return self._sizes[at]

    def _place(self, at: int) -> SourceLocation:
        packed = self._positions[at]
        return SourceLocation(
            self.file, (packed >> COLUMN_BITS) + 1, (packed & ((1 << COLUMN_BITS) - 1)) + 1
        )


class _SpecPlaces(Mapping[str, SourceLocation]):
    """Looked up in the document when asked, since most runs ask for few places or none."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def __getitem__(self, path: str) -> SourceLocation:
        try:
            trail: Trail = ("spec", *undotted(path))
        except ValueError:
            raise KeyError(path) from None
        if not self._document.has(trail):
            raise KeyError(path)
        return self._document.location_of(trail)

    def __iter__(self) -> Iterator[str]:
        spec = self._document.value.get("spec")
        return (dotted(trail) for trail in _trails(spec))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _trails(value: Any, above: Trail = ()) -> Iterator[Trail]:
    pairs: Any = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for part, item in pairs:
        yield (*above, part)
        yield from _trails(item, (*above, part))
