"""Times on the command line, in UTC: a date, an age, `today` or `this-month`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import click

from reconciler.errors import UsageError
from reconciler.model.spending import Period

_AGO = re.compile(r"([0-9]{1,5})([dh])")
DAYS = "2026-11-01, 30d, today or this-month"
MOMENTS = "2026-11-01, 2026-11-01T15:04, 30d, 12h, today or this-month"


def period_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--since` and `--until`, for commands about whole days."""
    since = click.option(
        "--since",
        default="this-month",
        show_default=True,
        metavar="DAY",
        help="First day: 2026-11-01, 30d, today, this-month.",
    )
    until = click.option("--until", metavar="DAY", help="End before this day; now by default.")
    return since(until(function))


def projects_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--project`, for commands that can be about some projects only."""
    project = click.option(
        "--project",
        multiple=True,
        metavar="PROJECT",
        help="Only this project, by name or id; repeatable.",
    )
    return project(function)


def days(since: str, until: str | None, *, today: date) -> Period:
    """Whole days; raises UsageError."""
    period = Period(
        day(since, "--since", today=today),
        day(until, "--until", today=today) if until else None,
    )
    end = period.until or today + timedelta(days=1)
    if period.since >= end:
        raise UsageError(f"--since {since}: the period would end before it begins")
    return period


def day(text: str, option: str, *, today: date) -> date:
    """One day; `30d` is 30 days ago."""
    if text == "today":
        return today
    if text == "this-month":
        return today.replace(day=1)
    match = _AGO.fullmatch(text)
    try:
        if match and match[2] == "d":
            return today - timedelta(days=int(match[1]))
        return date.fromisoformat(text)
    # An age of many thousand days lies before the first date that Python knows.
    except (ValueError, OverflowError):
        raise UsageError(f'{option} "{text}" is no day: write one such as {DAYS}') from None


def moment(text: str, option: str, *, now: datetime) -> datetime:
    """One moment. `30d` and `12h` ago are exact to the second; a date means its midnight."""
    match = _AGO.fullmatch(text)
    try:
        if match:
            return now - timedelta(**{{"d": "days", "h": "hours"}[match[2]]: int(match[1])})
        if "T" in text:
            at = datetime.fromisoformat(text)
            # Without an offset it is UTC, like all times of the API and of our tables.
            if at.tzinfo is None:
                at = at.replace(tzinfo=UTC)
            return at
        return datetime.combine(day(text, option, today=now.date()), time(), UTC)
    except (ValueError, OverflowError, UsageError):
        raise UsageError(f'{option} "{text}" is no time: write one such as {MOMENTS}') from None
