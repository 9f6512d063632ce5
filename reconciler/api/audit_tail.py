"""The end of the audit log, read once for all stacks of an organization.

Each stack asks the log for what happened since its last apply, so that queries differ although their
answers overlap. The tail reads the log without a filter instead, page by page from the newest entry
backwards and only as far as a stack asks, and answers each query from these pages: the entries, their
order, the pages and `has_more` are those that the API would answer. The pages are shared reads
(`api.transport.shared_reads`), so a write of any stack drops them.

At its end, an apply reads the log through the tail as well. Every page that it gets was requested
after the last write of its own stack, and has the time of its request.

A query with filters may reach further back than the pages read so far. It then goes to the API
unchanged, as one call.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator

from reconciler.api.audit import PAGE_ENTRIES, log_pages, log_request, read_log
from reconciler.api.keys import KeyRing
from reconciler.api.transport.client import Client
from reconciler.api.transport.pages import Query
from reconciler.api.transport.request import Reuse
from reconciler.api.transport.responses import Response
from reconciler.errors import ApiError
from reconciler.model.log import AuditEntry, LogPage, LogQuery

_REFUSED = frozenset({401, 403, 404})
"""Answers that mean that the key cannot read the log, or that there is none."""


class AuditTail:
    """Reads the log for the stacks of a fleet. Safe to use from threads.

    A refusal of the log is remembered for `refused_seconds`: asking would cost each stack a call.
    """

    def __init__(
        self, *, refused_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._refused_seconds = refused_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._refusals: dict[Hashable, tuple[ApiError, float]] = {}

    def read(self, client: Client, keys: KeyRing, query: LogQuery) -> Iterator[LogPage]:
        """The pages that match a query, newest entries first, as `read_log` gives them."""
        place = (client.base_url, keys.admin().secret)
        self._raise_known(place)
        try:
            yield from _answer(client, keys, query)
        except ApiError as error:
            if error.status in _REFUSED:
                with self._lock:
                    self._refusals[place] = (error, self._clock())
            raise

    def _raise_known(self, place: Hashable) -> None:
        with self._lock:
            error, refused_at = self._refusals.get(place, (None, 0.0))
        if error is not None and self._clock() - refused_at < self._refused_seconds:
            # A copy for each stack: an error that is raised gets the traceback of its thread.
            raise copy.copy(error) from error


class _NotKeptError(Exception):
    """A page of the log has not been read yet."""


def _answer(client: Client, keys: KeyRing, query: LogQuery) -> Iterator[LogPage]:
    may_send = not _has_filter(query)

    # Reading the whole log back to the start of a filtered query may take many pages. So a filtered
    # query uses pages that were read already, and otherwise goes to the API.
    def fetch(parameters: Query) -> Response:
        request = log_request(keys, parameters, Reuse.ALLOWED)
        if may_send:
            return client.exchange(request)
        response = client.kept(request)
        if response is None:
            raise _NotKeptError
        return response

    whole = log_pages(fetch, {"limit": PAGE_ENTRIES}, client.server_clock)
    answers = _cut(whole, query)
    try:
        first = next(answers)
    except _NotKeptError:
        yield from read_log(client, keys, query, reuse=Reuse.ALLOWED)
        return
    # A caller that needs more than a page continues in the whole log, whose pages other stacks use.
    may_send = True
    yield first
    yield from answers


def _cut(whole: Iterator[LogPage], query: LogQuery) -> Iterator[LogPage]:
    """The pages of a query, cut out of the pages of the whole log."""
    matching: list[AuditEntry] = []
    asked_at = math.inf
    for page in whole:
        asked_at = page.asked_at
        matching += [entry for entry in page.entries if _matches(entry, query)]
        # A page can be given once it is known whether another one follows.
        while len(matching) > PAGE_ENTRIES:
            yield LogPage(matching[:PAGE_ENTRIES], has_more=True, asked_at=asked_at)
            del matching[:PAGE_ENTRIES]
        # All further entries are older than the query asks for.
        if page.entries and query.since is not None and page.entries[-1].at < int(query.since):
            break
    yield LogPage(matching, has_more=False, asked_at=asked_at)


def _matches(entry: AuditEntry, query: LogQuery) -> bool:
    return (
        (query.since is None or entry.at >= int(query.since))
        and (not query.types or entry.type in query.types)
        and (not query.project_ids or entry.project_id in query.project_ids)
        and (not query.resource_ids or entry.resource_id in query.resource_ids)
    )


def _has_filter(query: LogQuery) -> bool:
    return bool(query.types or query.project_ids or query.resource_ids)
