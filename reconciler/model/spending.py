"""What an organization paid, and what it used: the figures of a period, in whole days of UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct, field

PEAKS = frozenset({"usage_bytes"})
"""Figures that say how much there was on a day. Of several days the largest counts: a sum would mean nothing."""


class Period(Struct, frozen=True):
    """Days from `since` on, up to and without `until`; None is to now."""

    since: date
    until: date | None = None

    def days(self, today: date) -> list[date]:
        """Every day of the period that has begun."""
        end = self.until or today + timedelta(days=1)
        return [self.since + timedelta(days=number) for number in range((end - self.since).days)]


class Cost(Struct, frozen=True):
    """What one thing cost on one day. `project_id` and `line_item` are None where they were not asked for."""

    day: date
    amount: Decimal
    currency: str
    project_id: str | None = None
    line_item: str | None = None


class Use(Struct, frozen=True):
    """What was used on one day, by the API's names of the figures. `model` is None where it was not asked for."""

    type: str
    day: date
    project_id: str | None = None
    figures: Mapping[str, int] = field(default_factory=dict)
    model: str | None = None


def figures_of(uses: Iterable[Use]) -> dict[str, int]:
    """The figures of many uses together."""
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
