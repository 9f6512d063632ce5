"""Updates an object, and the helpers that all writing actions share."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from reconciler.engine.apply.context import ActionContext, StepResult
from reconciler.engine.apply.finish import finish_write
from reconciler.engine.apply.key_turns import revoke_keys, succeed_key
from reconciler.engine.apply.precondition import reread_existing
from reconciler.model.change import Change, Reason
from reconciler.model.kind import KEEP, OVERWRITTEN, Field
from reconciler.model.resource import LiveObject, Record
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet, Spec
from reconciler.state import ChangeJournal, PreImage


def update(change: Change, context: ActionContext, journal: ChangeJournal) -> StepResult:
    """Send the fields that differ to the object that the plan saw, and let its keys take turns."""
    if change.makes_object:
        return succeed_key(change, context, journal)
    kind = context.kind_of(change)
    # Resolve first: a reference without a value fails the change before any call.
    desired = context.references.resolve(change)
    live = reread_existing(change, context, becoming=desired)
    changes = values_to_send(change, desired, context)
    # A rotation may come without a changed field. It is sent anyway, because its handler does the
    # work.
    changes |= {step.field: desired.get(step.field) for step in change.key_work}
    own_mark = context.ownership.mark(change.address)
    if kind.mark and kind.mark not in changes and live.mark != own_mark:
        # A write of unchanged metadata adds our mark.
        changes[kind.mark] = dict(live.value(kind.mark) or {})
    written = context.writer.update(
        live,
        changes,
        address=change.address,
        mark=context.mark(change, changes),
        record=context.records.get(change.address),
        steps=journal,
        keys=change.key_work,
    )
    record = context.records.after_write(change, kind, desired, written, before=live)
    # Objects that are keys themselves are revoked here; the keys of other objects by their field.
    if kind.is_shown_once and change.key_work:
        record, notes = revoke_keys(change, record, context, journal)
        written = replace(written, notes=(*written.notes, *notes))
    return finish_write(change, record, written, context, journal)


def values_to_send(change: Change, desired: Spec, context: ActionContext) -> dict[str, Any]:
    """The new values of the fields of a change, without those that nothing can reset."""
    kind, record = context.kind_of(change), context.records.get(change.address)
    values = {}
    # The names come from the plan and the values from the manifest: a field that was not planned is
    # not written, even if it differs by now.
    for name in change.field_names:
        value = _value_to_send(kind.by_name[name], change, desired, record)
        if value is not KEEP:
            values[name] = value
    return values


def _value_to_send(field: Field, change: Change, desired: Spec, record: Record | None) -> Any:
    """The desired value of a field, else the value to reset it to; KEEP if there is neither."""
    if field.name in desired:
        return desired[field.name]
    # A rollback knows the value that the object had, which outranks the default.
    if field.name in change.restored:
        return change.restored[field.name]
    if field.reset is OVERWRITTEN:
        return KEEP if record is None else record.overwritten.get(field.name, KEEP)
    # A collection is cleared by its members: it takes no null.
    if isinstance(field.type, FileSetType) and field.reset is None:
        return FileSet(())
    return field.reset


def write_mark(
    change: Change,
    live: LiveObject,
    mark: str | None,
    context: ActionContext,
    journal: ChangeJournal,
) -> None:
    """Write our mark into the metadata of an object, or remove it with None."""
    name = live.kind.mark or ""
    metadata = dict(live.value(name) or {})
    context.writer.update(
        live, {name: metadata}, address=change.address, mark=mark, record=None, steps=journal
    )


def keep_running_job(change: Change, context: ActionContext, journal: ChangeJournal) -> StepResult:
    """Record a job that goes on as before: the change only waits for its end."""
    desired = context.references.resolve(change)
    record = context.records.for_unchanged(change, context.kind_of(change), desired)
    context.records.put(record)
    journal.finish(record)
    return StepResult(record.id)


def settle_unchanged(change: Change, context: ActionContext, run_id: int) -> None:
    """Update the record of a resource without changes; makes no call."""
    if change.id is None or change.reason is Reason.GONE:
        return
    desired = context.references.resolve(change)
    record = context.records.for_unchanged(change, context.kind_of(change), desired)
    known = context.records.get(change.address)
    # A delivery of an interrupted run has to reach the record before the journal forgets it.
    if record == known and context.records.is_saved(change.address):
        return
    context.records.put(record)
    image = None
    if known is None or known.applied != record.applied:
        # A rollback can undo a manifest that declared the present values.
        image = PreImage(
            change.address,
            change.action.value,
            change.id,
            change.before,
            known,
            change.reason.name,
            done=True,
        )
    context.store.put_unchanged(record, run_id, image)
