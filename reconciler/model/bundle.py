"""The root folder of a bundle, found among the paths of its files."""

from __future__ import annotations

from collections.abc import Iterable


def root_of(paths: Iterable[str], entry: str) -> str | None:
    """The folder that contains the entry file, with a trailing `/` or empty; None if no folder or
    more than one contains it.

    Only the topmost folder counts: deeper entry files are ordinary files.
    """
    roots = [
        path.removesuffix(entry) for path in paths if path == entry or path.endswith(f"/{entry}")
    ]
    depth = min((root.count("/") for root in roots), default=0)
    highest = [root for root in roots if root.count("/") == depth]
    return highest[0] if len(highest) == 1 else None
