"""Drift: what differs at the API from our last write, and keys whose rotation is overdue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.engine.binding.bindings import BindingSource
from reconciler.engine.plan.rotation import overdue
from reconciler.engine.snapshot import Snapshot
from reconciler.errors import ApiError
from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    Change,
    Drift,
    FieldChange,
    Origin,
)
from reconciler.model.comparing import same
from reconciler.model.resource import Record
from reconciler.model.values import FileSet, Spec


def drift_of(
    snapshot: Snapshot, changes: Mapping[Address, Change], specs: Mapping[Address, Spec]
) -> Iterable[Drift]:
    """Changes at the API since our last write, and keys that should have been rotated.

    `specs` are the completed specs of the plan.
    """
    late: dict[Address, Drift] = {}
    for address, change in changes.items():
        drift = overdue(change)
        if drift is not None:
            late[address] = drift
    for drift in _changed(snapshot, changes, specs):
        # One drift for each address: an overdue key goes with the other drift.
        key = late.pop(drift.address, None)
        yield drift if key is None else replace(drift, overdue=key.overdue)
    yield from late.values()


def _changed(
    snapshot: Snapshot, changes: Mapping[Address, Change], specs: Mapping[Address, Spec]
) -> Iterable[Drift]:
    inputs = snapshot.inputs
    has_targets = bool(inputs.options.targets)
    for address, record in inputs.records.items():
        # A state of a newer version can contain kinds that this version does not know.
        if address.kind not in inputs.kinds:
            continue
        if has_targets and address not in snapshot.selection.selected:
            continue
        # Changes of the object are those of its new owner.
        if address in snapshot.taken:
            continue
        if _is_as_applied(snapshot, record, changes.get(address), specs.get(address)):
            continue
        # Without its list, nothing is known of the object. Its absence would be reported as a
        # deletion.
        if snapshot.was_listed(address, record.id):
            drift = _recorded_drift(snapshot, address, record)
            if drift is not None:
                yield drift
    for address, change in changes.items():
        is_marked = snapshot.bindings[address].source is BindingSource.MARK
        # With the record lost, the manifest stands for what we last wrote to a marked object.
        if is_marked and address not in inputs.records:
            yield from _unrecorded_drift(change)


def _is_as_applied(
    snapshot: Snapshot, record: Record, change: Change | None, spec: Spec | None
) -> bool:
    """Whether no drift is possible: nothing changes, and the last write was of the declared spec.

    This holds for nearly every resource of nearly every plan and saves a second comparison.
    """
    if (
        change is None
        or change.is_change
        or change.id != record.id
        or snapshot.resources[record.address].lifecycle.ignore_changes
    ):
        return False
    # The cheap test first: usually the declared spec is the applied one.
    if spec is None or record.applied == spec:
        return spec is not None
    # The expensive test last: values that differ only in spelling, which the cheap one cannot see.
    if record.applied.keys() != spec.keys():
        return False
    return all(_same_value(value, spec[name]) for name, value in record.applied.items())


def _same_value(applied: Any, declared: Any) -> bool:
    if isinstance(applied, FileSet):
        return _same_files(applied, declared)
    return same(applied, declared)


def _same_files(applied: FileSet, declared: Any) -> bool:
    """Whether the declared folder equals the one last written.

    Ids do not count: manifests do not know them.
    """
    if not isinstance(declared, FileSet) or len(applied.members) != len(declared.members):
        return False
    for left, right in zip(applied.members, declared.members, strict=True):
        if left.key != right.key or left.content != right.content:
            return False
        if left.attributes != right.attributes:
            return False
        if left.chunking_strategy != right.chunking_strategy:
            return False
    return True


def _recorded_drift(snapshot: Snapshot, address: Address, record: Record) -> Drift | None:
    resource, kind = snapshot.resources.get(address), snapshot.kind(address)
    drift = Drift(
        address,
        record.id,
        location=resource.location if resource else None,
        project_id=record.project_id,
        scope=kind.scope.value,
    )
    live = snapshot.find(address, record.id)
    # An ended object (archived, expired) is as good as deleted.
    if live is None or kind.terminal_state(live.attributes) is not None:
        return replace(drift, deleted=True)
    ignore = resource.lifecycle.ignore_changes if resource else ()
    try:
        fields = diff.drifted_fields(kind, live=live, record=record, ignore=ignore)
        if resource is not None and resource.lifecycle.strict:
            undeclared = diff.strict_changes(
                kind,
                declared={*resource.spec, *record.applied},
                changed={field.name for field in fields},
                live=live,
                ignore=ignore,
                seen=record.seen,
            )
            # Strict fields are reported from the default to the live value, as drift is, and not as
            # the plan will write them.
            fields += map(_reversed, undeclared)
    # The planner reports an answer that cannot be compared.
    except ApiError:
        return None
    return replace(drift, fields=tuple(fields)) if fields else None


def _reversed(change: FieldChange) -> FieldChange:
    return replace(change, before=change.after, after=change.before)


def _unrecorded_drift(change: Change) -> Iterable[Drift]:
    if change.action is not Action.UPDATE:
        return
    # Drift goes the other way than the change: the live value replaced the declared one.
    fields = [_reversed(field) for field in change.fields if field.origin is Origin.UNKNOWN]
    if fields:
        yield Drift(
            change.address,
            change.id or "",
            tuple(fields),
            location=change.location,
            project_id=change.project_id,
            scope=change.scope,
        )
