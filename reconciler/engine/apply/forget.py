"""Takes an object under management, and releases it: neither creates nor deletes anything."""

from __future__ import annotations

from reconciler.engine.apply.context import ActionContext, StepResult
from reconciler.engine.apply.finish import finish_write
from reconciler.engine.apply.precondition import reread, reread_existing
from reconciler.engine.apply.update import values_to_send, write_mark
from reconciler.model.change import Change, Reason
from reconciler.model.kind import OnRemove
from reconciler.model.provider import Written
from reconciler.model.resource import LiveObject
from reconciler.state import ChangeJournal

_RELEASES = (Reason.RETAINED, Reason.PROJECT_RETAINED, Reason.ROLLBACK)
"""Reasons to release an object that was ours and stays: it loses its mark."""


def adopt(change: Change, context: ActionContext, journal: ChangeJournal) -> StepResult:
    """Bind an existing object, and mark it as ours if the change says so."""
    # Large imports adopt thousands of objects. Without a write, lists are current enough for them.
    live = reread_existing(change, context, is_read_only=not change.mark)
    if change.mark and live.mark != change.mark:
        # Without a mark nothing finds the object after a loss of the state, and another stack can
        # adopt it.
        write_mark(change, live, change.mark, context, journal)
    # After the second read, so that a stale plan is reported as stale.
    desired = context.references.resolve(change)
    written = Written(live)
    record = context.records.after_write(change, live.kind, desired, written, before=live)
    return finish_write(change, record, written, context, journal)


def forget(change: Change, context: ActionContext, journal: ChangeJournal) -> StepResult:
    """Remove an address from the state, and leave its object."""
    kind = context.kind_of(change)
    # Restore the values while the record still has them.
    if change.fields:
        _restore_overwritten(change, context, journal)
    elif kind.mark and kind.job is None and change.reason in _RELEASES:
        live = reread(change, context)
        if live is not None and live.mark is not None:
            # With our mark a later run without state would take it for an orphan and delete it.
            write_mark(change, live, None, context, journal)
    if change.reason is Reason.GONE:
        _withdraw_dead_keys(change, context, journal)
    context.records.remove(change.address)
    journal.finish(None, remove=True)
    return StepResult(change.id)


def _restore_overwritten(change: Change, context: ActionContext, journal: ChangeJournal) -> None:
    """Write back the values from before the first write of ours, and remove our mark."""
    kind, record = context.kind_of(change), context.records.get(change.address)
    live = reread_existing(change, context)
    changes = values_to_send(change, {}, context)
    if kind.mark and live.mark is not None:
        changes = {kind.mark: dict(live.value(kind.mark) or {}), **changes}
    context.writer.update(
        live, changes, address=change.address, mark=None, record=record, steps=journal
    )


def _withdraw_dead_keys(change: Change, context: ActionContext, journal: ChangeJournal) -> None:
    """Remove the delivered keys of an object that somebody, or a run that died, has deleted."""
    record = context.records.get(change.address)
    if record is not None and record.delivered and change.on_remove == OnRemove.DELETE:
        gone = LiveObject(context.kind_of(change), record.id, {}, change.address.project)
        context.writer.delete(gone, address=change.address, record=record, steps=journal)
