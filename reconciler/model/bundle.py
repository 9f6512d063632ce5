"""Folders that are uploaded as one: where such a folder begins, among the paths of its files."""

from __future__ import annotations

from collections.abc import Iterable


def root_of(paths: Iterable[str], entry: str) -> str | None:
    """The folder that has the entry file, with a `/` at its end or empty; None where no folder or no single one has.

    An entry file further below is a file like any other.
    """
    roots = [
        path.removesuffix(entry) for path in paths if path == entry or path.endswith(f"/{entry}")
    ]
    depth = min((root.count("/") for root in roots), default=0)
    highest = [root for root in roots if root.count("/") == depth]
    return highest[0] if len(highest) == 1 else None
