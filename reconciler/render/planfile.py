"""Saved plans: what was approved is what is applied.

A plan file is the JSON plan with one thing more, `reconciler.plan`: the plan itself, whole, from which apply works.
The rest of the file is for readers and policies, who must see what is applied: a checksum over all of it finds files
that were cut or edited by hand. It is no signature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from reconciler.errors import StalePlanError, UsageError
from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    Change,
    Drift,
    FieldChange,
    Origin,
    OutputChange,
    Plan,
    Reason,
    RefreshSummary,
    Unmanaged,
)
from reconciler.model.destruction import Loss, Lost
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.model.kind import Removal
from reconciler.model.values import decode, encode
from reconciler.render.json import JsonRenderer
from reconciler.render.jsonview import document

PLAN_FORMAT = 4
"""The version of `reconciler.plan`. It rises with every change that an older program would misread."""

_CHECKSUM = "plan_sha256"


def dump_plan(plan: Plan, *, timestamp: str | None = None) -> str:
    """The plan as a file. Raises TypeError where the plan holds a secret."""
    view = JsonRenderer(timestamp).plan_view(plan)
    packed = _pack(plan)
    whole = {**view, "reconciler": {**view["reconciler"], "plan": packed, "plan_format": PLAN_FORMAT}}
    # Keys of JSON are texts and its lists are lists, so the checksum is of what will be read again.
    return document({**whole, "reconciler": {**whole["reconciler"], _CHECKSUM: _checksum(whole)}})


def load_plan(text: str) -> Plan:
    """The plan of a file. Raises UsageError for what is no plan, StalePlanError for one of another version."""
    view = _view(text)
    ours = view["reconciler"]
    if ours["plan_format"] != PLAN_FORMAT:
        newer = isinstance(ours["plan_format"], int) and ours["plan_format"] > PLAN_FORMAT
        raise StalePlanError(
            f"the plan was saved by {'a newer' if newer else 'another'} version of this program "
            f"(format {ours['plan_format']}, here {PLAN_FORMAT})",
            hint="make the plan again with this version, or apply it with that one",
        )
    if ours.get(_CHECKSUM) != _checksum(view):
        raise UsageError("the plan file was changed after it was saved", hint="make a new plan with `plan --out`")
    try:
        return _unpack_plan(ours["plan"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError("the plan file is damaged", hint="make a new plan with `plan --out`") from error


def _view(text: str) -> Mapping[str, Any]:
    hint = "plan files are what `reconciler plan --out FILE` writes"
    try:
        view = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError("the file is not a saved plan: it is not JSON", hint=hint) from error
    ours = view.get("reconciler") if isinstance(view, dict) else None
    if not isinstance(ours, dict) or "plan" not in ours or "plan_format" not in ours:
        raise UsageError("the file is not a saved plan", hint=hint)
    return dict(view)


def _checksum(view: Mapping[str, Any]) -> str:
    """SHA-256 over a plan file, apart from the place where this stands."""
    ours = {name: value for name, value in view["reconciler"].items() if name != _CHECKSUM}
    canonical = json.dumps({**view, "reconciler": ours}, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _pack(value: Any) -> Any:
    """A value of the plan's own structs as JSON; specs and other values go through `encode`."""
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, tuple):
        return [_pack(item) for item in value]
    if type(value) in _PACKED:
        return {name: _pack_field(value, name) for name in value.__struct_fields__}
    return encode(value)


def _pack_field(value: Any, name: str) -> Any:
    # Values are anything, tuples and our own data included, so they never go through `_pack`.
    found = getattr(value, name)
    return encode(found) if name in _VALUES else _pack(found)


_PACKED = (Plan, Change, FieldChange, Loss, Drift, OutputChange, Unmanaged, Diagnostic, SourceLocation, RefreshSummary)
_VALUES = frozenset({"before", "after", "desired", "restored", "pre_image", "results", "path", "variables"})


def _unpack_plan(data: Mapping[str, Any]) -> Plan:
    return Plan(
        **{
            **data,
            "changes": tuple(_change(item) for item in data["changes"]),
            "drift": tuple(_drift(item) for item in data["drift"]),
            "outputs": tuple(OutputChange(**_decoded(item, "before", "after")) for item in data["outputs"]),
            "unmanaged": tuple(Unmanaged(**item) for item in data["unmanaged"]),
            "refresh": RefreshSummary(**data["refresh"]),
            "diagnostics": tuple(_diagnostic(item) for item in data["diagnostics"]),
            "refusals": tuple(data["refusals"]),
            "variables": decode(data["variables"]),
        }
    )


def _decoded(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**data, **{name: decode(data[name]) for name in names}}


def _change(data: Mapping[str, Any]) -> Change:
    renamed, rule = data["renamed_from"], data.get("matched_by")
    return Change(
        **{
            **_decoded(data, "desired", "restored", "after", "before", "pre_image", "results"),
            "address": Address.parse(data["address"]),
            "action": Action(data["action"]),
            "reason": Reason(data["reason"]),
            "fields": tuple(_field(item) for item in data["fields"]),
            "depends_on": tuple(Address.parse(item) for item in data["depends_on"]),
            "location": _location(data["location"]),
            "removal": Removal(data["removal"]) if data["removal"] else None,
            "renamed_from": Address.parse(renamed) if renamed else None,
            "matched_by": Address.parse(rule) if rule else None,
            "warnings": tuple(data["warnings"]),
            "losses": tuple(Loss(**{**item, "lost": Lost(item["lost"])}) for item in data["losses"]),
        }
    )


def _field(data: Mapping[str, Any]) -> FieldChange:
    moved = _decoded(data, "before", "after")
    return FieldChange(**{**moved, "path": tuple(data["path"]), "origin": Origin(data["origin"])})


def _drift(data: Mapping[str, Any]) -> Drift:
    fields = tuple(_field(item) for item in data["fields"])
    return Drift(
        **{**data, "address": Address.parse(data["address"]), "fields": fields, "location": _location(data["location"])}
    )


def _diagnostic(data: Mapping[str, Any]) -> Diagnostic:
    address = data["address"]
    return Diagnostic(
        **{
            **data,
            "address": Address.parse(address) if address else None,
            "location": _location(data["location"]),
            "severity": Severity(data["severity"]),
        }
    )


def _location(data: Mapping[str, Any] | None) -> SourceLocation | None:
    return SourceLocation(**data) if data else None
