"""Rotates objects that are keys themselves: creates the new one first, and revokes old ones later.

The new object is created and delivered first. The old one keeps its place in the record until a
later plan finds it unused.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from msgspec.structs import replace

from reconciler.engine.apply.context import ActionContext, StepResult
from reconciler.engine.apply.create import create_beside, delete_undelivered
from reconciler.engine.apply.finish import finish_write
from reconciler.engine.apply.precondition import reread_existing
from reconciler.errors import SinkError
from reconciler.model.change import Change
from reconciler.model.keys import KeyAction, KeyStep, earlier_keys, reason_to_keep, without_key
from reconciler.model.kind import IN_USE
from reconciler.model.resource import LiveObject, Record
from reconciler.model.sinks import targets_of
from reconciler.state import ChangeJournal


def succeed_key(change: Change, context: ActionContext, journal: ChangeJournal) -> StepResult:
    """Create the next key beside the present one, deliver it, and record both."""
    kind = context.kind_of(change)
    desired = context.references.resolve(change)
    # In this order, a valid key is delivered at every moment: read again, delete undelivered keys,
    # create and deliver the next key, and only then revoke.
    reread_existing(change, context, becoming=desired)
    delete_undelivered(change, desired, context, journal)
    written = create_beside(change, desired, context, journal)
    record = context.records.after_succession(change, kind, desired, written)
    # The record is still unsaved here. Dying before it is saved loses nothing: the journal has the
    # new key's delivery, and a deleted key is gone at the next look.
    record, notes = revoke_keys(change, record, context, journal)
    written = replace(written, notes=(*written.notes, *notes))
    return finish_write(change, record, written, context, journal)


def revoke_keys(
    change: Change, record: Record, context: ActionContext, journal: ChangeJournal
) -> tuple[Record, list[str]]:
    """Delete the old keys that the plan revokes; the record without them, and remarks."""
    notes: list[str] = []
    for step in change.key_work:
        if step.action is KeyAction.REVOKE:
            record, note = _revoke(change, step, record, context, journal)
            if note:
                notes.append(note)
    return record, notes


def _revoke(
    change: Change, step: KeyStep, record: Record, context: ActionContext, journal: ChangeJournal
) -> tuple[Record, str]:
    kind, key_id = context.kind_of(change), str(step.key_id)
    live = context.search.read(change.address, kind, key_id)
    if live is not None:
        # Without its own key, this run could not continue.
        if live.attributes.get(IN_USE):
            return record, f"{key_id} stays: this run authenticates with it."
        # Check again: somebody may have begun to use the key after the plan was approved.
        problem = reason_to_keep(step, live.attributes, context.consistency.clock())
        if problem:
            return record, problem
    # If the object is gone, its destinations still have to be cleared.
    old = live or LiveObject(kind, key_id, {}, change.address.project)
    try:
        # With only its own destinations: the present key may have been delivered to the same ones.
        own_record = _record_of(record, step)
        context.writer.delete(old, address=change.address, record=own_record, steps=journal)
    # A revoked key is harmless. The record keeps it, so that the next apply clears its destination.
    except SinkError as error:
        return record, (
            f"{key_id} is revoked, and could not be removed from its destination; the next apply "
            f"tries again: {error}"
        )
    # Both lists that name the key: `delivered` for its destinations, `deposed` for its object.
    entry = without_key(record.delivered.get(step.field) or {}, key_id)
    delivered = {**record.delivered, step.field: entry}
    deposed = tuple(id for id in record.deposed if id != key_id)
    return replace(record, delivered=delivered, deposed=deposed), ""


def _record_of(record: Record, step: KeyStep) -> Record:
    """The record of an old key, with the destinations that the present key does not have."""
    entry = record.delivered.get(step.field) or {}
    old: Mapping[str, Any] = {}
    for key in earlier_keys(entry):
        if key.get("key_id") == step.key_id:
            old = key
            break
    own = _without_targets(old, targets_of(entry.get("target")))
    return replace(record, id=str(step.key_id), delivered={step.field: own}, deposed=())


def _without_targets(key: Mapping[str, Any], held: tuple[Any, ...]) -> dict[str, Any]:
    """The entry of a key without some destinations and their receipts."""
    receipts = key.get("receipt")
    # A key with one destination has its target and its receipt without a list around them.
    if not isinstance(receipts, list | tuple):
        receipts = [receipts]
    own = dict(key)
    own["target"], own["receipt"] = [], []
    for target, receipt in zip_longest(targets_of(key.get("target")), receipts):
        if target is not None and target not in held:
            own["target"].append(target)
            # A delivery that did not end has no receipt.
            own["receipt"].append(receipt or {})
    return own
