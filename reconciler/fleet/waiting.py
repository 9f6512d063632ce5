"""Stacks that cannot be planned yet, because they read outputs of stacks that are not applied yet.

On its own such a stack is an error. In a fleet it is pending: an apply of all stacks gets there.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from reconciler.fleet.dependencies import needs_of
from reconciler.fleet.stacks import FoundStack
from reconciler.model.fleet import StackReport, StackStatus

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
    waiting = [index for index, stack in enumerate(stacks) if stack.id in candidates]
    has_changed = True
    while has_changed:
        has_changed = False
        for index in list(waiting):
            pending = [
                stacks[other].id
                for other in sorted(needs.get(index, ()))
                if by_id[stacks[other].id].status is StackStatus.PENDING
            ]
            if pending:
                own = stacks[index].id
                names = " and ".join(map(str, pending[:3]))
                by_id[own] = replace(
                    by_id[own],
                    status=StackStatus.PENDING,
                    exit_code=0,
                    reason=REASON,
                    message=f"Its plan needs outputs of {names}, which has to be applied first.",
                    problems=0,
                    diagnostics=(),
                )
                waiting.remove(index)
                has_changed = True
    return [by_id[report.id] for report in reports]


def lacks_outputs(report: StackReport) -> bool:
    """Whether missing outputs are all that keeps a stack from being planned."""
    if report.status is not StackStatus.FAILED or not report.diagnostics:
        return False
    return report.problems == len(report.diagnostics) and all(
        problem.summary == _SUMMARY for problem in report.diagnostics
    )
