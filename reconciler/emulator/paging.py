"""Pages of lists.

Every list has one order and is read in either direction from a cursor, which is an object's
identifier. The cursor's position is looked up, so the cost of a page depends on its size only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from reconciler.emulator.errors import ErrorAnswer, bad_request
from reconciler.emulator.query import Query
from reconciler.emulator.store import Collection, ObjectRow
from reconciler.emulator.validation import invalid_value

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """The page parameters of a request."""

    limit: int
    descending: bool
    after: str | None = None
    before: str | None = None


def page_of(
    query: Query,
    *,
    default: int = 20,
    maximum: int | None = 100,
    order: str | None = "desc",
    before: bool = True,
    descending: bool = False,
) -> Page:
    """Parse the page parameters.

    `order` is the default of a list that takes the parameter; for other lists it is None, and
    `descending` says how it is sorted.
    """
    return Page(
        limit=_limit(query.integer("limit"), default, maximum),
        descending=descending if order is None else _order(query.get("order"), order) == "desc",
        after=query.get("after") or None,
        before=(query.get("before") or None) if before else None,
    )


def _limit(sent: int | None, default: int, maximum: int | None) -> int:
    limit = default if sent is None else sent
    if limit < 1:
        raise _out_of_range("below minimum", ">= 1", limit, "integer_below_min_value")
    if maximum is not None and limit > maximum:
        raise _out_of_range("above maximum", f"<= {maximum}", limit, "integer_above_max_value")
    return limit


def _out_of_range(how: str, bound: str, limit: int, code: str) -> ErrorAnswer:
    return bad_request(
        f"Invalid 'limit': integer {how} value. Expected a value {bound}, but got {limit} instead.",
        param="limit",
        code=code,
    )


def _order(sent: str | None, default: str) -> str:
    if sent is None:
        return default
    if sent not in ("asc", "desc"):
        raise invalid_value(sent, "order", ("asc", "desc"))
    return sent


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A pageable sequence: items, oldest first, and the position of an identifier."""

    items: Sequence[T]
    position: Callable[[str], int | None]

    def cut(self, page: Page, keep: Callable[[T], bool] | None = None) -> tuple[list[T], bool]:
        """Return the items of a page, and whether there are more."""
        step = -1 if page.descending else 1
        if page.before is not None and page.after is None:
            # The items just before the cursor, in list order.
            found, more = self._walk(
                self._find(page.before, "before") - step, -step, page.limit, keep
            )
            return found[::-1], more
        if page.after is not None:
            start = self._find(page.after, "after") + step
        else:
            start = len(self.items) - 1 if page.descending else 0
        stop = None if page.before is None else self._find(page.before, "before")
        return self._walk(start, step, page.limit, keep, stop)

    def _walk(
        self,
        start: int,
        step: int,
        limit: int,
        keep: Callable[[T], bool] | None,
        stop: int | None = None,
    ) -> tuple[list[T], bool]:
        found: list[T] = []
        index = start
        while 0 <= index < len(self.items) and index != stop:
            item = self.items[index]
            if keep is None or keep(item):
                if len(found) == limit:
                    return found, True
                found.append(item)
            index += step
        return found, False

    def _find(self, cursor: str, param: str) -> int:
        position = self.position(cursor)
        if position is None:
            raise bad_request(
                f"Invalid '{param}': no object with id '{cursor}' in this list.", param=param
            )
        return position


def listing(collection: Collection) -> Listing[ObjectRow]:
    return Listing(collection.ordered(), collection.position)


def token_envelope(data: list[dict[str, Any]], after: str | None) -> dict[str, Any]:
    """Return the response of a list with continuation tokens; None means no more pages."""
    return {"object": "list", "data": data, "has_more": after is not None, "next": after}


def envelope(data: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    """Return the list response; an empty page has null as first and last identifier."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }
