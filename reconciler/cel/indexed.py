"""Lists of resources with an index by kind and project."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class IndexedList(list[Any]):
    """A list of maps with the keys `kind` and `project`, indexed by them when first asked."""

    __slots__ = ("_by_kind", "_by_project")

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self._by_kind: dict[str, list[Any]] | None = None
        self._by_project: dict[tuple[str, Any], list[Any]] = {}

    def of(self, kind: str, *project: Any) -> list[Any]:
        """The items of a kind and, if it is given, of a project."""
        # Built at the first use, because most policies look at one resource only.
        if self._by_kind is None:
            self._by_kind = {}
            for item in self:
                self._by_kind.setdefault(item["kind"], []).append(item)
                self._by_project.setdefault((item["kind"], item["project"]), []).append(item)
        if not project:
            return self._by_kind.get(kind, [])
        # Any other value can be unhashable, and equals no project.
        if not isinstance(project[0], str | None):
            return []
        return self._by_project.get((kind, project[0]), [])
