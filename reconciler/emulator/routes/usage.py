"""Usage and costs: read-only, in pages of time buckets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from reconciler.emulator import usage
from reconciler.emulator.errors import bad_request
from reconciler.emulator.paging import page_of
from reconciler.emulator.query import Query
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.usage import Sort
from reconciler.emulator.validation import invalid_value

# Seconds per bucket, default number of buckets, maximum number.
_WIDTHS = {"1m": (60, 60, 1440), "1h": (3600, 24, 168), "1d": (usage.DAY, 7, 31)}
_COST_WIDTHS = {"1d": (usage.DAY, 7, 180)}
_COST_DIMENSIONS = {"project_id": "project_ids", "api_key_id": "api_key_ids", "line_item": None}

Dimensions = Mapping[str, "str | None"]


@dataclass(frozen=True)
class _Window:
    """The buckets of one page: start of the first, width, end of the last, and the next page."""

    starts: range
    until: int
    after: str | None

    @property
    def width(self) -> int:
        return self.starts.step


def read_usage(call: Call, sort: Sort) -> dict[str, Any]:
    groups = _groups(call.query, sort.grouped_by)
    keep = _filter(call.query, sort.grouped_by)
    uses = [use.body for use in usage.uses(call.store, sort) if keep(use.body)]

    def result(group: Mapping[str, Any], members: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        uses_of_group = list(members)
        return {
            "object": sort.object,
            **{measure: sum(use[measure] for use in uses_of_group) for measure in sort.measures},
            **{name: group.get(name) for name in sort.grouped_by},
        }

    return _page(_window(call, _WIDTHS), uses, groups, result)


def read_costs(call: Call) -> dict[str, Any]:
    groups = _groups(call.query, _COST_DIMENSIONS)
    keep = _filter(call.query, _COST_DIMENSIONS)
    charges = [
        {
            "at": charge.at,
            "quantity": charge.quantity,
            "unit": charge.unit,
            "nano": charge.nano_dollars,
            **charge.dimensions,
        }
        for charge in usage.charges(call.store)
        if keep(charge.dimensions)
    ]

    def result(group: Mapping[str, Any], members: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        charges_of_group = list(members)
        itemised = "line_item" in group
        return {
            "object": "organization.costs.result",
            "amount": {
                "value": sum(charge["nano"] for charge in charges_of_group) / 10**9,
                "currency": "usd",
            },
            **{name: group.get(name) for name in _COST_DIMENSIONS},
            "quantity": sum(charge["quantity"] for charge in charges_of_group)
            if itemised
            else None,
            "quantity_unit": charges_of_group[0]["unit"] if itemised else None,
        }

    return _page(_window(call, _COST_WIDTHS), charges, groups, result)


def _window(call: Call, widths: Mapping[str, tuple[int, int, int]]) -> _Window:
    query = call.query
    name = query.get("bucket_width") or "1d"
    if name not in widths:
        raise invalid_value(name, "bucket_width", tuple(widths))
    width, default, maximum = widths[name]
    start, end = _required(query, "start_time"), query.integer("end_time")
    end = call.now + 1 if end is None else end
    if end <= start:
        raise bad_request("Invalid 'end_time': it must be after 'start_time'.", param="end_time")
    limit = page_of(query, default=default, maximum=maximum, order=None, before=False).limit
    first = _from_token(query.get("page"), start // width * width)
    behind = first + limit * width
    after = f"page_{behind:016x}" if behind < end else None
    return _Window(range(first, min(behind, end), width), min(behind, end), after)


def _required(query: Query, name: str) -> int:
    sent = query.integer(name)
    if sent is None:
        raise bad_request(
            f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
        )
    return sent


def _from_token(token: str | None, start: int) -> int:
    if not token:
        return start
    try:
        return int(token.removeprefix("page_"), 16)
    except ValueError:
        raise bad_request(
            f"Invalid 'page': '{token}' is no page of this list.", param="page"
        ) from None


def _groups(query: Query, dimensions: Dimensions) -> list[str]:
    groups = query.all("group_by")
    for name in groups:
        if name not in dimensions:
            raise invalid_value(name, "group_by", tuple(dimensions))
    return groups


def _filter(query: Query, dimensions: Dimensions) -> Callable[[Mapping[str, Any]], bool]:
    wanted: dict[str, list[Any]] = {}
    for name, parameter in dimensions.items():
        if parameter == name:  # the only filter that is a boolean, not a list
            if query.get(parameter) is not None:
                wanted[name] = [query.boolean(parameter)]
        elif parameter is not None and (values := query.all(parameter)):
            wanted[name] = values
    return lambda use: all(use.get(name) in values for name, values in wanted.items())


def _page(
    window: _Window,
    uses: Iterable[Mapping[str, Any]],
    groups: list[str],
    result: Callable[[Mapping[str, Any], Iterable[Mapping[str, Any]]], dict[str, Any]],
) -> dict[str, Any]:
    """Return the buckets of a page; buckets without usage have no results."""
    found: dict[int, dict[tuple[Any, ...], list[Mapping[str, Any]]]] = {
        start: {} for start in window.starts
    }
    for use in uses:
        start = use["at"] // window.width * window.width
        if start in found and use["at"] < window.until:
            found[start].setdefault(tuple(use.get(name) for name in groups), []).append(use)
    buckets = [
        {
            "object": "bucket",
            "start_time": start,
            "end_time": start + window.width,
            "results": [
                result(dict(zip(groups, values, strict=True)), members)
                for values, members in sorted(members_of.items(), key=lambda item: str(item[0]))
            ],
        }
        for start, members_of in found.items()
    ]
    return {
        "object": "page",
        "data": buckets,
        "has_more": window.after is not None,
        "next_page": window.after,
    }


ROUTES = (
    Route("GET", "/organization/costs", read_costs, Access.ADMIN),
    *(
        Route(
            "GET", f"/organization/usage/{sort.name}", partial(read_usage, sort=sort), Access.ADMIN
        )
        for sort in usage.SORTS
    ),
)
