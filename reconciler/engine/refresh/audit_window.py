"""Reads the part of the audit log that a plan needs, and stops before that costs more than it saves.

The log is read backwards, and neither the API nor a page says how many entries match. So what the last run counted
decides how far to read: its entries are expected again, any others are new. The first page either reaches entries that
were counted, which makes the rest a known number of pages, or it is full of new ones, and then the length is unknown
and reading on could cost any number of calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import ceil

from msgspec import Struct

from reconciler.errors import ApiError
from reconciler.model.kind import Kind
from reconciler.model.log import AuditEntry, LogPage, LogQuery

PAGE_ENTRIES = 100
"""How many entries a page of the log has."""

_MOST_COUNTED = 180
"""How many entries that an earlier run judged are read again, in case others were logged late among them. More would
make each plan after a large apply read all of that apply's entries."""

_FEW_EXPECTED = 60
"""How many expected entries leave enough of a page for a filtered query to be answered with one."""

_PUBLISHED = (
    "certificate.created", "certificate.updated", "certificate.deleted", "certificates.activated",
    "certificates.deactivated", "checkpoint.permission.created", "checkpoint.permission.deleted",
    "external_key.registered", "external_key.removed", "group.created", "group.updated", "group.deleted",
    "invite.accepted", "project.created", "project.updated", "project.archived", "project.deleted",
    "rate_limit.updated", "rate_limit.deleted", "role.created", "role.updated", "role.deleted",
    "role.assignment.created", "role.assignment.deleted", "scim.enabled", "scim.disabled", "service_account.created",
    "service_account.updated", "service_account.deleted", "user.added", "user.updated", "user.deleted",
    "workload_identity_provider.created", "workload_identity_provider.updated", "workload_identity_provider.deleted",
    "workload_identity_provider_mapping.created", "workload_identity_provider_mapping.updated",
    "workload_identity_provider_mapping.deleted",
)  # fmt: skip
"""The published types of entries that kinds are told of by. The filter of the API wants whole names."""

FOR_EVERY_KIND = ("organization.updated", "resource.deleted")
"""Types that may concern objects of any kind."""

AuditLog = Callable[[LogQuery], Iterator[LogPage]]
"""Gives the pages that match a query, newest entries first, and sends a request for each page only when it is wanted.
Raises ApiError or CredentialError where the log cannot be read."""


class Window(Struct, frozen=True):
    """From when on the log is read, and how many entries are expected there. Times are in unix seconds.

    Entries from `needed_from` on count; the query begins at `start`, which is earlier where an entry that was shown
    before has to show again, and None for the newest entries whatever their time. A page with an entry of `reached_at`
    or older has reached the entries that are expected. The window `is_shortened` where entries that count, but were
    judged before, are left out. `filter_start` is where filtered queries begin, None where too
    many expected entries may match them.
    """

    start: float | None
    needed_from: float
    expected: int = 0
    reached_at: float = math.inf
    filter_start: float | None = None
    is_shortened: bool = False

    @property
    def pages(self) -> int:
        """How many pages the expected entries fill, one at the least."""
        return max(1, ceil(self.expected / PAGE_ENTRIES))


class WindowReading(Struct, frozen=True):
    """What was read of a window: `is_complete` where nothing is missing that counts; all that was asked for has been
    shown back to `shown_from`, in unix seconds.
    """

    entries: Sequence[AuditEntry]
    calls: int
    is_complete: bool
    shown_from: float


class Counted(Struct, frozen=True):
    """The entries that an earlier run has judged, by their ages in seconds before the newest of them.

    `back_to` is the age up to which they were all counted; None where that is all of the window of that run.
    """

    ages: Sequence[float] = ()
    back_to: float | None = None

    @classmethod
    def of(cls, entries: Collection[AuditEntry], newest: float, *, since: float | None) -> Counted:
        """The count of what a reading shows; `since` where older entries exist and were not read."""
        times = [entry.at for entry in entries if since is None or entry.at >= since]
        return cls(sorted(newest - at for at in times), None if since is None else newest - since)


