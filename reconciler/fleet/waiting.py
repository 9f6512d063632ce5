"""Finds stacks that wait: they read outputs of stacks that are not applied yet.

On its own such a stack is an error. In a fleet it is pending: an apply of all stacks gets there.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from reconciler.fleet.dependencies import needs_of
from reconciler.fleet.stacks import FoundStack
from reconciler.model.fleet import StackId, StackReport, StackStatus

REASON = "WaitsForOutputs"
_SUMMARY = "No outputs of other stacks"
"""The problem of a reference to a stack that has no outputs."""


def with_waiting(reports: Sequence[StackReport], stacks: Sequence[FoundStack]) -> list[StackReport]:
    """The reports, in which stacks that only wait for others of the fleet are pending."""
    candidates = {report.id for report in reports if lacks_outputs(report)}
    if not candidates:
        return list(reports)
    needs = needs_of(stacks)
    by_id = {report.id: report for report in reports}
    unsettled = [index for index, stack in enumerate(stacks) if stack.id in candidates]
    has_changed = True
    # Until nothing changes: a stack that has become pending makes those pending that need it.
    while has_changed:
        has_changed = False
        for index in list(unsettled):
            needed = [stacks[other].id for other in sorted(needs.get(index, ()))]
            pending = [id for id in needed if by_id[id].status is StackStatus.PENDING]
            if pending:
                own = stacks[index].id
                by_id[own] = _waiting(by_id[own], pending)
                unsettled.remove(index)
                has_changed = True
    return [by_id[report.id] for report in reports]


def _waiting(report: StackReport, needed: Sequence[StackId]) -> StackReport:
    """The report of a stack that waits for others."""
    names = " and ".join(map(str, needed[:3]))
    return replace(
        report,
        status=StackStatus.PENDING,
        exit_code=0,
        reason=REASON,
        message=f"Its plan needs outputs of {names}, which has to be applied first.",
        problems=0,
        diagnostics=(),
    )


def lacks_outputs(report: StackReport) -> bool:
    """Whether missing outputs are the only obstacle to planning a stack."""
    if report.status is not StackStatus.FAILED or not report.diagnostics:
        return False
    # A report keeps the first problems only, and the others may be of any kind.
    if report.problems != len(report.diagnostics):
        return False
    return all(problem.summary == _SUMMARY for problem in report.diagnostics)
