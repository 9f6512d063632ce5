"""Documents with the source positions of their values.

Besides the plain value, a document keeps one number per node in reading order. To find a position,
the value is walked and nodes are counted. This is slow, but only messages need it. An object per
node would take more memory than the rest of a large configuration.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.model.diagnostic import SourceLocation
from reconciler.model.paths import Trail, dotted, undotted

COLUMN_BITS = 24
"""A position is one number: line and column, both from 0. The column has the lower bits, enough for
the size limit of a file."""


class Document:
    """One document of a file: its value as plain maps, lists and scalars, and the positions of its
    parts.

    `positions` contains a packed position per node in reading order: for a map its own, then for
    each pair those of key and value; for a list its own, then those of the items.
    """

    __slots__ = (
        "_caller",
        "_name_place",
        "_positions",
        "_sizes",
        "file",
        "place",
        "spec_places",
        "value",
    )

    def __init__(self, file: str, value: Any, positions: array[int], caller: str = "") -> None:
        self.file = file
        self._caller = caller
        self.value = value
        self._positions = positions
        self._sizes: dict[int, int] = {}
        self._name_place: SourceLocation | None = None
        self.place = self._place(0)
        """Where the document's content begins."""
        self.spec_places: Mapping[str, SourceLocation] = _SpecPlaces(self)
        """The places of everything below `spec`, by dotted path."""

    def declared_by(self, caller: str) -> Document:
        """The same document in a module, with locations that name what declared the module."""
        return Document(self.file, self.value, self._positions, caller)

    @property
    def packed(self) -> tuple[Any, bytes]:
        """Value and positions, from which the document can be rebuilt."""
        return self.value, self._positions.tobytes()

    def location_of(self, trail: Trail, *, key: bool = False) -> SourceLocation:
        """The location of a value or of its key. For a path deeper than the text, that of the
        deepest existing part."""
        at = key_at = 0
        value = self.value
        for part in trail:
            child = self._child(value, at, part)
            # A missing key is reported at its map, and a value from an expression at its text.
            if child is None:
                return self._place(at)
            value, at, key_at = child
        return self._place(key_at if key else at)

    def has(self, trail: Trail) -> bool:
        """Whether the text has something at a path."""
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
        """The location of `metadata.name`, cached because every resource of the document needs it."""
        if self._name_place is None:
            self._name_place = self.location_of(("metadata", "name"))
        return self._name_place

    def _child(self, value: Any, at: int, part: str | int) -> tuple[Any, int, int] | None:
        cursor = at + 1
        if isinstance(value, dict) and part in value:
            for key, element in value.items():
                if key == part:
                    return element, cursor + 1, cursor
                cursor += 1 + self._size(element, cursor + 1)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            for element in value[:part]:
                cursor += self._size(element, cursor)
            return value[part], cursor, cursor
        return None

    def _size(self, value: Any, at: int) -> int:
        if not isinstance(value, dict | list):
            return 1
        # Cached, because each problem below a map counts the nodes before it.
        if at not in self._sizes:
            cursor = at + 1
            if isinstance(value, dict):
                for element in value.values():
                    cursor += 1  # the key
                    cursor += self._size(element, cursor)
            else:
                for element in value:
                    cursor += self._size(element, cursor)
            # By position, not by identity: an alias repeats a value at another position.
            self._sizes[at] = cursor - at
        return self._sizes[at]

    def _place(self, at: int) -> SourceLocation:
        packed = self._positions[at]
        return SourceLocation(
            self.file,
            (packed >> COLUMN_BITS) + 1,
            (packed & ((1 << COLUMN_BITS) - 1)) + 1,
            self._caller,
        )


class _SpecPlaces(Mapping[str, SourceLocation]):
    """Locations looked up on demand, since most runs need few or none."""

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
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for part, element in pairs:
        yield (*above, part)
        yield from _trails(element, (*above, part))
