"""Changes of objects that are no longer declared, or that are being destroyed.

The objects come from the records, or from our marks if the state is lost. The kind and the last
declaration decide whether an object is deleted, archived, restored or only forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from reconciler.engine import diff, jobs
from reconciler.engine.binding.bindings import Binding
from reconciler.engine.binding.identity import Identity, bound_identities, identity_of
from reconciler.engine.plan.blocking import blocked_by
from reconciler.engine.snapshot import Snapshot
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, FieldChange, Reason
from reconciler.model.keys import key_ids
from reconciler.model.kind import Kind, OnRemove, Removal, TerminalState
from reconciler.model.resource import LiveObject, Record, Resource, shown_spec


def destroyed(snapshot: Snapshot, resource: Resource, binding: Binding, change: Change) -> Change:
    """The removal of a declared resource; `change` is its no-op change."""
    # With targets, resources that the targets need are planned but not destroyed.
    if resource.address not in snapshot.selection.to_destroy:
        return replace(change, action=Action.NO_OP, reason=Reason.IN_SYNC)
    # The object belongs to another stack now, so its deletion would destroy their resource.
    if binding.record is not None and binding.record.address in snapshot.taken:
        return replace(change, action=Action.FORGET, reason=Reason.OTHER_OWNER)
    # An object with a unique key that was never recorded was not created by this stack.
    nothing = replace(change, action=Action.NO_OP, reason=Reason.GONE)
    if binding.record is None and resource.kind.unique_key:
        return nothing
    if binding.live is None:
        return nothing if binding.record is None else replace(nothing, action=Action.FORGET)
    # A finished job cannot be removed and blocks nothing.
    if binding.record is None and jobs.is_history(binding.live):
        return nothing
    return _removed(change, resource.kind, binding.live, binding.record, Reason.DESTROY)


def undeclared(snapshot: Snapshot) -> list[Change]:
    """The changes of everything that we created or recorded and that no manifest declares."""
    changes = []
    for change in _recorded(snapshot):
        # Apply moves the records of renamed projects, even of objects that it deletes.
        source = change.renamed_from or snapshot.inputs.moved.get(change.address)
        changes.append(replace(change, renamed_from=source))
    # Leftovers have no address in the configuration that a target could select.
    if snapshot.inputs.options.targets:
        return changes
    for address, live in snapshot.leftovers.abandoned:
        # With an error, it is unknown which of several objects belongs to the resource.
        if address not in snapshot.errors:
            changes.append(_unrecorded(snapshot, address, live))
    planned = {change.address for change in changes}
    changes += _created_for_nothing(snapshot, planned)
    changes += _superseded(snapshot)
    return changes


def _recorded(snapshot: Snapshot) -> Iterator[Change]:
    """The changes of undeclared records, and of the objects that replacements left behind."""
    targets = snapshot.inputs.options.targets
    retained = _retained_projects(snapshot)
    bound = bound_identities(snapshot)
    # Records under the earlier address of a renamed resource are still in use.
    in_use = set(snapshot.resources)
    moved_away = set()
    for binding in snapshot.bindings.values():
        if binding.record is not None:
            in_use.add(binding.record.address)
        if binding.left is not None:
            moved_away.add(binding.left)
    for address, record in snapshot.inputs.records.items():
        # A state of a newer version can contain kinds that this version does not know.
        if address.kind not in snapshot.inputs.kinds:
            continue
        if address not in in_use and (not targets or address in targets):
            change = _orphan(snapshot, record, bound, moved_away)
            if address.project in retained:
                change = _with_retained_project(snapshot, change, record)
            yield change
        if record.deposed:
            is_retained = address.project in retained
            yield from _left_behind(snapshot, record, is_retained=is_retained)


def _created_for_nothing(snapshot: Snapshot, planned: Collection[Address]) -> Iterator[Change]:
    """The changes of objects that interrupted runs created for addresses that are gone."""
    for address, live in snapshot.leftovers.undeclared:
        if address.kind not in snapshot.inputs.kinds or address in planned:
            continue
        if live is not None:
            yield _unrecorded(snapshot, address, live)
        elif not snapshot.is_unreadable(address):
            # Nothing was created, so only the unfinished journal entry has to be closed. As long as
            # the scope is unreadable, an object may still be there.
            yield _forgettable(snapshot, address)


def _superseded(snapshot: Snapshot) -> Iterator[Change]:
    """The deletions of objects that a resource had before its present one."""
    for address, live in snapshot.leftovers.superseded:
        # With an error it is unknown which object the resource has, so none of them is removed.
        if address.kind not in snapshot.inputs.kinds or address in snapshot.errors:
            continue
        change = _unrecorded(snapshot, address, live)
        # A superseded object that is retained needs no change: nothing refers to it.
        if change.action is Action.DELETE:
            yield change


def with_archived_projects(snapshot: Snapshot, changes: list[Change]) -> list[Change]:
    """The changes, without restoring limits of projects that are archived anyway."""
    # Archiving a project disables everything in it. Restoring its rate limits first would cost
    # calls of an admin route, which takes about seven a minute, and has no effect.
    archived = set()
    for change in changes:
        if change.action is Action.DELETE and snapshot.kind(change.address).defines_project:
            archived.add(change.address.name)
    destroying = snapshot.inputs.options.destroy
    adjusted = []
    for change in changes:
        if change.address.project in archived:
            is_unwanted = destroying or change.address not in snapshot.resources
            change = _with_project(change, is_unwanted=is_unwanted)
        adjusted.append(change)
    return adjusted


def with_last_ones(snapshot: Snapshot, changes: list[Change]) -> list[Change]:
    """The changes, with a refusal for those that would leave none of the objects that a kind needs,
    such as the last owner."""
    remaining = _last_ones(snapshot)
    if not remaining:
        return changes
    losing = [
        change
        for change in changes
        if change.id in remaining.get(change.address.kind, ()) and _gives_up(snapshot, change)
    ]
    # Changes run in any order, so all of them count together: two demotions of the last two owners
    # are harmless one by one and lock everyone out together.
    for change in losing:
        remaining[change.address.kind].discard(change.id or "")
    refused = {change.address for change in losing if not remaining[change.address.kind]}
    guarded = []
    for change in changes:
        if change.address in refused:
            name, value = _needed_value(snapshot, change)
            refusal = f"it would leave no {change.address.kind} with {name} {value}"
            change = replace(change, refusal=refusal)
        guarded.append(change)
    return guarded


def _last_ones(snapshot: Snapshot) -> dict[str, set[str]]:
    """The ids of the objects of which at least one has to stay, by kind."""
    ids: dict[str, set[str]] = {}
    for kind in snapshot.inputs.kinds.values():
        if kind.min_one is None:
            continue
        name, value = kind.min_one
        ids[kind.name] = set()
        # Of every object that the API lists, and not only of ours: the last owner may be somebody
        # else.
        for live in snapshot.live.objects(kind.name, None):
            if live.value(name) == value:
                ids[kind.name].add(live.id)
    return ids


def _needed_value(snapshot: Snapshot, change: Change) -> tuple[str, Any]:
    """The field that makes an object one of those, and its value."""
    return snapshot.kind(change.address).min_one or ("", None)


def _gives_up(snapshot: Snapshot, change: Change) -> bool:
    """Whether an object stops being one of those after its change."""
    name, value = _needed_value(snapshot, change)
    is_changed = name in change.field_names and change.after.get(name) != value
    return change.action.destroys or is_changed


def _with_project(change: Change, *, is_unwanted: bool) -> Change:
    """The change of an object whose project is archived."""
    gone = replace(change, action=Action.FORGET, reason=Reason.WITH_PROJECT, fields=(), blocked="")
    # An object that could not be read goes with its project too, unless a manifest still wants it.
    if change.reason is Reason.BLOCKED and is_unwanted:
        return gone
    is_restored = change.removal is Removal.RESTORE
    if change.action is Action.DELETE and (is_restored or change.verify_before_create):
        return gone
    return change


def _retained_projects(snapshot: Snapshot) -> set[str]:
    """The names of projects that are forgotten by this plan and continue to exist."""
    retained: set[str] = set()
    if snapshot.inputs.options.destroy:
        return retained
    for address, record in snapshot.inputs.records.items():
        kind = snapshot.inputs.kinds.get(address.kind)
        if kind is None or not kind.defines_project or address in snapshot.resources:
            continue
        # The record knows the last declaration: the manifest that set `on_remove` is gone.
        if (record.on_remove or kind.on_remove) is OnRemove.RETAIN:
            retained.add(address.name)
    return retained


def _with_retained_project(snapshot: Snapshot, change: Change, record: Record) -> Change:
    """Objects of a retained project are retained too, unless their own manifest said otherwise."""
    if change.action is not Action.DELETE or record.on_remove is OnRemove.DELETE:
        return change
    kind = snapshot.kind(change.address)
    if kind.defines_project or change.reason is not Reason.NOT_DECLARED:
        return change
    return replace(
        change,
        action=Action.FORGET,
        reason=Reason.PROJECT_RETAINED,
        fields=(),
        destructive="",
        verify_before_create=False,
    )


def _orphan(
    snapshot: Snapshot,
    record: Record,
    bound: Mapping[Identity, Sequence[Address]],
    moved_away: Collection[Address],
) -> Change:
    """The change of a record that no resource uses.

    `bound` are the objects that belong to a resource, `moved_away` the addresses whose resource is
    declared in another project now.
    """
    address, kind = record.address, snapshot.kind(record.address)
    change = of_record(kind, record)
    # From the most certain to the least: kinds that the API has retired, addresses with an error,
    # objects of other owners, unreadable objects, missing objects. Only the rest is removed.
    if address in snapshot.retired:
        return replace(change, action=Action.FORGET, reason=Reason.RETIRED)
    error = snapshot.error_of(address)
    if error is not None:
        return blocked_by(change, error)
    if address in snapshot.taken:
        other = snapshot.taken[address]
        reason = Reason.OTHER_OWNER if other is None else Reason.OTHER_ADDRESS
        return replace(change, action=Action.FORGET, reason=reason)
    project_id = snapshot.project_id(address.project) or record.project_id
    if identity_of(kind, address.project, project_id, record.id) in bound:
        return replace(change, action=Action.FORGET, reason=Reason.OTHER_ADDRESS)
    if snapshot.is_unreadable(address) and address.project not in snapshot.missing_projects:
        return replace(
            change, action=Action.DELETE, reason=Reason.NOT_DECLARED, verify_before_create=True
        )
    live = snapshot.find(address, record.id)
    if live is None or kind.terminal_state(live.attributes) is TerminalState.GONE:
        return replace(change, action=Action.FORGET, reason=Reason.GONE)
    reason = Reason.NOT_DECLARED
    if address in moved_away:
        reason = Reason.OTHER_PROJECT
    elif snapshot.inputs.options.destroy:
        reason = Reason.DESTROY
    return _removed(change, kind, live, record, reason)


def _left_behind(snapshot: Snapshot, record: Record, *, is_retained: bool) -> Iterator[Change]:
    """The deletions of objects that a replacement left behind; `is_retained`: with their project."""
    address, kind = record.address, snapshot.kind(record.address)
    valid_keys: set[str] = set()
    is_retained = is_retained or (record.on_remove or kind.on_remove) is OnRemove.RETAIN
    is_declared = address in snapshot.resources and address not in snapshot.selection.to_destroy
    # The change of a resource that stays revokes its earlier keys once they are unused. Those of a
    # retained object stay as well.
    if is_declared or is_retained:
        for entry in record.delivered.values():
            valid_keys.update(key_ids(entry))
    for id in record.deposed:
        live = snapshot.find(address, id)
        if live is None or id in valid_keys or snapshot.inputs.ownership.is_foreign(live.mark):
            continue
        # A job that has ended is history, which the API keeps.
        if kind.job is not None and not live.runs:
            continue
        yield replace(
            of_record(kind, record),
            id=id,
            action=Action.DELETE,
            reason=Reason.LEFT_BEHIND,
            before=shown_spec(live, None),
            pre_image=diff.image(kind, live),
        )


def _forgettable(snapshot: Snapshot, address: Address) -> Change:
    """The change of an address where a run died and created nothing: the journal forgets it."""
    nothing = Record(address=address, id="")
    return replace(of_record(snapshot.kind(address), nothing, Reason.GONE), id=None)


def _unrecorded(snapshot: Snapshot, address: Address, live: LiveObject) -> Change:
    """The removal of one of our objects without a record."""
    # Changes start from a record, so this one gets a minimal record.
    record = Record(address=address, id=live.id, project_id=snapshot.project_id(address.project))
    reason = Reason.NOT_DECLARED
    if address in snapshot.resources or address in snapshot.inputs.records:
        reason = Reason.LEFT_BEHIND
    elif snapshot.inputs.options.destroy:
        reason = Reason.DESTROY
    return _removed(of_record(snapshot.kind(address), record), live.kind, live, record, reason)


def of_record(kind: Kind, record: Record, reason: Reason = Reason.IN_SYNC) -> Change:
    """The no-op change of a recorded object, from which all other changes start."""
    return Change(
        address=record.address,
        action=Action.NO_OP,
        reason=reason,
        id=record.id,
        project_id=record.project_id,
        scope=kind.scope.value,
        depends_on=record.depends_on,
        removal=kind.removal,
        prevent_destroy=record.prevent_destroy,
        on_remove=(record.on_remove or kind.on_remove).value,
        sets_on_remove=record.on_remove is not None,
    )


def _removed(
    change: Change, kind: Kind, live: LiveObject, record: Record | None, reason: Reason
) -> Change:
    shown = replace(
        change,
        id=live.id,
        before=shown_spec(live, record),
        pre_image=diff.image(kind, live),
        refusal=kind.read_only_reason(live.attributes) or "",
    )
    # A job ends without being removed, so its removal follows rules of its own.
    if kind.job is not None:
        return jobs.removed(shown, live, reason)
    if change.on_remove == OnRemove.RETAIN:
        return replace(shown, action=Action.FORGET, reason=Reason.RETAINED)
    # Objects that cannot be deleted (limits, settings) get back the values before our first write.
    fields = []
    if record is not None and kind.removal is Removal.RESTORE:
        for name, value in record.overwritten.items():
            fields.append(FieldChange((name,), live.value(name), value))
    return replace(
        shown,
        action=Action.DELETE,
        reason=reason,
        destructive=kind.destroys,
        fields=tuple(fields),
        after={},
    )
