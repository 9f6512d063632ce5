"""How fast admin calls may be made, and which other runs make them."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.api.transport.shared_pace import named
from reconciler.app.pacing import PaceReport
from reconciler.app.session import Session
from reconciler.model.doctor import DoctorFinding, FindingStatus
from reconciler.model.pace import RouteUse

_MOST_ROUTES = 5


def pace_finding(session: Session, report: PaceReport | None) -> DoctorFinding:
    """How fast admin calls may be made, as far as the stack or the answers tell."""
    configured = session.stack.admin_requests_per_minute
    if configured is not None:
        return DoctorFinding(
            "pace",
            FindingStatus.OK,
            f"The stack allows {configured:g} requests a minute to each admin route.",
        )
    measured = session.client.admin_limits()
    if not session.server_clock.is_known:
        return DoctorFinding(
            "pace", FindingStatus.UNKNOWN, "Without an answer, the pace of calls is unknown."
        )
    if not measured:
        return DoctorFinding(
            "pace",
            FindingStatus.OK,
            "No call was refused for its rate; the limit of admin routes is learned from the first "
            "refusal (429).",
        )
    # The slowest route, because a plan waits for it.
    route, limit = min(measured.items(), key=lambda pair: pair[1])
    noun = "request" if limit == 1 else "requests"
    if report is not None and not report.problem:
        sentence = f"{route} accepts about {limit} {noun} a minute, as refusals have shown."
        return DoctorFinding("pace", FindingStatus.OK, sentence)
    return DoctorFinding(
        "pace",
        FindingStatus.WARNING,
        f"{route} accepts about {limit} {noun} a minute now; other runs may share its allowance.",
        "Set pace.admin_requests_per_minute in the stack file, or let fewer runs overlap.",
    )


def shared_pace_findings(report: PaceReport | None, label: str) -> Iterator[DoctorFinding]:
    """Whether the pace is shared, and who uses it. `label` is ours: what we use is left out."""
    if report is None:
        return
    if report.problem:
        yield DoctorFinding(
            "pace",
            FindingStatus.WARNING,
            f"This run does not share the pace of others: {report.problem}.",
            "It keeps a pace of its own. See docs/state.md, Permissions, for the tables and grants.",
        )
        return
    yield DoctorFinding(
        "pace", FindingStatus.OK, "All runs with this backend share one pace for each route."
    )
    routes = [route for route in report.routes if _others(route, label)]
    for route in sorted(routes, key=lambda route: -_requests(route, label))[:_MOST_ROUTES]:
        limit = "" if route.limit is None else f"; about {route.limit} are allowed"
        requests, others = _requests(route, label), named(_others(route, label))
        noun = "request" if requests == 1 else "requests"
        yield DoctorFinding(
            "pace",
            FindingStatus.OK,
            f"{route.route}: {requests} {noun} in the last minute came from {others}{limit}.",
        )


def _others(route: RouteUse, label: str) -> list[str]:
    return [use.run for use in route.used_by if use.run != label]


def _requests(route: RouteUse, label: str) -> int:
    return sum(use.requests for use in route.used_by if use.run != label)
