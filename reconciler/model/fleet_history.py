"""The history of the stacks of a fleet: what each run found, without values and secrets.

A run that finds what the last one found extends its entry, so the history of a stack grows with its
changes and not with the number of runs.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from reconciler.model.fleet import Command, StackHealth, StackReport, StackStatus
from reconciler.model.run_origin import RunOrigin

MOST_LOOKS = 100
"""How many entries of a stack are kept."""
KEPT_SECONDS = 180 * 86_400.0
"""How long entries are kept after the last run that found the same; the latest stays."""
_SILENT = frozenset({StackStatus.FAILED, StackStatus.LOCKED, StackStatus.INTERRUPTED})
"""The statuses that say nothing about drift."""


class HistoryEntry(Struct, frozen=True, omit_defaults=True):
    """What one or more runs in a row found. Times are unix seconds."""

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
    """Who started the last of these runs."""
    url: str = ""
    """The page of its CI job."""

    def is_same(self, other: HistoryEntry) -> bool:
        """Whether another run found the same. What an apply did is an event of its own."""
        if self.outcomes or other.outcomes:
            return False
        own, its = self._finding, other._finding
        return own == its

    @property
    def _finding(self) -> tuple[object, ...]:
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


class StackHistory(Struct, frozen=True):
    """The entries of a stack in an environment, oldest first."""

    stack: str
    environment: str
    folder: str = ""
    organization: str = ""
    looks: tuple[HistoryEntry, ...] = ()


def look_at(report: StackReport, origin: RunOrigin) -> HistoryEntry:
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


def with_look(looks: tuple[HistoryEntry, ...], look: HistoryEntry) -> tuple[HistoryEntry, ...]:
    """The entries with one more, or with the last one extended; bounded in number and age."""
    if looks and looks[-1].is_same(look):
        last = looks[-1]
        extended = HistoryEntry(
            **{name: getattr(look, name) for name in look.__struct_fields__ if name not in _SUMMED},
            first_at=min(last.first_at, look.first_at),
            last_at=max(last.last_at, look.last_at),
            runs=last.runs + look.runs,
            calls=last.calls + look.calls,
        )
        looks = (*looks[:-1], extended)
    else:
        looks = (*looks, look)
    oldest = look.last_at - KEPT_SECONDS
    kept = [each for each in looks[-MOST_LOOKS:-1] if each.last_at >= oldest]
    return (*kept, looks[-1])


_SUMMED = frozenset({"first_at", "last_at", "runs", "calls"})


def standing_of(looks: tuple[HistoryEntry, ...], *, since: float) -> StackHealth:
    """How a stack stands; `since` begins the period of the numbers. Needs at least one entry."""
    latest = looks[-1]
    status_since = latest.first_at
    for look in reversed(looks):
        if look.status is not latest.status:
            break
        status_since = look.first_at
    drift_since = None
    applied = None
    last_look = None
    for look in looks:
        if look.status not in _SILENT:
            last_look = look.last_at
        drift_since = _drift_after(look, drift_since)
        if look.command != Command.PLAN and look.outcomes:
            applied = look
    period = [look for look in looks if look.last_at >= since]
    return StackHealth(
        last_look,
        status_since,
        drift_since,
        last_apply=None if applied is None else applied.last_at,
        last_apply_status="" if applied is None else str(applied.status),
        last_apply_by="" if applied is None else applied.who,
        failures=sum(look.runs for look in period if look.status is StackStatus.FAILED),
        runs=sum(look.runs for look in period),
        calls=sum(look.calls for look in period),
    )


def _drift_after(look: HistoryEntry, before: float | None) -> float | None:
    """Since when there is drift after a look, given since when there was before."""
    if look.status in _SILENT:
        return before
    if look.status is StackStatus.APPLIED or not look.drifted:
        return None
    return look.first_at if before is None else before
