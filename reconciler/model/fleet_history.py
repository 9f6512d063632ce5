"""The history of the stacks of a fleet: the result of each run, without values and secrets.

A run with the same result as the last one extends its entry, so the history of a stack grows with
its changes and not with the number of runs.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.model.fleet import Command, StackHealth, StackReport, StackStatus
from reconciler.model.run_origin import RunOrigin

MOST_ENTRIES = 100
"""How many entries of a stack are kept."""
KEPT_SECONDS = 180 * 86_400.0
"""How long entries are kept after their last run. The latest entry stays."""
_WITHOUT_READ = frozenset({StackStatus.FAILED, StackStatus.LOCKED, StackStatus.INTERRUPTED})
"""The statuses of runs that may not have read live objects, and so say nothing about drift."""


class HistoryEntry(Struct, frozen=True, omit_defaults=True):
    """One or more successive runs with the same result. Times are unix seconds."""

    command: str
    status: StackStatus
    reason: str = ""
    exit_code: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    runs: int = 1
    changes: Mapping[str, int] = field(default_factory=dict)
    """The planned changes by action."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """How the changes of an apply ended."""
    drifted: int = 0
    destructive: int = 0
    digest: str = ""
    calls: int = 0
    """The requests of all these runs."""
    seconds: float = 0.0
    """How long the last of these runs took."""
    who: str = ""
    """The person who started the last of these runs."""
    url: str = ""
    """The page of its CI job."""

    def is_same(self, other: HistoryEntry) -> bool:
        """Whether another run had the same result."""
        # Each apply that did something stays an entry of its own.
        if self.outcomes or other.outcomes:
            return False
        return self._result == other._result

    @property
    def _result(self) -> tuple[object, ...]:
        return (
            self.command,
            self.status,
            self.reason,
            self.exit_code,
            dict(self.changes),
            self.drifted,
            self.destructive,
            self.digest,
        )


class StackHistory(Struct, frozen=True, rename={"entries": "looks"}):
    """The entries of a stack in an environment, oldest first.

    The renamed key is that of stored histories.
    """

    stack: str
    environment: str
    folder: str = ""
    organization: str = ""
    entries: tuple[HistoryEntry, ...] = ()


def entry_of(report: StackReport, origin: RunOrigin) -> HistoryEntry:
    """The entry of one run."""
    return HistoryEntry(
        report.command,
        report.status,
        report.reason,
        report.exit_code,
        first_at=report.ended_at,
        last_at=report.ended_at,
        changes=dict(report.counts),
        outcomes=dict(report.outcomes),
        drifted=report.drifted,
        destructive=report.destructive,
        digest=report.digest,
        calls=report.calls,
        seconds=round(max(0.0, report.ended_at - report.began_at), 3),
        who=origin.summary,
        url=origin.url,
    )


def with_entry(entries: tuple[HistoryEntry, ...], entry: HistoryEntry) -> tuple[HistoryEntry, ...]:
    """The entries with one more, or with the last one extended; bounded in number and age."""
    if entries and entries[-1].is_same(entry):
        entries = (*entries[:-1], _extended(entries[-1], entry))
    else:
        entries = (*entries, entry)
    oldest = entry.last_at - KEPT_SECONDS
    # The latest stays whatever its age: without it, nobody would know the status of the stack.
    kept = [other for other in entries[-MOST_ENTRIES:-1] if other.last_at >= oldest]
    return (*kept, entries[-1])


def _extended(last: HistoryEntry, entry: HistoryEntry) -> HistoryEntry:
    # Runs on other machines can end in another order than they are recorded.
    return replace(
        entry,
        first_at=min(last.first_at, entry.first_at),
        last_at=max(last.last_at, entry.last_at),
        runs=last.runs + entry.runs,
        calls=last.calls + entry.calls,
    )


def health_of(entries: tuple[HistoryEntry, ...], *, since: float) -> StackHealth:
    """The health of a stack; `since` begins the period of the numbers. Needs at least one entry."""
    drift_since = None
    last_look = None
    for entry in entries:
        if entry.status not in _WITHOUT_READ:
            last_look = entry.last_at
        drift_since = _drift_after(entry, drift_since)
    period = [entry for entry in entries if entry.last_at >= since]
    health = StackHealth(
        last_look,
        _status_since(entries),
        drift_since,
        failures=sum(entry.runs for entry in period if entry.status is StackStatus.FAILED),
        runs=sum(entry.runs for entry in period),
        calls=sum(entry.calls for entry in period),
    )
    applies = [entry for entry in entries if entry.command != Command.PLAN and entry.outcomes]
    if not applies:
        return health
    latest = applies[-1]
    return replace(
        health,
        last_apply=latest.last_at,
        last_apply_status=str(latest.status),
        last_apply_by=latest.who,
    )


def _status_since(entries: tuple[HistoryEntry, ...]) -> float:
    latest = entries[-1]
    status_since = latest.first_at
    for entry in reversed(entries):
        if entry.status is not latest.status:
            break
        status_since = entry.first_at
    return status_since


def _drift_after(entry: HistoryEntry, before: float | None) -> float | None:
    """The start of the present drift after a run; `before` is the start before that run."""
    if entry.status in _WITHOUT_READ:
        return before
    if entry.status is StackStatus.APPLIED or not entry.drifted:
        return None
    return entry.first_at if before is None else before
