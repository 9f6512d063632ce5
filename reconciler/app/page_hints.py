"""How long lists were when they were read last: kept beside the state, so that a plan can choose what costs less.

Only those of more than a page are kept. It is no more than a hint: a list that others made shorter or longer since
costs some calls too many, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from reconciler.model.calls import ListKey
from reconciler.state import StateStore

_PAGES = "pages"
"""The remark in the state that holds them."""


def load_pages(store: StateStore) -> dict[ListKey, int]:
    """The pages that each list had; none where the remark is missing or cannot be used."""
    try:
        return {
            (str(kind), project, tuple((str(name), str(id)) for name, id in within)): int(count)
            for kind, project, within, count in json.loads(store.meta(_PAGES) or "[]")
        }
    except (ValueError, TypeError):
        return {}


def keep_pages(store: StateStore, pages: Mapping[ListKey, int]) -> None:
    """Keep what the lists have by now, where that is news."""
    if pages != load_pages(store):
        store.set_meta(_PAGES, json.dumps([[*listed, count] for listed, count in sorted(pages.items(), key=str)]))
