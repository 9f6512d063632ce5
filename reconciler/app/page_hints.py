"""Remembers how many pages each list had, so that a plan can choose the cheaper way to read.

Lists of one page are not kept. It is only a hint: a list that others changed since costs a few extra
calls, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from reconciler.model.calls import ListKey
from reconciler.state import StateStore

_PAGES = "pages"
"""The key in the state that holds the page counts."""


def load_pages(store: StateStore) -> dict[ListKey, int]:
    """The page count of each list; empty if it is missing or unusable."""
    try:
        pages: dict[ListKey, int] = {}
        for kind, project, within, count in json.loads(store.remarks.get(_PAGES) or "[]"):
            parent = tuple((str(name), str(id)) for name, id in within)
            pages[str(kind), project, parent] = int(count)
        return pages
    except (ValueError, TypeError):
        return {}


def keep_pages(store: StateStore, pages: Mapping[ListKey, int]) -> None:
    """Save the page counts if they changed."""
    if pages != load_pages(store):
        store.remarks.put(
            _PAGES,
            json.dumps([[*listed, count] for listed, count in sorted(pages.items(), key=str)]),
        )
