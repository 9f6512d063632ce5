"""What the live platform has ended, said before anything is called there."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from reconciler.api.transport.base_url import DEFAULT_BASE_URL
from reconciler.model.kind import Kind


def retired(kinds: Iterable[Kind], *, base_url: str, today: str) -> list[str]:
    """A sentence for each retirement (once, for kinds that share one) that a run against the live platform meets.

    `today` is an ISO date. Other servers may have what the platform has ended, so nothing is said of them.
    """
    if urlsplit(base_url).hostname != urlsplit(DEFAULT_BASE_URL).hostname:
        return []
    ended = (kind.retirement for kind in kinds if kind.retirement and kind.retirement.since <= today)
    return list(dict.fromkeys(retirement.sentence for retirement in ended))
