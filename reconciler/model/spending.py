"""Costs and usage of an organization, in whole UTC days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct, field

PEAKS = frozenset({"usage_bytes"})
"""Figures that measure a level instead of a flow. Over several days the maximum counts, because a
sum would be meaningless.
"""


class Period(Struct, frozen=True):
    """Days from `since` up to but not including `until`; None means until now."""

    since: date
    until: date | None = None

    def days(self, today: date) -> list[date]:
        """The days of the period that have begun."""
        end = self.until or today + timedelta(days=1)
        return [self.since + timedelta(days=number) for number in range((end - self.since).days)]


class Cost(Struct, frozen=True):
    """The cost of one item on one day. `project_id` and `line_item` are None unless the query
    grouped by them."""

    day: date
    amount: Decimal
    currency: str
    project_id: str | None = None
    line_item: str | None = None


class Use(Struct, frozen=True):
    """The usage of one day, by the API's names of the figures. `model` is None unless the query
    grouped by it."""

    type: str
    day: date
    project_id: str | None = None
    figures: Mapping[str, int] = field(default_factory=dict)
    model: str | None = None


def figures_of(uses: Iterable[Use]) -> dict[str, int]:
    """The combined figures of many uses."""
    # First all uses of a day together, of several projects or models; then the days.
    days: dict[date, dict[str, int]] = {}
    for use in uses:
        day = days.setdefault(use.day, {})
        for name, value in use.figures.items():
            day[name] = day.get(name, 0) + value
    figures: dict[str, int] = {}
    for day in days.values():
        for name, value in day.items():
            before = figures.get(name, 0)
            figures[name] = max(before, value) if name in PEAKS else before + value
    return figures
