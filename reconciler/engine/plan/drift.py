"""What a plan shows beside its changes: objects as specs, drift, outputs, and unmanaged objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.engine.binding.matcher import BindingSource
from reconciler.engine.plan.rotation import overdue
from reconciler.engine.snapshot import Snapshot
from reconciler.errors import ApiError
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Drift, Origin, OutputChange, Unmanaged
from reconciler.model.comparing import same
from reconciler.model.inventory import ObjectRelation
from reconciler.model.kind import Readable
from reconciler.model.resource import LiveObject, Record
from reconciler.model.values import FileSet, Reference, Spec, substitute


def shown_spec(live: LiveObject, record: Record | None) -> dict[str, Any]:
    """An object as a spec: what the API shows, completed from the record with fields that it never
    shows."""
    # The live values first. A record outlives edits by hand, and what it says counts only where the
    # API is silent.
    shown = {field.name: live.value(field.name) for field in live.kind.fields}
    for field in live.kind.fields:
        if field.readable is Readable.NEVER and record is not None:
            shown[field.name] = record.applied.get(field.name)
    return {name: value for name, value in shown.items() if value is not None}


def drift_of(
    snapshot: Snapshot, changes: Mapping[Address, Change], specs: Mapping[Address, Spec]
) -> Iterable[Drift]:
    """Changes at the API since our last write, and keys that should have been rotated.

    `specs` are the completed specs of the plan.
    """
    # An overdue key is drift of its own, and goes with the other drift of the address if there is
    # any.
    late = {address: overdue(change) for address, change in changes.items() if change.keys}
    for drift in _changed(snapshot, changes, specs):
        key = late.pop(drift.address, None)
        yield replace(drift, overdue=key.overdue) if key is not None else drift
    yield from (drift for drift in late.values() if drift is not None)


def _changed(
    snapshot: Snapshot, changes: Mapping[Address, Change], specs: Mapping[Address, Spec]
) -> Iterable[Drift]:
    inputs = snapshot.inputs
    for address, record in inputs.records.items():
        # A state of a newer version can contain kinds that this version does not know.
        is_wanted = address.kind in inputs.kinds and (
            not inputs.options.targets or address in snapshot.selection.selected
        )
        if address in snapshot.taken:
            continue  # what became of the object is its new owner's doing
        if is_wanted and _is_as_applied(snapshot, record, changes.get(address), specs.get(address)):
            continue
        # Without its list, nothing is known of the object. Its absence would be reported as a
        # deletion.
        if is_wanted and snapshot.was_listed(address, record.id):
            drift = _recorded_drift(snapshot, address, record)
            if drift is not None:
                yield drift
    for address, change in changes.items():
        # With the record lost, a marked object is compared with what is declared: that is what we last wanted.
        if (
            address not in inputs.records
            and snapshot.bindings[address].source is BindingSource.MARK
        ):
            yield from _unrecorded_drift(change)


def _is_as_applied(
    snapshot: Snapshot, record: Record, change: Change | None, spec: Spec | None
) -> bool:
    """Whether no drift is possible: nothing changes, and we last wrote what is declared now.

    This holds for nearly every resource of nearly every plan and saves a second comparison.
    """
    if (
        change is None
        or change.is_change
        or change.id != record.id
        or snapshot.resources[record.address].lifecycle.ignore_changes
    ):
        return False
    # The cheap test first: usually the declared spec is exactly what was applied.
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
    """Whether the declared folder equals the one last written, apart from ids, which manifests do
    not know."""
    return (
        isinstance(declared, FileSet)
        and len(applied.members) == len(declared.members)
        and all(
            (left.key, left.content, left.attributes, left.chunking_strategy)
            == (right.key, right.content, right.attributes, right.chunking_strategy)
            for left, right in zip(applied.members, declared.members, strict=True)
        )
    )


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
            fields += [
                replace(field, before=field.after, after=field.before) for field in undeclared
            ]
    except ApiError:  # said where the change of the object is decided
        return None
    return replace(drift, fields=tuple(fields)) if fields else None


def _unrecorded_drift(change: Change) -> Iterable[Drift]:
    if change.action is not Action.UPDATE:
        return
    # Seen from the manifest, the change goes the other way: the declared value was replaced by the
    # live one.
    fields = [
        replace(field, before=field.after, after=field.before)
        for field in change.fields
        if field.origin is Origin.UNKNOWN
    ]
    if fields:
        yield Drift(
            change.address,
            change.id or "",
            tuple(fields),
            location=change.location,
            project_id=change.project_id,
            scope=change.scope,
        )


def output_changes(snapshot: Snapshot, lookup: Callable[[Reference], Any]) -> list[OutputChange]:
    """The outputs whose value changes; none if only targets are planned."""
    inputs = snapshot.inputs
    previous = inputs.previous_outputs
    if inputs.options.destroy and not inputs.options.targets:
        return [OutputChange(name, None, before) for name, before in sorted(previous.items())]
    # Outputs can depend on resources that were not selected, so they stay as they are.
    if inputs.options.targets:
        return []
    # Outputs are resolved after all decisions, since they may name what this plan creates.
    after = {name: substitute(value, lookup) for name, value in inputs.outputs.items()}
    return [
        OutputChange(name, after.get(name), previous.get(name))
        for name in sorted({*after, *previous})
        if after.get(name) != previous.get(name)
    ]


def unmanaged_objects(snapshot: Snapshot) -> list[Unmanaged]:
    """Objects that neither a manifest nor the state knows, by project and kind. Ignored ones are left out."""
    return [
        Unmanaged(entry.kind, entry.id, entry.label, entry.project)
        for entry in snapshot.overview.objects
        if entry.relation is ObjectRelation.UNMANAGED
    ]
