"""Which part of the audit log is read, as values: no server, no clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.engine.refresh.audit_window import (
    AuditWindow,
    Counted,
    LogPage,
    LogQuery,
    read_window,
    window_of,
)
from reconciler.model.log import AuditEntry

NEWEST = 10_000.0


def entries(*times: float) -> list[AuditEntry]:
    return [
        AuditEntry(f"audit_log-{number}", "login.succeeded", at) for number, at in enumerate(times)
    ]


class Log:
    """A log of pages, and how many of them were asked for."""

    def __init__(self, *pages: list[AuditEntry]) -> None:
        self._pages = pages
        self.calls = 0

    def __call__(self, query: LogQuery) -> Iterator[LogPage]:
        for number, page in enumerate(self._pages, start=1):
            self.calls += 1
            yield LogPage(page, has_more=number < len(self._pages))


def window(
    counted: Counted | None, *, since: float = NEWEST - 900, late: tuple[float, ...] = ()
) -> AuditWindow:
    return window_of(since, newest=NEWEST, counted=counted, late=late)


def test_few_counted_entries_are_all_read_again() -> None:
    assert window(Counted([float(age) for age in range(50)])).start == NEWEST - 900


def test_many_counted_entries_shorten_the_window() -> None:
    found = window(Counted([float(age) for age in range(900)]))
    assert NEWEST - 200 < found.start < NEWEST - 100
    assert found.expected == NEWEST - found.start + 1


def test_a_window_never_begins_after_the_newest_counted_entry() -> None:
    assert window(Counted([0.0] * 500)).start == NEWEST


def test_entries_that_were_not_all_counted_begin_where_counting_did() -> None:
    assert window(Counted([0.0, 5.0], back_to=30.0)).start == NEWEST - 30


def test_a_window_shows_the_newest_entry_again_where_nothing_else_is_wanted() -> None:
    found = window(Counted(), since=NEWEST + 500)
    assert (found.start, found.needed_from) == (NEWEST, NEWEST + 500)


def test_a_log_is_read_no_further_than_an_entry_that_is_older_than_what_is_needed() -> None:
    log = Log(entries(NEWEST + 600, *[NEWEST] * 99), entries(NEWEST))
    reading = read_window(log, window(Counted(), since=NEWEST + 500), worth=lambda: 9)
    assert (log.calls, reading.is_complete) == (1, True)


def test_our_own_writes_that_did_not_show_yet_are_expected() -> None:
    assert window(None, late=(NEWEST + 1, NEWEST + 2)).expected == 2


@pytest.mark.parametrize(
    ("counted", "has_filter"), [(Counted([1.0] * 60), True), (Counted([0.0] * 61), False)]
)
def test_filtered_queries_need_room_for_what_was_counted(
    counted: Counted, has_filter: bool
) -> None:
    assert (window(counted).filter_start is not None) is has_filter


def test_a_log_whose_first_page_is_new_is_left_after_it() -> None:
    log = Log(entries(*[NEWEST + 50] * 100), entries(NEWEST))
    reading = read_window(log, window(Counted([0.0] * 100)), worth=lambda: 1_000)
    assert (log.calls, reading.is_complete) == (1, False)


def test_a_log_that_reaches_what_was_counted_is_read_on_as_far_as_that_is_known() -> None:
    log = Log(entries(*[NEWEST] * 100), entries(NEWEST))
    reading = read_window(log, window(Counted([0.0] * 101)), worth=lambda: 2)
    assert (log.calls, reading.is_complete) == (2, True)


def test_reading_on_stops_where_it_would_cost_more_than_it_is_worth() -> None:
    log = Log(entries(*[NEWEST] * 100), entries(NEWEST))
    reading = read_window(log, window(Counted([0.0] * 101)), worth=lambda: 1)
    assert (log.calls, reading.is_complete) == (1, False)


def test_an_entry_that_two_pages_show_is_read_once() -> None:
    page = entries(*[NEWEST] * 100)
    reading = read_window(Log(page, page), window(Counted([0.0] * 101)), worth=lambda: 2)
    assert len(reading.entries) == 100
