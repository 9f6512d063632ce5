"""The status of each stack of a fleet, from the fleet's history or from the runs in its state."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reconciler.app.session import Session
from reconciler.errors import ReconcilerError
from reconciler.fleet.stacks import FoundStack, runnable
from reconciler.fleet.summary import HERE, next_command, stack_file
from reconciler.manifests import Settings
from reconciler.model.fleet import StackId, StackReport, StackStatus
from reconciler.model.fleet_history import HistoryEntry, StackHistory, health_of
from reconciler.model.secret import Redactor
from reconciler.state.runs import RunRecord

COMMAND = "report"
_READERS = 8
_STATUSES = {"done": StackStatus.APPLIED, "incomplete": StackStatus.FAILED}


def stack_reports(
    stacks: Sequence[FoundStack],
    histories: Iterable[StackHistory],
    settings: Settings,
    *,
    since: float,
    with_states: bool,
    redactor: Redactor,
) -> Iterator[StackReport]:
    """A report for each stack. `since` (unix seconds) begins the period of its numbers.

    The states are read for stacks without a history, and for all with `with_states`: an apply of a
    single stack is recorded there alone.
    """
    known = {(each.stack, each.environment): each for each in histories}

    def report(stack: FoundStack) -> StackReport:
        history = known.get((stack.id.name, stack.id.environment))
        entries = () if history is None else history.entries
        if stack.problems:
            problem = stack.problems[0]
            return StackReport(
                stack.id,
                COMMAND,
                StackStatus.FAILED,
                1,
                "ConfigurationInvalid",
                f"{problem.summary}: {problem.detail}",
                problems=len(stack.problems),
                diagnostics=stack.problems,
                next_command=next_command(
                    stack.id, StackStatus.FAILED, "ConfigurationInvalid", settings.root
                ),
            )
        if not entries or with_states:
            try:
                entries = _merged(entries, _entries_of_state(stack, settings, redactor))
            except ReconcilerError as error:
                return _unreadable(stack.id, redactor(str(error)), settings.root)
        organization = stack.organization or (history.organization if history else "")
        return report_of_entries(stack.id, entries, organization, since=since, base=settings.root)

    with ThreadPoolExecutor(_READERS, thread_name_prefix="health") as readers:
        yield from readers.map(report, stacks)


def recorded(histories: Iterable[StackHistory], *, since: float) -> Iterator[StackReport]:
    """A report for each stack that has a history, wherever its folder is."""
    for history in histories:
        id = StackId(history.folder, history.environment, history.stack)
        yield report_of_entries(id, history.entries, history.organization, since=since)


def report_of_entries(
    id: StackId,
    entries: tuple[HistoryEntry, ...],
    organization: str,
    *,
    since: float,
    base: Path = HERE,
) -> StackReport:
    """The report of a stack with these entries."""
    if not entries:
        message = "No run of it is recorded."
        return StackReport(
            id, COMMAND, StackStatus.PENDING, 0, "NeverRun", message, organization=organization
        )
    latest = entries[-1]
    # A digest approves a plan, and a plan that was applied needs no approval.
    digest = "" if latest.outcomes else latest.digest
    return StackReport(
        id,
        COMMAND,
        latest.status,
        latest.exit_code,
        latest.reason,
        organization=organization,
        digest=digest,
        counts=latest.changes,
        outcomes=latest.outcomes,
        destructive=latest.destructive,
        drifted=latest.drifted,
        calls=latest.calls,
        began_at=latest.first_at,
        ended_at=latest.last_at,
        health=health_of(entries, since=since),
        file=stack_file(id, base),
        next_command=next_command(id, latest.status, latest.reason, base),
    )


def _merged(
    entries: tuple[HistoryEntry, ...], runs: Iterable[HistoryEntry]
) -> tuple[HistoryEntry, ...]:
    """The entries of a history and of a state by time; an apply of a fleet is in both."""
    merged = list(entries)
    recorded_applies = {entry.digest for entry in entries if entry.outcomes}
    for run in runs:
        is_recorded = bool(run.outcomes) and run.digest in recorded_applies
        if not is_recorded:
            merged.append(run)
    return tuple(sorted(merged, key=lambda entry: entry.last_at))


def _entries_of_state(
    stack: FoundStack, settings: Settings, redactor: Redactor
) -> Sequence[HistoryEntry]:
    own = runnable(stack, settings).settings
    with Session(own, redactor=redactor) as session:
        return [_entry(run) for run in session.store.runs.all()]


def _entry(run: RunRecord) -> HistoryEntry:
    # Without an end, the duration of the run is unknown.
    at = run.began_at if run.ended_at is None else run.ended_at
    return HistoryEntry(
        run.command,
        # A run without an end was killed, or runs now.
        _STATUSES.get(run.status or "", StackStatus.INTERRUPTED),
        first_at=at,
        last_at=at,
        outcomes=_without_zeros(run.counts),
        digest=run.plan_digest,
        seconds=at - run.began_at,
        who=run.origin.summary,
        url=run.origin.url,
    )


def _without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number}


def _unreadable(id: StackId, message: str, base: Path) -> StackReport:
    now = time.time()
    return StackReport(
        id,
        COMMAND,
        StackStatus.FAILED,
        1,
        "StateUnavailable",
        message,
        began_at=now,
        ended_at=now,
        file=stack_file(id, base),
        next_command=next_command(id, StackStatus.FAILED, "StateUnavailable", base),
    )
