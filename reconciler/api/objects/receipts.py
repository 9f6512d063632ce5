"""What the carriers of keys share: the journal's name for a delivery, whose it is, and what was delivered before."""

from __future__ import annotations

from reconciler.api.objects.changes import ChangeContext, FieldWrite
from reconciler.model.address import Address
from reconciler.model.values import Spec

DELIVER = "deliver key"
"""The journal's name of the step that hands a key to its sink."""


def address_of(work: ChangeContext) -> Address:
    """The address that a key is delivered for."""
    if work.address is None:
        raise AssertionError("a key is delivered for an address")
    return work.address


def earlier_delivery(task: FieldWrite) -> Spec:
    """What the record says of the delivery before this one: id of the key, target and receipt; empty for none."""
    record = task.context.record
    return (record.delivered.get(task.field.name) if record else None) or {}
