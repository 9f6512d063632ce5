"""The destinations of a key: checks, deliveries to several at once, and withdrawals.

A key that takes the place of another never leaves a destination without a valid key. So where one
of several destinations refuses, the others get the earlier key back. Where it cannot be read back,
nobody knows which key their readers have, and both stay valid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.api.objects.change_context import ChangeContext, FieldWrite
from reconciler.errors import SinkError, UncertainDeliveryError
from reconciler.model.address import Address
from reconciler.model.keys import KEPT, earlier_keys
from reconciler.model.provider import Sinks
from reconciler.model.resource import LiveObject
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, receipts_in, targets_of
from reconciler.model.values import Spec

KEEP = "keep key"
"""The journal's name of the step that copies a key to its second slot."""


class Handover(Struct, frozen=True):
    """A key on its way to the destinations of a field.

    `entry` is what the state records of the keys of the field so far.
    """

    sinks: Sinks
    context: ChangeContext
    value: Mapping[str, Any]
    secret: Secret
    key_id: str
    entry: Spec

    @property
    def _address(self) -> Address:
        return address_of(self.context)

    def keep_current(self) -> Spec | None:
        """Copy the current key to its second slot, where the manifest names one.

        Returns `{target, receipt}`; None where nothing was copied.
        """
        slot, current_id = self.value.get("previous_to"), self.entry.get("key_id")
        if not isinstance(slot, Mapping) or not isinstance(current_id, str):
            return None
        # The API shows a key only once, so the destination is the only place to copy it from.
        current = self._read(self.entry.get("target"))
        # Only a note: readers of the destination get the new key in any case.
        if current is None:
            self.context.notes.append(
                "The current key could not be read back, so the second slot has no copy of it."
            )
            return None
        # Journalled: if the run dies now, the next one empties the slot.
        with self.context.steps.step(KEEP, target=slot) as step:
            token = token_of(current_id)
            receipt = self.sinks.put(slot, current, address=self._address, token=token)
            kept = {"target": dict(slot), "receipt": dict(receipt)}
            step.done(current_id, **kept)
        return kept

    def put(self) -> Any:
        """Deliver the key to all destinations; the receipt, or a list for a list of them.

        Raises SinkError where no destination has the key, and UncertainDeliveryError where one has
        it or may have it.
        """
        targets = targets_of(self.value["write_to"])
        # Read before the first destination is overwritten.
        former = self._former(targets)
        receipts: list[Receipt] = []
        for target in targets:
            try:
                receipts.append(self._put(target, self.secret, self.key_id))
            # This destination may have the key, so the others must not get the earlier one back.
            except UncertainDeliveryError:
                raise
            except SinkError as error:
                self._take_back(targets, receipts, former, error)
                raise
        if isinstance(self.value["write_to"], list | tuple):
            return receipts
        return receipts[0]

    def _former(self, targets: Sequence[Spec]) -> list[Secret | None]:
        """The current values of the destinations, in case a later one refuses the new key."""
        # A single destination that refuses still has its key, and the first key replaces none.
        if len(targets) < 2 or not self.entry.get("key_id"):
            return [None] * len(targets)
        return [self._read(target) for target in targets]

    def _read(self, write_to: Any) -> Secret | None:
        for target in targets_of(write_to):
            try:
                secret = self.sinks.recall(target, address=self._address)
            # Another destination may have it.
            except SinkError:
                continue
            if secret is not None:
                return secret
        return None

    def _put(self, target: Spec, secret: Secret, key_id: str) -> Receipt:
        return self.sinks.put(target, secret, address=self._address, token=token_of(key_id))

    def _take_back(
        self,
        targets: Sequence[Spec],
        receipts: Sequence[Receipt],
        former: Sequence[Secret | None],
        error: SinkError,
    ) -> None:
        """Give destinations their former key back, after another one refused the new key."""
        # Only the destinations before the one that refused have a receipt.
        for target, receipt, secret in zip(targets, receipts, former, strict=False):
            problem = self._restore(target, receipt, secret)
            if problem:
                raise UncertainDeliveryError(
                    f"{error}. Another destination has the new key already ({problem}), so both "
                    "keys stay valid; the next apply delivers another one everywhere.",
                    hint=error.hint,
                ) from error

    def _restore(self, target: Spec, receipt: Receipt, former: Secret | None) -> str:
        """Give one destination its former key back; why it cannot have it, else empty."""
        current_id = self.entry.get("key_id")
        try:
            if former is not None and isinstance(current_id, str):
                self._put(target, former, current_id)
            # The earlier key was there and is overwritten. Removing the new one would leave its
            # readers without any.
            elif target in targets_of(self.entry.get("target")):
                return "the earlier key cannot be read back"
            else:
                self.sinks.withdraw(target, receipt, address=self._address)
        except SinkError as error:
            return str(error)
        return ""


def check_targets(sinks: Sinks, field_write: FieldWrite) -> None:
    """Raise SinkError if any destination of a field could not take a key now."""
    value = field_write.value
    if value is None:
        return
    for target in (*targets_of(value["write_to"]), *targets_of(value.get("previous_to"))):
        sinks.check(target, address=address_of(field_write.context))


def token_of(key_id: str) -> str:
    """The token of a key's deliveries: the same in every run, and useless for finding the key."""
    return hashlib.sha256(key_id.encode()).hexdigest()[:32]


def recorded_entry(field_write: FieldWrite, live: LiveObject | None = None) -> Spec:
    """What the state records of the keys of a field; empty for nothing.

    With `live`, the record of another object does not count: that object is being replaced.
    """
    record = field_write.context.record
    if record is None or (live is not None and record.id != live.id):
        return {}
    return record.delivered.get(field_write.field.name) or {}


def withdraw(sinks: Sinks, key: Spec, context: ChangeContext, *, except_target: Any = None) -> None:
    """Remove a key from all its destinations but those that hold another key by now.

    Its second slot counts too. Raises SinkError.
    """
    kept = targets_of(except_target)
    receipts = list(receipts_in(key.get("receipt")))
    for at, target in enumerate(targets_of(key.get("target"))):
        if target not in kept:
            # An interrupted delivery has targets without receipts; an empty one stands for that.
            receipt: Receipt = {}
            if at < len(receipts):
                receipt = receipts[at]
            sinks.withdraw(target, receipt, address=address_of(context))
    slot = key.get(KEPT)
    if isinstance(slot, Mapping):
        sinks.withdraw(slot["target"], slot["receipt"], address=address_of(context))


def withdraw_all(sinks: Sinks, entry: Spec, context: ChangeContext) -> None:
    """Remove all keys of an entry from all their destinations. Raises SinkError."""
    # An entry without a current key may still have earlier keys.
    if entry.get("target"):
        withdraw(sinks, entry, context)
    for key in earlier_keys(entry):
        withdraw(sinks, key, context)


def address_of(context: ChangeContext) -> Address:
    """The address of a change that delivers a key."""
    if context.address is None:
        raise AssertionError("a key is delivered for an address")
    return context.address
