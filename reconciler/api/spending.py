"""Costs and usage, read from daily buckets.

Costs take one call for about half a year, usage one for each month and type. The API sends amounts
as numbers or as texts; either way, they become the decimal that was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from reconciler.api.keys import KeyRing
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.transport.client import Client
from reconciler.api.transport.pages import Query
from reconciler.api.transport.responses import text_or_none
from reconciler.errors import AnswerError
from reconciler.model.spending import Cost, Period, Use

TYPES = (
    "completions",
    "embeddings",
    "moderations",
    "images",
    "audio_speeches",
    "audio_transcriptions",
    "vector_stores",
    "code_interpreter_sessions",
    "file_search_calls",
    "web_search_calls",
    "decisions",
)
"""The types of usage, as the API's paths name them."""

WITHOUT_MODEL = frozenset({"vector_stores", "code_interpreter_sessions", "file_search_calls"})
"""The types of usage without a model."""

_COSTS = "/organization/costs"
# The most daily buckets that the API puts on a page.
_COST_DAYS = 180
_USAGE_DAYS = 31


def read_costs(
    client: Client,
    keys: KeyRing,
    period: Period,
    *,
    group_by: Sequence[str] = (),
    project_ids: Sequence[str] = (),
) -> list[Cost]:
    """Costs, grouped by `project_id` and `line_item` on request, for all projects or for some."""
    query = _query(period, _COST_DAYS, group_by, project_ids)
    results = _results(ScopedClient(client, keys.admin()), _COSTS, query)
    return [_cost(day, result) for day, result in results]


def read_usage(
    client: Client,
    keys: KeyRing,
    type: str,
    period: Period,
    *,
    group_by: Sequence[str] = (),
    project_ids: Sequence[str] = (),
) -> list[Use]:
    """Usage of one of `TYPES`, grouped by `project_id` and `model` on request.

    Raises NotFoundError where the server lacks the type.
    """
    query = _query(period, _USAGE_DAYS, group_by, project_ids)
    results = _results(ScopedClient(client, keys.admin()), f"/organization/usage/{type}", query)
    return [_use(type, day, result) for day, result in results]


def _use(type: str, day: date, result: Mapping[str, Any]) -> Use:
    project_id, model = result.get("project_id"), result.get("model")
    return Use(type, day, text_or_none(project_id), _figures(result), text_or_none(model))


def _query(period: Period, days: int, group_by: Sequence[str], project_ids: Sequence[str]) -> Query:
    query: Query = {"start_time": _seconds(period.since), "bucket_width": "1d", "limit": days}
    if period.until is not None:
        query["end_time"] = _seconds(period.until)
    lists = {"group_by": group_by, "project_ids": project_ids}
    return query | {name: list(values) for name, values in lists.items() if values}


def _results(
    client: ScopedClient, path: str, query: Query
) -> Iterator[tuple[date, Mapping[str, Any]]]:
    for bucket in client.list(path, query=query):
        began, results = bucket.get("start_time"), bucket.get("results")
        if not isinstance(began, int) or not isinstance(results, list):
            raise AnswerError(f"{path}: the answer has a bucket without a time or results.")
        for result in results:
            if not isinstance(result, Mapping):
                raise AnswerError(f"{path}: the answer has a result that is no object.")
            yield datetime.fromtimestamp(began, UTC).date(), result


def _cost(day: date, result: Mapping[str, Any]) -> Cost:
    value = currency = None
    amount = result.get("amount")
    if isinstance(amount, Mapping):
        value, currency = amount.get("value"), amount.get("currency")
    # True is a number in Python.
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | str)
        or not isinstance(currency, str)
    ):
        raise AnswerError(f"{_COSTS}: the answer has a result without an amount and its currency.")
    return Cost(
        day,
        _decimal(value),
        currency.upper(),
        text_or_none(result.get("project_id")),
        text_or_none(result.get("line_item")),
    )


def _decimal(value: float | str) -> Decimal:
    """The number as it was written."""
    # The shortest text of a float is what the API sent. Some of its amounts are texts themselves.
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise AnswerError(f"{_COSTS}: the answer has an amount that is no number.")
    return number


def _figures(result: Mapping[str, Any]) -> dict[str, int]:
    # Which numbers a result has depends on the type of usage, and the API adds new ones.
    return {name: value for name, value in result.items() if type(value) is int}


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
