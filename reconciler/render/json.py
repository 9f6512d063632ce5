"""Plans and results as JSON for programs: a superset of Terraform's representation of a plan.

Tools and policies that were written for that one find what they look for where they expect it. What only we have is
under the one key `reconciler`, at the top and in each change. The same plan always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import to_builtins

from reconciler.model.address import Address
from reconciler.model.change import Action, ApplyResult, Change, Drift, FieldChange, Outcome, OutputChange, Plan, Reason
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.values import Spec, Unknown
from reconciler.render import phrases
from reconciler.render.jsonview import digest, document, known, sensitive, unknown

FORMAT_VERSION = "1.2"
PROVIDER = "reconciler"

_ACTIONS = {
    Action.NO_OP: ["no-op"],
    Action.CREATE: ["create"],
    Action.UPDATE: ["update"],
    Action.REPLACE: ["delete", "create"],
    Action.DELETE: ["delete"],
    Action.ADOPT: ["no-op"],
    Action.FORGET: ["forget"],
}
_ACTION_REASONS = {
    Reason.FIELD_FORCES_REPLACEMENT: "replace_because_cannot_update",
    Reason.REQUESTED: "replace_by_request",
    Reason.EXPIRED: "replace_because_tainted",
    Reason.NOT_DECLARED: "delete_because_no_resource_config",
}


class JsonRenderer:
    """JSON documents. `timestamp` is written into plans where it is given, and nowhere else is there a clock."""

    def __init__(self, timestamp: str | None = None) -> None:
        self._timestamp = timestamp

    def plan(self, plan: Plan) -> str:
        """The whole plan, no-ops included."""
        return document(self.plan_view(plan))

    def drift(self, plan: Plan, *, unmanaged: bool) -> str:
        """What moved live, with how many changes of the configuration are pending besides."""
        view = {
            **self._head(plan),
            "resource_drift": [_drift(drift) for drift in plan.drift],
            "reconciler": {
                **_origin(plan),
                "configuration_changes_pending": len(phrases.of_the_manifests(plan)),
                "diagnostics": [_diagnostic(item) for item in plan.diagnostics],
                **({"unmanaged": _unmanaged(plan)} if unmanaged else {}),
            },
        }
        return document(view)

    def result(self, result: ApplyResult) -> str:
        """The outcome of every change, and the totals."""
        outcomes = [_outcome(outcome) for outcome in result.outcomes]
        view = {
            **self._head(result.plan),
            "complete": phrases.is_complete(result),
            "errored": bool([item for item in outcomes if item["status"] in ("failed", "stale")]),
            "outputs": known(result.outputs),
            "reconciler": {
                "stack": result.plan.stack,
                "environment": result.plan.environment,
                "calls": result.calls,
                "seconds": result.seconds,
                "interrupted": result.interrupted,
                "outcomes": outcomes,
                "summary": phrases.result_totals(result),
            },
        }
        if result.checks:
            from reconciler.render.checks import as_json

            view["reconciler"]["checks"] = as_json(result.checks)
        return document(view)

    def diagnostics(self, diagnostics: Sequence[Diagnostic]) -> str:
        """The problems found, in the shape of `terraform validate -json`."""
        return document(_diagnostics(diagnostics))

    def failure(self, command: str, diagnostics: Sequence[Diagnostic]) -> str:
        """The problems, and what a plan would have said: that there is nothing to apply."""
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
                "refusals": [],
            },
        }
        return document(view)

    def outputs(self, outputs: Mapping[str, Any]) -> str:
        """The outputs by name, values as they are."""
        return document(known(outputs))

    def plan_view(self, plan: Plan) -> dict[str, Any]:
        """The plan as one map of JSON, for whoever adds to it."""
        errored = _errored(plan)
        return {
            **self._head(plan),
            "applyable": not plan.is_empty and not plan.refusals and (not errored or bool(plan.blocked)),
            "complete": not plan.blocked,
            "errored": errored,
            "planned_values": _planned_values(plan),
            "resource_changes": [_change(change) for change in plan.changes],
            "resource_drift": [_drift(drift) for drift in plan.drift],
            "output_changes": {output.name: _output(output) for output in plan.outputs},
            "reconciler": {
                **_origin(plan),
                "destroy": plan.destroy,
                "destructive": [str(change.address) for change in plan.destructive],
                "diagnostics": [_diagnostic(item) for item in plan.diagnostics],
                "refusals": list(plan.refusals),
                "summary": phrases.plan_totals(plan),
                "unmanaged": _unmanaged(plan),
            },
        }

    def _head(self, plan: Plan) -> dict[str, Any]:
        stamp = {"timestamp": self._timestamp} if self._timestamp else {}
        return {"format_version": FORMAT_VERSION, "errored": _errored(plan), **stamp}


def _errored(plan: Plan) -> bool:
    return any(item.severity is Severity.ERROR for item in plan.diagnostics)


def _origin(plan: Plan) -> dict[str, Any]:
    return {
        "stack": plan.stack,
        "environment": plan.environment,
        "digest": plan.config_digest,
        "serial": plan.state_serial,
        "lineage": plan.state_lineage,
        **({} if plan.rollback_of is None else {"rollback_of": plan.rollback_of}),
        "calls": plan.calls,
        "seconds": plan.seconds,
        "refresh": to_builtins(plan.refresh),
    }


def _resource(address: Address) -> dict[str, Any]:
    return {
        "address": str(address),
        "mode": "managed",
        "type": address.kind,
        "name": address.name,
        "provider_name": PROVIDER,
    }


def _change(change: Change) -> dict[str, Any]:
    view = {**_resource(change.address), "change": _values(change), "reconciler": _ours(change)}
    if change.renamed_from:
        view["previous_address"] = str(change.renamed_from)
    if change.reason in _ACTION_REASONS:
        view["action_reason"] = _ACTION_REASONS[change.reason]
    return view


def _values(change: Change) -> dict[str, Any]:
    before, after = sides(change)
    view = {
        "actions": _actions(change),
        "before": None if before is None else known(before),
        "after": None if after is None else known(after),
        "after_unknown": {} if after is None else unknown(after),
        "before_sensitive": False if before is None else sensitive(before),
        "after_sensitive": False if after is None else sensitive(after),
    }
    forced = [list(field.path) for field in change.fields if field.forces_replacement]
    if change.action is Action.REPLACE and forced:
        view["replace_paths"] = forced
    if change.action is Action.ADOPT and change.id:
        view["importing"] = {"id": change.id}
    return view


def _actions(change: Change) -> list[str]:
    actions = _ACTIONS[change.action]
    return actions[::-1] if change.create_before_destroy else actions


def sides(change: Change) -> tuple[Spec | None, Spec | None]:
    """The object before and after, with its id; None where there is no object."""
    before: Spec | None = {"id": change.id, **change.before}
    after: Spec | None = {"id": change.id, **(change.after or change.desired)}
    if change.action is Action.CREATE:
        before = None
    if change.action in (Action.CREATE, Action.REPLACE):
        after = {**(after or {}), "id": Unknown()}
    if change.action in (Action.DELETE, Action.FORGET):
        after = None
    return before, after


def _ours(change: Change) -> dict[str, Any]:
    return {
        "action": str(change.action),
        "reason": str(change.reason),
        "fields": [_field(field) for field in change.fields],
        "id": change.id,
        "project": change.address.project,
        "source": phrases.where(change.location) or None,
        "pre_image_digest": digest(change.pre_image) if change.pre_image else None,
        "depends_on": [str(address) for address in change.depends_on],
        "destroys": phrases.destruction(change) or None,
        "losses": [{"lost": str(loss.lost), "count": loss.count, "sentence": loss.sentence} for loss in change.losses],
        "removal": str(change.removal) if change.removal else None,
        "warnings": list(change.warnings),
        **({"mark": change.mark} if change.action is Action.ADOPT and change.mark else {}),
        **({"blocked": change.blocked} if change.blocked else {}),
        **({"matched_by": str(change.matched_by)} if change.matched_by else {}),
        **({"job": {"standing": change.job_progress, "awaited": change.wait_for_job}} if change.is_job else {}),
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
    before = _nested(drift, "before")
    after = None if drift.deleted else _nested(drift, "after")
    return {
        **_resource(drift.address),
        "change": {
            "actions": ["delete"] if drift.deleted else ["update"],
            "before": known(before),
            "after": known(after),
            "after_unknown": {},
            "before_sensitive": sensitive(before),
            "after_sensitive": False if after is None else sensitive(after),
        },
        "reconciler": {
            "id": drift.id,
            "project": drift.address.project,
            "source": phrases.where(drift.location) or None,
            "blame": drift.blame or None,
            "fields": [_field(field) for field in drift.fields],
        },
    }


def _nested(drift: Drift, side: str) -> dict[str, Any]:
    """One side of what drifted, as an object that holds the fields in question and no others."""
    view: dict[str, Any] = {"id": drift.id}
    for field in drift.fields:
        view[field.name] = _placed(view.get(field.name), field.path[1:], getattr(field, side))
    return view


def _placed(target: Any, path: Sequence[str | int], value: Any) -> Any:
    if not path:
        return value
    # A partial object cannot keep the indexes of a list, so these become keys.
    found = dict(target) if isinstance(target, Mapping) else {}
    found[str(path[0])] = _placed(found.get(str(path[0])), path[1:], value)
    return found


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
        "before": known(output.before),
        "after": known(output.after),
        "after_unknown": unknown(output.after),
        "before_sensitive": sensitive(output.before),
        "after_sensitive": sensitive(output.after),
    }


def _planned_values(plan: Plan) -> dict[str, Any]:
    return {
        "outputs": {output.name: _planned_output(output) for output in plan.outputs if output.after is not None},
        "root_module": {
            "resources": [
                {
                    **_resource(change.address),
                    "schema_version": 0,
                    "values": known(after),
                    "sensitive_values": sensitive(after),
                }
                for change in plan.changes
                if (after := sides(change)[1]) is not None
            ]
        },
    }


def _planned_output(output: OutputChange) -> dict[str, Any]:
    value = known(output.after)
    return {"sensitive": bool(sensitive(output.after)), **({} if value is None else {"value": value})}


def _unmanaged(plan: Plan) -> list[dict[str, Any]]:
    return [{"kind": item.kind, "id": item.id, "label": item.label, "project": item.project} for item in plan.unmanaged]


def _diagnostics(diagnostics: Sequence[Diagnostic]) -> dict[str, Any]:
    errors = sum(item.severity is Severity.ERROR for item in diagnostics)
    return {
        "format_version": FORMAT_VERSION,
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": len(diagnostics) - errors,
        "diagnostics": [_diagnostic(item) for item in diagnostics],
    }


def _diagnostic(item: Diagnostic) -> dict[str, Any]:
    view: dict[str, Any] = {"severity": str(item.severity), "summary": item.summary, "detail": item.detail}
    if item.address:
        view["address"] = str(item.address)
    if item.location:
        start = {"line": item.location.line, "column": item.location.column}
        view["range"] = {"filename": item.location.file, "start": start}
    return view


def _outcome(outcome: Outcome) -> dict[str, Any]:
    change = outcome.change
    return {
        "address": str(change.address),
        "action": str(change.action),
        "actions": _actions(change),
        "status": str(outcome.status),
        "id": outcome.id,
        "message": outcome.message,
        "hint": outcome.hint,
        "request_id": outcome.request_id,
        "seconds": outcome.seconds,
        "notes": list(outcome.notes),
        **({"refused": list(outcome.refused)} if outcome.refused else {}),
        "moved": [_field(field) for field in outcome.changed_since_plan],
        "blame": outcome.blame or None,
        "source": phrases.where(change.location) or None,
    }
