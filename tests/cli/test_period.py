"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from reconciler.cli.period import day, days, moment
from reconciler.errors import UsageError
from reconciler.model.spending import Period

TODAY = date(2026, 3, 10)
NOW = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("2026-01-31", date(2026, 1, 31)), ("30d", date(2026, 2, 8)), ("0d", TODAY), ("today", TODAY),
     ("this-month", date(2026, 3, 1))],
)  # fmt: skip
def test_a_day_is_read_in_every_spelling(text: str, meant: date) -> None:
    assert day(text, "--since", today=TODAY) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [("12h", datetime(2026, 3, 10, 3, 30, tzinfo=UTC)), ("1d", datetime(2026, 3, 9, 15, 30, tzinfo=UTC)),
     ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)), ("2026-03-01T10:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
     ("2026-03-01T10:00", datetime(2026, 3, 1, 10, tzinfo=UTC))],
)  # fmt: skip
def test_a_moment_is_read_in_every_spelling(text: str, meant: datetime) -> None:
    assert moment(text, "--since", now=NOW) == meant


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-3d", "99999999d", "99999d9", "last tuesday", "2026-02-30", "12H"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no day"):
        day(text, "--since", today=TODAY)
    with pytest.raises(UsageError, match="is no time"):
        moment(text, "--since", now=NOW)


def test_a_period_without_an_end_has_today_in_it() -> None:
    assert days("2d", None, today=TODAY).days(TODAY) == [date(2026, 3, 8), date(2026, 3, 9), TODAY]
    assert Period(TODAY).days(TODAY) == [TODAY]
