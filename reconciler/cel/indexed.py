"""Lists of resources that can be narrowed to a kind and a project."""

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
        if self._by_kind is None:
            self._by_kind = {}
            for item in self:
                self._by_kind.setdefault(item["kind"], []).append(item)
                self._by_project.setdefault((item["kind"], item["project"]), []).append(item)
        if not project:
            return self._by_kind.get(kind, [])
        name = project[0]
        is_name = name is None or isinstance(name, str)
        return self._by_project.get((kind, name), []) if is_name else []
