"""Plans and results as JSON for programs: a superset of Terraform's representation of a plan.

Tools and policies written for Terraform plans work unchanged. Everything specific to reconciler is
below the key `reconciler`, at the top and in each change. The same plan always gives the same
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import to_builtins
from msgspec.structs import asdict

from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    ApplyResult,
    Change,
    Drift,
    FieldChange,
    Outcome,
    OutcomeStatus,
    OutputChange,
    Plan,
    Reason,
)
from reconciler.model.checking import CheckReport
from reconciler.model.destruction import Loss
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.finding import Finding
from reconciler.model.fleet import FleetReport
from reconciler.model.keys import KeyStep
from reconciler.model.plan_digest import plan_digest
from reconciler.model.report import NO_CONTEXT, ReportContext
from reconciler.model.values import Spec, Unknown
from reconciler.render import phrases
from reconciler.render.findings import change_id, drift_id, has_errors, problem_id
from reconciler.render.jsonview import (
    digest,
    document,
    known,
    sensitive,
    source_range,
    unknown,
)
from reconciler.render.policies import as_json as policies_as_json
from reconciler.render.values import redacted

FORMAT_VERSION = "1.2"
PROVIDER = "reconciler"

# An adoption is a no-op to a tool that knows Terraform: it creates and changes nothing.
_ACTIONS = {
    Action.NO_OP: ["no-op"],
    Action.CREATE: ["create"],
    Action.UPDATE: ["update"],
    Action.REPLACE: ["delete", "create"],
    Action.DELETE: ["delete"],
    Action.ADOPT: ["no-op"],
    Action.FORGET: ["forget"],
}
# Terraform's reasons for similar cases; the others are in `reconciler.reason` alone.
_ACTION_REASONS = {
    Reason.FIELD_FORCES_REPLACEMENT: "replace_because_cannot_update",
    Reason.REQUESTED: "replace_by_request",
    Reason.EXPIRED: "replace_because_tainted",
    Reason.NOT_DECLARED: "delete_because_no_resource_config",
}


class JsonRenderer:
    """JSON documents. A given `timestamp` is written into plans; the renderer reads no clock."""

    def __init__(self, timestamp: str | None = None, context: ReportContext = NO_CONTEXT) -> None:
        self._timestamp = timestamp
        self._context = context

    def plan(self, plan: Plan) -> str:
        """The whole plan, including no-ops."""
        return document(self.plan_view(plan))

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """Live changes, and how many configuration changes are pending."""
        ours = {
            **_origin(plan),
            "configuration_changes_pending": len(phrases.configuration_changes(plan)),
            "diagnostics": list(map(_diagnostic, plan.diagnostics)),
            "findings": self._findings(),
            "policies": policies_as_json(plan.policies),
        }
        if unmanaged:
            ours["unmanaged"] = _unmanaged(plan)
        drift = list(map(_drift, plan.drift))
        return document({**self._head(plan), "resource_drift": drift, "reconciler": ours})

    def result(self, result: ApplyResult) -> str:
        """The outcome of every change, and the totals."""
        failed = (*result.of(OutcomeStatus.FAILED), *result.of(OutcomeStatus.STALE))
        view = {
            **self._head(result.plan),
            # An applied plan cannot be applied again.
            "applyable": False,
            "complete": phrases.is_complete(result),
            "errored": bool(failed),
            "outputs": known(result.outputs),
            "reconciler": {
                "stack": result.plan.stack,
                "environment": result.plan.environment,
                "plan_digest": plan_digest(result.plan),
                "diagnostics": list(map(_diagnostic, result.plan.diagnostics)),
                "refusals": list(result.plan.refusals),
                "findings": self._findings(),
                "calls": result.calls,
                "seconds": result.seconds,
                "interrupted": result.interrupted,
                "outcomes": list(map(_outcome, result.outcomes)),
                "policies": policies_as_json(result.policies),
                "summary": phrases.result_totals(result),
            },
        }
        if result.checks:
            from reconciler.render.checks import as_json

            view["reconciler"]["checks"] = as_json(result.checks)
        if result.run:
            view["reconciler"]["run"] = {
                "number": result.run.number,
                "origin": asdict(result.run.origin),
            }
        return document(view)

    def checks(self, report: CheckReport) -> str:
        """Every check with its findings, and the totals."""
        from reconciler.render.checks import json_view

        return json_view(report)

    def fleet(self, report: FleetReport) -> str:
        """Every stack of a fleet."""
        from reconciler.render.fleet import as_json

        return as_json(report, self._findings())

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """The problems found, in the shape of `terraform validate -json`."""
        view = _diagnostics(diagnostics)
        if self._context.findings:
            view["reconciler"] = {"findings": self._findings()}
        return document(view)

    def failure(
        self, command: str, diagnostics: Sequence[Diagnostic], refusals: Sequence[str] = ()
    ) -> str:
        """The problems, in the shape of an empty plan that cannot be applied."""
        problems = _diagnostics(diagnostics)
        view = {
            **problems,
            "applyable": False,
            "complete": False,
            "errored": True,
            "resource_changes": [],
            "resource_drift": [],
            "output_changes": {},
            "reconciler": {
                "command": command,
                "diagnostics": problems["diagnostics"],
                "refusals": list(refusals),
                "findings": self._findings(),
            },
        }
        return document(view)

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """The outputs by name."""
        return document(known(outputs))

    def plan_view(self, plan: Plan) -> dict[str, Any]:
        """The plan as a JSON object, for callers that add to it."""
        errored = has_errors(plan.diagnostics)
        # Errors of single resources leave the rest of the plan applyable.
        fails_as_a_whole = errored and not plan.blocked
        applyable = not plan.is_empty and not plan.refusals and not fails_as_a_whole
        return {
            **self._head(plan),
            "applyable": applyable,
            "complete": not plan.blocked,
            "errored": errored,
            "planned_values": _planned_values(plan),
            "resource_changes": list(map(_change, plan.changes)),
            "resource_drift": list(map(_drift, plan.drift)),
            "output_changes": {output.name: _output(output) for output in plan.outputs},
            "reconciler": {
                **_origin(plan),
                "destroy": plan.destroy,
                "destructive": [str(change.address) for change in plan.destructive],
                "diagnostics": list(map(_diagnostic, plan.diagnostics)),
                "refusals": list(plan.refusals),
                "findings": self._findings(),
                "policies": policies_as_json(plan.policies),
                "summary": phrases.plan_totals(plan),
                "unmanaged": _unmanaged(plan),
            },
        }

    def _findings(self) -> list[dict[str, Any]]:
        return list(map(_finding, self._context.findings))

    def _head(self, plan: Plan) -> dict[str, Any]:
        head = {"format_version": FORMAT_VERSION, "errored": has_errors(plan.diagnostics)}
        if self._timestamp:
            head["timestamp"] = self._timestamp
        return head


def _origin(plan: Plan) -> dict[str, Any]:
    origin = {
        "stack": plan.stack,
        "environment": plan.environment,
        "digest": plan.config_digest,
        "serial": plan.state_serial,
        "lineage": plan.state_lineage,
        "calls": plan.calls,
        "plan_digest": plan_digest(plan),
        "seconds": plan.seconds,
        "refresh": to_builtins(plan.refresh),
    }
    if plan.rollback_of is not None:
        origin["rollback_of"] = plan.rollback_of
    return origin


def _resource(address: Address) -> dict[str, Any]:
    return {
        "address": str(address),
        "mode": "managed",
        "type": address.kind,
        "name": address.name,
        "project": address.project,
        "provider_name": PROVIDER,
    }


def _change(change: Change) -> dict[str, Any]:
    view = {**_resource(change.address), "change": _values(change), "reconciler": _own_view(change)}
    if change.renamed_from:
        view["previous_address"] = str(change.renamed_from)
    if change.reason in _ACTION_REASONS:
        view["action_reason"] = _ACTION_REASONS[change.reason]
    return view


def _values(change: Change) -> dict[str, Any]:
    before, after = sides(change)
    view = {
        "actions": _actions(change),
        # Terraform writes {} for a side without an object here, and false below.
        "after_unknown": {},
        **_two_sides(before, after),
    }
    if after is not None:
        view["after_unknown"] = unknown(after)
    forced = [list(field.path) for field in change.fields if field.forces_replacement]
    if change.action is Action.REPLACE and forced:
        view["replace_paths"] = forced
    if change.action is Action.ADOPT and change.id:
        view["importing"] = {"id": change.id}
    return view


def _actions(change: Change) -> list[str]:
    actions = _ACTIONS[change.action]
    if change.create_before_destroy:
        return actions[::-1]
    return actions


def _two_sides(before: Any, after: Any) -> dict[str, Any]:
    """The values of `change` that all representations have: null where there is no object."""
    return {
        "before": known(before),
        "after": known(after),
        "before_sensitive": sensitive(before),
        "after_sensitive": sensitive(after),
    }


def sides(change: Change) -> tuple[Spec | None, Spec | None]:
    """The object before and after, with its id; None on the side where it does not exist."""
    before: Spec | None = {"id": change.id, **change.before}
    after: Spec | None = {"id": change.id, **(change.after or change.desired)}
    if change.action is Action.CREATE:
        before = None
    if change.makes_object:
        after = {**(after or {}), "id": Unknown()}
    if change.action in (Action.DELETE, Action.FORGET):
        after = None
    return before, after


def _own_view(change: Change) -> dict[str, Any]:
    view: dict[str, Any] = {
        "action": str(change.action),
        "reason": str(change.reason),
        "finding": change_id(change),
        "fields": list(map(_field, change.fields)),
        "id": change.id,
        "project": change.address.project,
        "source": phrases.where(change.location) or None,
        "pre_image_digest": None,
        "depends_on": list(map(str, change.depends_on)),
        "destroys": change.destroys or None,
        "losses": list(map(_loss, change.losses)),
        "removal": change.removal and str(change.removal),
        "warnings": list(change.warnings),
    }
    if change.pre_image:
        view["pre_image_digest"] = digest(change.pre_image)
    if change.action is Action.ADOPT and change.mark:
        view["mark"] = change.mark
    if change.blocked:
        view["blocked"] = change.blocked
    if change.matched_by:
        view["matched_by"] = str(change.matched_by)
    if change.keys:
        view["keys"] = list(map(_key_step, change.keys))
    if change.is_job:
        view["job"] = {"standing": change.job_progress, "awaited": change.wait_for_job}
    return view


def _loss(loss: Loss) -> dict[str, Any]:
    return {"lost": str(loss.lost), "count": loss.count, "sentence": loss.sentence}


def _key_step(step: KeyStep) -> dict[str, Any]:
    return {
        "field": step.field,
        "action": str(step.action),
        "sentence": step.why,
        "key_id": step.key_id,
    }


def _field(field: FieldChange) -> dict[str, Any]:
    return {
        "path": field.dotted,
        "before": known(field.before),
        "after": known(field.after),
        "after_unknown": unknown(field.after),
        "origin": str(field.origin),
        "forces_replacement": field.forces_replacement,
        "note": field.note,
    }


def _drift(drift: Drift) -> dict[str, Any]:
    action, after = "no-op", None
    if drift.deleted:
        action = "delete"
    else:
        after = _nested(drift, "after")
        if drift.is_changed:
            action = "update"
    ours = {
        "id": drift.id,
        "finding": drift_id(drift),
        "project": drift.address.project,
        "source": phrases.where(drift.location) or None,
        "blame": drift.blame or None,
        "fields": list(map(_field, drift.fields)),
    }
    if drift.overdue:
        ours["overdue"] = drift.overdue
    change = {
        "actions": [action],
        "after_unknown": {},
        **_two_sides(_nested(drift, "before"), after),
    }
    return {**_resource(drift.address), "change": change, "reconciler": ours}


def _nested(drift: Drift, side: str) -> dict[str, Any]:
    """One side (`before` or `after`) of the drift, as an object of the drifted fields only."""
    view: dict[str, Any] = {"id": drift.id}
    for field in drift.fields:
        view[field.name] = _placed(view.get(field.name), field.path[1:], getattr(field, side))
    return view


def _placed(target: Any, path: Sequence[str | int], value: Any) -> Any:
    if not path:
        return value
    placed = {}
    if isinstance(target, Mapping):
        placed = dict(target)
    # A partial object cannot keep list indexes, so they become keys.
    key = str(path[0])
    placed[key] = _placed(placed.get(key), path[1:], value)
    return placed


def _output(output: OutputChange) -> dict[str, Any]:
    action = "update"
    if output.before is None:
        action = "create"
    elif output.after is None:
        action = "delete"
    elif output.before == output.after:
        action = "no-op"
    return {
        "actions": [action],
        "after_unknown": unknown(output.after),
        **_two_sides(output.before, output.after),
    }


def _planned_values(plan: Plan) -> dict[str, Any]:
    outputs = {}
    for output in plan.outputs:
        if output.after is not None:
            outputs[output.name] = _planned_output(output)
    resources = []
    for change in plan.changes:
        _, after = sides(change)
        if after is not None:
            resource = _resource(change.address)
            resource["schema_version"] = 0
            resource["values"] = known(after)
            resource["sensitive_values"] = sensitive(after)
            resources.append(resource)
    return {"outputs": outputs, "root_module": {"resources": resources}}


def _planned_output(output: OutputChange) -> dict[str, Any]:
    view: dict[str, Any] = {"sensitive": bool(sensitive(output.after))}
    value = known(output.after)
    if value is not None:
        view["value"] = value
    return view


def _unmanaged(plan: Plan) -> list[dict[str, Any]]:
    return list(map(to_builtins, plan.unmanaged))


def _diagnostics(diagnostics: Sequence[Diagnostic]) -> dict[str, Any]:
    errors = sum(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics)
    return {
        "format_version": FORMAT_VERSION,
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": len(diagnostics) - errors,
        "diagnostics": list(map(_diagnostic, diagnostics)),
    }


def _diagnostic(diagnostic: Diagnostic) -> dict[str, Any]:
    view: dict[str, Any] = {
        "severity": str(diagnostic.severity),
        "finding": problem_id(diagnostic),
        "summary": diagnostic.summary,
        "detail": diagnostic.detail,
    }
    if diagnostic.address:
        view["address"] = str(diagnostic.address)
        view["project"] = diagnostic.address.project
    if diagnostic.location:
        view["range"] = source_range(diagnostic.location)
    return view


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "finding": finding.id,
        "rule": finding.rule.name,
        "title": finding.rule.title,
        "level": str(finding.level),
        "verdict": str(finding.verdict),
        "address": finding.address and str(finding.address),
        "project": finding.address and finding.address.project,
        "subject": finding.subject or None,
        "message": redacted(finding.message),
        "detail": redacted(finding.detail),
        "source": phrases.where(finding.location) or None,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    change = outcome.change
    view = {
        "address": str(change.address),
        "project": change.address.project,
        "action": str(change.action),
        "actions": _actions(change),
        "status": str(outcome.status),
        "id": outcome.id,
        "message": outcome.message,
        "hint": outcome.hint,
        "request_id": outcome.request_id,
        "seconds": outcome.seconds,
        "notes": list(outcome.notes),
        "moved": list(map(_field, outcome.changed_since_plan)),
        "blame": outcome.blame or None,
        "source": phrases.where(change.location) or None,
    }
    if outcome.refused:
        view["refused"] = list(outcome.refused)
    return view
