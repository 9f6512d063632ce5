"""Takes the deliveries of interrupted runs into the records.

A run can die after a key has reached its destination and before the record says so. The journal has
the delivery, so the record is completed from it: the delivered key is the current one. If a delivery
has no outcome, its destination may hold either key. Both stay valid, and the next apply delivers a
third.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.address import Address
from reconciler.model.change import Action
from reconciler.model.keys import with_next, with_open
from reconciler.model.kind import Kind
from reconciler.model.provider import DELIVER
from reconciler.model.resource import Record
from reconciler.model.types import KeySinkType
from reconciler.model.values import Spec
from reconciler.state import EntryStatus, JournalEntry


class JournaledDelivery(Struct, frozen=True):
    """One delivery of a change that did not finish."""

    key: Spec
    """The key as `delivered` of a record describes it."""
    at: float
    is_done: bool


Deliveries = Mapping[Address, Sequence[JournaledDelivery]]


def journaled_deliveries(entries: Iterable[JournalEntry]) -> Deliveries:
    """The deliveries of unfinished rotations, oldest first. Those that failed did not happen.

    A create or a replacement delivers for another object than the recorded one, which is searched
    for as any other.
    """
    deliveries: dict[Address, list[JournaledDelivery]] = {}
    for entry in entries:
        # A key that a create delivers belongs to an object without a record. Binding finds the
        # object, and the plan decides whether its key is lost.
        if entry.name != Action.UPDATE:
            continue
        for step in entry.steps:
            if step.name != DELIVER or step.status is EntryStatus.FAILED:
                continue
            # The result knows the id of the key and the receipt; a step without an end has only its
            # intent.
            key = {**step.intent, **step.result}
            key.setdefault("key_id", step.id or step.intent.get("id"))
            # Without an end, the key may have arrived at any moment from the begin on.
            at = step.began_at if step.ended_at is None else step.ended_at
            delivery = JournaledDelivery(key, at, step.status is EntryStatus.DONE)
            deliveries.setdefault(entry.address, []).append(delivery)
    return deliveries


def with_deliveries(
    records: Mapping[Address, Record], deliveries: Deliveries, kinds: Mapping[str, Kind]
) -> dict[Address, Record]:
    """The records as they would be if interrupted runs had recorded their deliveries."""
    current = dict(records)
    for address, of_address in deliveries.items():
        record, kind = current.get(address), kinds.get(address.kind)
        # The record was forgotten since, or a newer version wrote it.
        if record is None or kind is None:
            continue
        for field in kind.own_calls:
            if isinstance(field.type, KeySinkType) and field.type.rotates:
                is_object = field.type.shown_in is not None
                # In the order of time, since each delivery replaces the one before it.
                for delivery in of_address:
                    record = _with_delivery(record, field.name, delivery, is_object=is_object)
        current[address] = record
    return current


def _with_delivery(
    record: Record, name: str, delivery: JournaledDelivery, *, is_object: bool
) -> Record:
    entry = record.delivered.get(name) or {}
    if not is_object and not entry.get("key_id"):
        return record  # its first key, which nobody may want any more
    key_id = str(delivery.key.get("key_id"))
    if is_object:
        # Of an object that is a key itself, the record names the key in use.
        entry = {"key_id": record.id, **entry}
    take = with_next if delivery.is_done else with_open
    entry = take(entry, delivery.key, replaced_at=delivery.at)
    record = replace(record, delivered={**record.delivered, name: entry})
    if not is_object or key_id == record.id:
        return record
    # The destination may hold either key, so the new one is kept beside the recorded one: both stay
    # valid until a third is delivered.
    if not delivery.is_done:
        deposed = dict.fromkeys((*record.deposed, key_id))
        return replace(record, deposed=tuple(deposed))
    deposed = dict.fromkeys((*record.deposed, record.id))
    # An earlier delivery of the same key without an outcome had deposed it.
    deposed.pop(key_id, None)
    return replace(record, id=key_id, deposed=tuple(deposed))
