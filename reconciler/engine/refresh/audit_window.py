"""Reads the part of the audit log that a plan needs, and stops if that costs more than it saves.

The log is read backwards, and no answer says how many entries match. The count of the last run
decides how far to read: its entries are expected again, all others are new. If the first page
reaches counted entries, the number of remaining pages is known. If it is full of new entries, the
length is unknown and could be any number of calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from math import ceil

from msgspec import Struct

from reconciler.errors import ApiError
from reconciler.model.kind import Kind
from reconciler.model.log import AuditEntry, LogPage, LogQuery

PAGE_ENTRIES = 100
"""Entries per page."""

_MOST_COUNTED = 180
"""How many entries that an earlier run evaluated are read again, to find late entries among them.
With more, each plan after a large apply would read all of its entries."""

_FEW_EXPECTED = 60
"""How many expected entries leave enough of a page for the answer of a filtered query."""

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
"""The published event types that concern kinds. The API's filter requires complete names."""

FOR_EVERY_KIND = ("organization.updated", "resource.deleted")
"""Types that may concern objects of any kind."""

AuditLog = Callable[[LogQuery], Iterator[LogPage]]
"""Returns the pages that match a query, newest entries first, with one request per page that is
consumed. Raises ApiError or CredentialError if the log cannot be read."""


class AuditWindow(Struct, frozen=True):
    """The part of the log to read. Times are unix seconds."""

    start: float | None
    """The begin of the query; None for the newest entries of any time. Earlier than `needed_from`
    if an entry that was shown before has to show again."""
    needed_from: float
    """Entries from this time on count."""
    expected: int = 0
    """The number of expected entries."""
    reached_at: float = math.inf
    """A page with an entry of this time or older has reached the expected entries."""
    filter_start: float | None = None
    """The begin of filtered queries; None if too many expected entries may match them."""
    is_shortened: bool = False
    """Whether evaluated entries that would count are left out."""

    @property
    def pages(self) -> int:
        """The number of pages of expected entries, at least one."""
        return max(1, ceil(self.expected / PAGE_ENTRIES))


class WindowReading(Struct, frozen=True):
    """The entries of a window."""

    entries: Sequence[AuditEntry]
    calls: int
    is_complete: bool
    """Whether all entries that count were read."""
    shown_from: float
    """All entries from this time on were read, in unix seconds."""
    asked_at: float = math.inf
    """As of when all of it is known, as in `LogPage`."""


class Counted(Struct, frozen=True):
    """The entries that an earlier run evaluated, by age in seconds before the newest of them."""

    ages: Sequence[float] = ()
    back_to: float | None = None
    """The age up to which all entries were counted; None for the whole window of that run."""

    @classmethod
    def of(cls, entries: Collection[AuditEntry], newest: float, *, since: float | None) -> Counted:
        """The count of a reading. `since` is given if older entries exist and were not read."""
        if since is None:
            return cls(sorted(newest - entry.at for entry in entries))
        ages = sorted(newest - entry.at for entry in entries if entry.at >= since)
        return cls(ages, newest - since)


def window_of(
    since: float, *, newest: float | None, counted: Counted | None, late: Sequence[float]
) -> AuditWindow:
    """The window for scopes about which entries from `since` on may report changes.

    `newest` is the time of the newest entry seen so far. `counted` is None if earlier entries were
    not evaluated. `late` are the times of own writes whose entries have not appeared.
    """
    # Earlier entries are unknown, so every entry of the window has to be judged. It begins no later
    # than the newest entry seen, which must appear again.
    if newest is None or counted is None:
        return AuditWindow(
            since if newest is None else min(since, newest),
            since,
            expected=_count(late, since),
            reached_at=max(late, default=-math.inf),
        )
    if newest < since:
        # Nothing was judged that counts now; the newest entry only has to show that the log is the
        # same.
        return AuditWindow(
            newest,
            since,
            expected=_count(late, since),
            reached_at=max([since, *late]),
            filter_start=None if late else since,
        )
    # Everything in `times` is expected to be read again and proves nothing new.
    times = [*(newest - age for age in counted.ages), *late]
    start = since
    # An earlier run read only the newest part of its window and settled the rest by filtered
    # queries. Reading goes back as far as its entries were counted.
    if counted.back_to is not None:
        start = max(since, newest - counted.back_to)
    start = _shortened(start, newest, times)
    is_shortened = int(start) > int(since)
    # Entries that were judged before match a filter too. Too many of them would fill its only page.
    filter_start = next((at for at in (start, newest) if _count(times, at) <= _FEW_EXPECTED), None)
    return AuditWindow(
        start,
        start,
        expected=_count(times, start),
        reached_at=max([newest, *late]),
        filter_start=filter_start,
        is_shortened=is_shortened,
    )


