"""Saved plans: an apply carries out exactly the approved plan.

A plan file is the JSON plan with the complete plan added below `reconciler.plan`. Apply uses only
that part. The rest is for reviewers and policies, and must agree with it: a checksum over the whole
file detects truncation and edits by hand. It is not a signature.
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
from reconciler.model.keys import KeyAction, KeyStep
from reconciler.model.kind import Removal
from reconciler.model.values import decode, encode
from reconciler.render.json import JsonRenderer
from reconciler.render.jsonview import document

PLAN_FORMAT = 6
"""The version of `reconciler.plan`; raised with every change that older versions misread."""

_CHECKSUM = "plan_sha256"
_PLAN_AGAIN = "make a new plan with `plan --out`"


def dump_plan(plan: Plan, *, timestamp: str | None = None) -> str:
    """The plan as a file. Raises TypeError if the plan holds a secret."""
    view = JsonRenderer(timestamp).plan_view(plan)
    packed = _pack(plan)
    ours = {**view["reconciler"], "plan": packed, "plan_format": PLAN_FORMAT}
    whole = {**view, "reconciler": ours}
    # `whole` holds JSON types only, so the checksum is of the same value that `load_plan` parses.
    return document({**whole, "reconciler": {**ours, _CHECKSUM: _checksum(whole)}})


def load_plan(text: str) -> Plan:
    """Parse a plan file.

    Raises UsageError if the file is not an intact plan, StalePlanError for another plan format.
    """
    view = _view(text)
    ours = view["reconciler"]
    if ours["plan_format"] != PLAN_FORMAT:
        saved = ours["plan_format"]
        which = "another"
        if isinstance(saved, int) and saved > PLAN_FORMAT:
            which = "a newer"
        raise StalePlanError(
            f"the plan was saved by {which} version of reconciler "
            f"(plan format {saved}; this version uses {PLAN_FORMAT})",
            hint="plan again with this version, or apply with the version that saved it",
        )
    if ours.get(_CHECKSUM) != _checksum(view):
        raise UsageError("the plan file was changed after it was saved", hint=_PLAN_AGAIN)
    try:
        return _unpack_plan(ours["plan"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError("the plan file is damaged", hint=_PLAN_AGAIN) from error


def _view(text: str) -> Mapping[str, Any]:
    hint = "`reconciler plan --out FILE` writes plan files"
    try:
        view = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError("the file is not a saved plan: it is not JSON", hint=hint) from error
    ours: Any = None
    if isinstance(view, dict):
        ours = view.get("reconciler")
    # `plan --format json` writes the same document without these two.
    if not isinstance(ours, dict) or "plan" not in ours or "plan_format" not in ours:
        raise UsageError("the file is not a saved plan", hint=hint)
    return dict(view)


def _checksum(view: Mapping[str, Any]) -> str:
    """SHA-256 over a plan file, without the checksum itself."""
    ours = {name: value for name, value in view["reconciler"].items() if name != _CHECKSUM}
    whole = {**view, "reconciler": ours}
    canonical = json.dumps(whole, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _pack(value: Any) -> Any:
    """A struct of the plan as JSON; specs and other free-form values go through `encode`."""
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, tuple):
        return list(map(_pack, value))
    if isinstance(value, Reason):
        # Names are stable; the sentences may be reworded.
        return value.name
    if type(value) in _PACKED:
        names = value.__struct_fields__
        return {name: _pack_field(value, name) for name in names if _is_saved(value, name)}
    return encode(value)


def _is_saved(value: Any, name: str) -> bool:
    # Apply evaluates policies itself, with the rules that apply then.
    if name == "policies":
        return False
    # Few changes have facts, so that most plan files are the same for versions without them.
    return name != "facts" or bool(value.facts)


def _pack_field(value: Any, name: str) -> Any:
    # Free-form values can hold tuples and model types, which `_pack` would take for structs.
    part = getattr(value, name)
    if name in _VALUES:
        return encode(part)
    return _pack(part)


# Packed field by field; everything else is a value, or raises TypeError in `encode`.
_PACKED = (
    Plan,
    Change,
    FieldChange,
    Loss,
    KeyStep,
    Drift,
    OutputChange,
    Unmanaged,
    Diagnostic,
    SourceLocation,
    RefreshSummary,
)
_VALUES = frozenset(
    {
        "before",
        "after",
        "desired",
        "restored",
        "pre_image",
        "facts",
        "results",
        "path",
        "variables",
    }
)


def _unpack_plan(data: Mapping[str, Any]) -> Plan:
    return Plan(
        **{
            **data,
            "changes": tuple(map(_change, data["changes"])),
            "drift": tuple(map(_drift, data["drift"])),
            "outputs": tuple(map(_output, data["outputs"])),
            "unmanaged": tuple(Unmanaged(**unmanaged) for unmanaged in data["unmanaged"]),
            "refresh": RefreshSummary(**data["refresh"]),
            "diagnostics": tuple(map(_diagnostic, data["diagnostics"])),
            "refusals": tuple(data["refusals"]),
            "variables": decode(data["variables"]),
        }
    )


def _decoded(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**data, **{name: decode(data[name]) for name in names}}


def _change(data: Mapping[str, Any]) -> Change:
    matched_by = data.get("matched_by")
    return Change(
        **{
            **_decoded(data, "desired", "restored", "after", "before", "pre_image", "results"),
            "facts": decode(data.get("facts", {})),
            "address": Address.parse(data["address"]),
            "action": Action(data["action"]),
            "reason": Reason[data["reason"]],
            "fields": tuple(map(_field, data["fields"])),
            "depends_on": tuple(map(Address.parse, data["depends_on"])),
            "location": _location(data["location"]),
            "removal": data["removal"] and Removal(data["removal"]),
            "renamed_from": data["renamed_from"] and Address.parse(data["renamed_from"]),
            "matched_by": matched_by and Address.parse(matched_by),
            "warnings": tuple(data["warnings"]),
            "losses": tuple(map(_loss, data["losses"])),
            "keys": tuple(map(_key_step, data["keys"])),
        }
    )


def _loss(data: Mapping[str, Any]) -> Loss:
    return Loss(**{**data, "lost": Lost(data["lost"])})


def _key_step(data: Mapping[str, Any]) -> KeyStep:
    return KeyStep(**{**data, "action": KeyAction(data["action"])})


def _output(data: Mapping[str, Any]) -> OutputChange:
    return OutputChange(**_decoded(data, "before", "after"))


def _field(data: Mapping[str, Any]) -> FieldChange:
    decoded = _decoded(data, "before", "after")
    return FieldChange(**{**decoded, "path": tuple(data["path"]), "origin": Origin(data["origin"])})


def _drift(data: Mapping[str, Any]) -> Drift:
    return Drift(
        **{
            **data,
            "address": Address.parse(data["address"]),
            "fields": tuple(map(_field, data["fields"])),
            "location": _location(data["location"]),
        }
    )


def _diagnostic(data: Mapping[str, Any]) -> Diagnostic:
    return Diagnostic(
        **{
            **data,
            "address": data["address"] and Address.parse(data["address"]),
            "location": _location(data["location"]),
            "severity": Severity(data["severity"]),
        }
    )


def _location(data: Mapping[str, Any] | None) -> SourceLocation | None:
    if data is None:
        return None
    return SourceLocation(**data)
