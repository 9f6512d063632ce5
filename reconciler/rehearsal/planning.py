"""Plans in a copy: made there, or transferred from a saved plan."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.app.plans import PlanRequest, unchecked_plan
from reconciler.app.policies import check_policies
from reconciler.app.saved_plans import bind_projects_of, check_still_valid
from reconciler.app.session import Session
from reconciler.errors import ConfigurationError, StalePlanError
from reconciler.model.change import Plan
from reconciler.model.diagnostic import Severity
from reconciler.rehearsal.recording import Recording

_PLAN_AGAIN = "Plan again."


def plan_in_copy(copy: Session, request: PlanRequest) -> Plan:
    """Plan against the copy, reading all of it; raises ConfigurationError.

    The audit log of a copy begins empty, so it cannot show changes.
    """
    check_policies(copy)
    whole = replace(request, refresh="full", budget=None)
    plan = unchecked_plan(copy, whole, rules=copy.declared.rules)
    errors = [problem for problem in plan.diagnostics if problem.severity is Severity.ERROR]
    # The error of an address stays in the plan, which leaves that address alone.
    general = [error for error in errors if error.address is None]
    if general:
        raise ConfigurationError(general)
    return plan


def saved_plan_in_copy(copy: Session, plan: Plan, recording: Recording) -> Plan:
    """A saved plan as one of the copy; raises StalePlanError if `apply` would refuse it."""
    _check_origin(plan, recording)
    store = copy.store
    moved = replace(
        plan,
        base_url=copy.base_url,
        state_serial=store.serial,
        state_lineage=store.identity.lineage if plan.state_lineage else "",
    )
    check_still_valid(copy, moved)
    bind_projects_of(copy, moved)
    return moved


def _check_origin(plan: Plan, recording: Recording) -> None:
    if plan.base_url != recording.server:
        raise StalePlanError(
            f"the plan was made against {plan.base_url}, and what was read is of {recording.server}",
            hint=_PLAN_AGAIN,
        )
    lineage, serial = recording.state.get("lineage"), recording.state.get("serial")
    if plan.state_lineage not in ("", lineage):
        raise StalePlanError(
            f"the plan was made from another state of {plan.stack}/{plan.environment} (lineage "
            f"{plan.state_lineage}, here {lineage})",
            hint=_PLAN_AGAIN,
        )
    if plan.state_serial != serial:
        raise StalePlanError(
            f"the state has moved on since the plan was made (serial {plan.state_serial}, now "
            f"{serial})",
            hint=_PLAN_AGAIN,
        )