def _count(times: Sequence[float], since: float) -> int:
    # The log is asked in whole seconds, so the whole second of `since` is read.
    return sum(time >= int(since) for time in times)


def _shortened(start: float, newest: float, times: Sequence[float]) -> float:
    """The earliest start that reads a limited number of counted entries again.

    Never later than the newest counted entry: anything logged from now on is at least as new.
    """
    within = sorted((time for time in times if time >= int(start)), reverse=True)
    # Reading a few known entries again is cheaper than missing a late one.
    if len(within) <= _MOST_COUNTED:
        return start
    # The filter knows whole seconds, so the second of the boundary is left out as a whole.
    return min(float(int(within[_MOST_COUNTED]) + 1), newest)


def read_window(
    log: AuditLog, window: AuditWindow, *, worth: Callable[[], int], is_bold: bool = False
) -> WindowReading:
    """Read a window to its end, unless that takes more calls than it is `worth`.

    `worth` returns the maximum number of calls; it is called only if there is more than a page. The
    first page is always read. A second one is read only if the number of remaining pages is known,
    or if `is_bold`.
    """
    entries: dict[str, AuditEntry] = {}
    calls, oldest, asked_at = 0, math.inf, math.inf
    for page in log(LogQuery(window.start)):
        calls += 1
        asked_at = min(asked_at, page.asked_at)
        # A log that grows between two pages shows its last entries again.
        entries |= by_id(page.entries)
        oldest = min([oldest, *(entry.at for entry in page.entries)])
        # The log ends here, so the window is complete whatever was expected.
        if not page.has_more:
            start = window.start or -math.inf
            return WindowReading(list(entries.values()), calls, True, start, asked_at)
        # The page reaches beyond the window. The rest of the log is irrelevant.
        if oldest < int(window.needed_from):
            return WindowReading(list(entries.values()), calls, True, oldest + 1, asked_at)
        expected = window.expected - sum(
            entry.at <= window.reached_at for entry in entries.values()
        )
        # Only if the page has reached expected entries is the number of remaining pages known.
        is_known = oldest <= window.reached_at and expected > 0
        # A full page without an expected entry can be the first of any number. Filtered queries may
        # still settle some scopes.
        if calls == 1 and not (is_known or is_bold):
            break
        # Stop before the call that would cost more than it saves, rather than after it.
        if calls + max(1, ceil(expected / PAGE_ENTRIES)) > worth():
            break
    # The second of the oldest entry may have others, which were not read.
    return WindowReading(list(entries.values()), calls, False, oldest + 1, asked_at)


def read_filtered(log: AuditLog, query: LogQuery) -> Sequence[AuditEntry] | None:
    """The entries that match a filter, with one call; None if there is more than a page."""
    # Pages are requested lazily, so the second page costs no call.
    page = next(iter(log(query)), None)
    if page is None or page.has_more:
        return None
    return page.entries


def types_of(kinds: Collection[Kind], *, but: Collection[str] = ()) -> tuple[str, ...]:
    """The published event types that report changes of the kinds, and those that may concern every
    kind."""
    prefixes = tuple(chain.from_iterable(kind.audit_events for kind in kinds))
    types = tuple(name for name in _PUBLISHED if name.startswith(prefixes) and name not in but)
    return (*types, *FOR_EVERY_KIND)


def is_published(type: str) -> bool:
    """Whether a filter can name the event type."""
    return type in _PUBLISHED


def by_id(entries: Iterable[AuditEntry]) -> dict[str, AuditEntry]:
    """Each entry once, by its id."""
    return {entry.id: entry for entry in entries}


def newest_of(shown: Mapping[str, float]) -> float | None:
    """The time of the newest entry; None if there is none."""
    return max(shown.values(), default=None)


def too_long(reading: WindowReading) -> ApiError:
    """The error for a log that is not worth reading to its end."""
    return ApiError(f"it has more than {len(reading.entries):,} new entries")
