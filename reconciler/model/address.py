"""Addresses: the names of resources in a configuration.

`Kind/name` for objects of the organization or of the default key's project, `Kind/project/name` for
objects of a project. An address is unique in a configuration and stable over time, whatever ids the
API assigns.
"""

from __future__ import annotations

import re
from functools import lru_cache, total_ordering

from msgspec import Struct

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = re.compile(NAME_PATTERN)


@total_ordering
class Address(Struct, frozen=True, cache_hash=True):
    """Kind, project if any, and name. Sorted by project, kind and name."""

    kind: str
    name: str
    project: str | None = None

    # Cached, because states and journals repeat the addresses of thousands of resources.
    @classmethod
    @lru_cache(maxsize=100_000)
    def parse(cls, text: str) -> Address:
        """Parse `Kind/name` or `Kind/project/name`. Raises ValueError with a sentence for the user."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_NAME.fullmatch(part) for part in parts):
            raise ValueError(f'"{text}" is not an address: write Kind/name or Kind/project/name')
        return cls(kind=parts[0], name=parts[-1], project=parts[1] if len(parts) == 3 else None)

    def __str__(self) -> str:
        if self.project:
            return f"{self.kind}/{self.project}/{self.name}"
        return f"{self.kind}/{self.name}"

    def __lt__(self, other: Address) -> bool:
        return self.sort_key < other.sort_key

    @property
    def sort_key(self) -> tuple[str, str, str]:
        """Organization-wide kinds first, then project by project."""
        return (self.project or "", self.kind, self.name)
