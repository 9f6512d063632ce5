"""Deletes objects, and the leftovers of unfinished runs."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.engine.apply.context import ActionContext, StepResult
from reconciler.engine.apply.precondition import reread
from reconciler.errors import StalePlanError
from reconciler.model.change import Change
from reconciler.model.keys import earlier_keys
from reconciler.model.kind import Removal
from reconciler.model.resource import LiveObject, Record
from reconciler.state import ChangeJournal


def delete(change: Change, context: ActionContext, journal: ChangeJournal) -> StepResult:
    """Delete the object that the plan saw; also the deleting half of a replacement."""
    record = context.records.get(change.address)
    # An object that has changed since the plan is not deleted: somebody may have put it to use.
    live = reread(change, context)
    # A retention rule may delete an object without an owner. A mark shows that it has an owner now.
    if change.matched_by is not None and live is not None and live.is_marked:
        raise StalePlanError(
            "it has been taken over since the plan was made", hint="Plan again and review."
        )
    if live is not None and change.removal is Removal.CANCEL:
        context.writer.cancel(live, steps=journal)
    elif live is not None:
        context.writer.delete(
            live, address=change.address, record=_record_of(record, live), steps=journal
        )
    # Also reached for an object that is gone already: the state still has to drop it.
    if record is not None and change.id != record.id:
        # The record describes the replacement. It stays, and only forgets the id.
        deposed = tuple(id for id in record.deposed if id != change.id)
        rest = replace(record, deposed=deposed)
        context.records.put(rest)
        journal.finish(rest)
    else:
        context.records.remove(change.address)
        journal.finish(None, remove=True)
    return StepResult(change.id)


def _record_of(record: Record | None, live: LiveObject) -> Record | None:
    """The record of an object. After a replacement, the record of the address describes the new
    object.

    An earlier key is described below the new one.
    """
    if record is None or record.id == live.id:
        return record
    for name, entry in record.delivered.items():
        for key in earlier_keys(entry):
            if key.get("key_id") == live.own_id:
                return replace(record, id=live.id, delivered={name: key}, deposed=())
    return None


def delete_leftovers(change: Change, context: ActionContext, journal: ChangeJournal) -> None:
    """Delete the leftovers of unfinished runs at an unchanged resource, and close their entries."""
    kind, record = context.kind_of(change), context.records.get(change.address)
    # Only fields with calls of their own leave anything behind, such as uploads and keys.
    if change.id and kind.own_calls:
        live = context.search.read(change.address, kind, change.id)
        if live is not None:
            context.writer.delete_leftovers(
                live, address=change.address, record=record, steps=journal
            )
    journal.finish(record)