def window_of(
    since: float, *, newest: float | None, counted: Counted | None, late: Sequence[float]
) -> Window:
    """The window to read for scopes about which entries from `since` on may tell something new.

    `newest` is the time of the newest entry that was shown so far. `counted` is None where entries may have come
    before it that nobody has judged. `late` are the times of our own writes whose entries were not shown yet.
    """
    if newest is None or counted is None:
        start = since if newest is None else min(since, newest)
        return Window(start, since, _count(late, since), max(late, default=-math.inf))
    times = [*(newest - age for age in counted.ages), *late]
    if newest < since:
        # Nothing was judged that counts now; the newest entry only has to show that the log is the same.
        return Window(
            newest, since, _count(late, since), max([since, *late]), since if not late else None
        )
    start = since if counted.back_to is None else max(since, newest - counted.back_to)
    start = _shortened(start, newest, times)
    is_shortened = int(start) > int(since)
    filter_start = next((at for at in (start, newest) if _count(times, at) <= _FEW_EXPECTED), None)
    return Window(
        start, start, _count(times, start), max([newest, *late]), filter_start, is_shortened
    )


def _count(times: Sequence[float], since: float) -> int:
    return sum(1 for time in times if time >= int(since))


def _shortened(start: float, newest: float, times: Sequence[float]) -> float:
    """The earliest time from which on not too many counted entries are read again.

    Never later than the newest of them: whatever is logged from now on is at least as new.
    """
    within = sorted((time for time in times if time >= int(start)), reverse=True)
    if len(within) <= _MOST_COUNTED:
        return start
    boundary = int(
        within[_MOST_COUNTED]
    )  # the filter knows whole seconds, so this one is left out as a whole
    return min(float(boundary + 1), newest)


def read_window(
    log: AuditLog, window: Window, *, worth: Callable[[], int], is_bold: bool = False
) -> WindowReading:
    """Read a window to its end, unless that would take more calls than it is `worth`.

    `worth` says how many calls may be made for it at most; it is asked where there is more than a page. The first page
    is read in any case. A second one is read only where it is known how many are left, or where the reader `is_bold`.
    """
    entries: dict[str, AuditEntry] = {}
    calls, oldest = 0, math.inf
    for page in log(LogQuery(window.start)):
        calls += 1
        # A log that grows between two pages shows its last entries again.
        entries |= {entry.id: entry for entry in page.entries}
        oldest = min([oldest, *(entry.at for entry in page.entries)])
        if not page.has_more:
            return WindowReading(list(entries.values()), calls, True, window.start or -math.inf)
        if oldest < int(window.needed_from):
            return WindowReading(list(entries.values()), calls, True, oldest + 1)
        expected = window.expected - sum(
            1 for entry in entries.values() if entry.at <= window.reached_at
        )
        is_known = oldest <= window.reached_at and expected > 0
        if calls == 1 and not (is_known or is_bold):
            break
        if calls + max(1, ceil(expected / PAGE_ENTRIES)) > worth():
            break
    # The second of the oldest entry may have others, which were not read.
    return WindowReading(list(entries.values()), calls, False, oldest + 1)


def read_filtered(log: AuditLog, query: LogQuery) -> Sequence[AuditEntry] | None:
    """What a filtered query matches, with one call; None where that is more than a page."""
    page = next(iter(log(query)), None)
    if page is None or page.has_more:
        return None
    return page.entries


def types_of(kinds: Collection[Kind], *, but: Collection[str] = ()) -> tuple[str, ...]:
    """The published types of entries that tell of changes of the kinds, and those that may concern every kind."""
    beginnings = tuple(beginning for kind in kinds for beginning in kind.audit_events)
    told = tuple(name for name in _PUBLISHED if name.startswith(beginnings) and name not in but)
    return (*told, *FOR_EVERY_KIND)


def is_published(type: str) -> bool:
    """Whether a filter can ask for a type of entries."""
    return type in _PUBLISHED


def newest_of(shown: Mapping[str, float]) -> float | None:
    """The time of the newest entry that was shown; None where none was."""
    return max(shown.values(), default=None)


def too_long(reading: WindowReading) -> ApiError:
    """The error of a log that is not worth reading to its end."""
    return ApiError(f"it has more than {len(reading.entries):,} new entries")
