"""The root folder of a bundle, found among the paths of its files."""

from __future__ import annotations

from collections.abc import Iterable


def root_of(paths: Iterable[str], entry: str) -> str | None:
    """The folder that contains the entry file, with a trailing `/` or empty; None if no folder or
    more than one contains it.

    Only the topmost folder counts: deeper entry files are ordinary files.
    """
    roots_by_depth: dict[int, list[str]] = {}
    for path in paths:
        folder, slash, name = path.rpartition("/")
        if name == entry:
            roots_by_depth.setdefault(path.count("/"), []).append(folder + slash)
    if not roots_by_depth:
        return None
    topmost = roots_by_depth[min(roots_by_depth)]
    return topmost[0] if len(topmost) == 1 else None
