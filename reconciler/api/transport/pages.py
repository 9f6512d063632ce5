"""Lists, page by page, in every style of the API.

Most lists continue after an id, which is in `last_id` of the envelope or in the last item. Others
send a `next` token, or a `next_page` for the parameter `page`; some are one page. A list with more
items but without a cursor, or with a cursor that repeats, is an error: half a list would read as
deleted objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.errors import AnswerError

MAX_PAGES = 10_000

QueryParameters = Mapping[str, "str | int | Sequence[str]"]
"""Query parameters; one with several values is sent once for each."""
Query = dict[str, "str | int | Sequence[str]"]

_CURSORS = (("next_page", "page"), ("next", "after"), ("last_id", "after"))
"""Cursors in an envelope, and the parameter that takes each."""


def items(
    fetch: Callable[[Query], Mapping[str, Any]],
    *,
    subject: str,
    query: QueryParameters | None = None,
    max_pages: int = MAX_PAGES,
) -> Iterator[dict[str, Any]]:
    """Every item of a list, in the order of the pages; see `each_page`."""
    for data, _ in each_page(fetch, subject=subject, query=query, max_pages=max_pages):
        yield from data


def each_page(
    fetch: Callable[[Query], Mapping[str, Any]],
    *,
    subject: str,
    query: QueryParameters | None = None,
    max_pages: int = MAX_PAGES,
) -> Iterator[tuple[list[dict[str, Any]], bool]]:
    """The items of each page, and whether another page follows. Pages are requested on demand.

    `fetch` gets the query of a page and returns its envelope; `subject` names the list in errors.
    Raises AnswerError for an invalid envelope, a missing cursor, and a repeated cursor.
    """
    parameters: Query = dict(query or {})
    # A server that repeats a cursor would be asked forever.
    seen: set[str] = set()
    for _ in range(max_pages):
        envelope = fetch(parameters)
        data = envelope.get("data")
        if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
            raise AnswerError(f"The list {subject} has no list of objects in its answer.")
        has_more = envelope.get("has_more") is True
        yield data, has_more
        if not has_more:
            return
        next_page = _cursor(envelope, data)
        if next_page is None:
            raise AnswerError(
                f"The list {subject} says that there is more, but not where it goes on."
            )
        parameter, cursor = next_page
        if cursor in seen:
            raise AnswerError(f"The list {subject} comes back to a page that was read already.")
        seen.add(cursor)
        parameters[parameter] = cursor
    raise AnswerError(f"The list {subject} has more than {max_pages} pages.")


def _cursor(envelope: Mapping[str, Any], data: list[dict[str, Any]]) -> tuple[str, str] | None:
    """The parameter that asks for the next page, and its value."""
    for name, parameter in _CURSORS:
        cursor = envelope.get(name)
        if isinstance(cursor, str) and cursor:
            return parameter, cursor
    # Fine-tuning jobs have no ids in their envelope, and admin lists may have nulls there.
    last_id = data[-1].get("id") if data else None
    if isinstance(last_id, str) and last_id:
        return "after", last_id
    return None
