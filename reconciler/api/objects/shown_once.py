"""Objects that are themselves the key, or show a secret in the answer that makes them and never again.

The secret goes from that answer straight into its sink. If the sink fails, the object is of no use to anybody and is
deleted again; if we die in between, the next plan finds it and replaces it.
"""

from __future__ import annotations

from reconciler.api.objects.changes import FieldHandler, FieldWrite
from reconciler.api.objects.receipts import DELIVER, address_of, earlier_delivery
from reconciler.errors import AnswerError, ApiError, SinkError
from reconciler.model.kind import Field
from reconciler.model.provider import Sinks
from reconciler.model.resource import LiveObject
from reconciler.model.secret import Secret
from reconciler.model.types import KeySinkType


class ShownOnce(FieldHandler):
    """The carrier of `KeySinkType` fields whose secret is a part of the create's answer."""

    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks

    def private(self, field: Field) -> frozenset[str]:
        """The part of the answer that has the secret."""
        return frozenset({_part(field)})

    def check(self, task: FieldWrite) -> None:
        """Raise SinkError now rather than after a key was made that nobody can take."""
        if task.value is not None:
            self._sinks.check(task.value["write_to"])

    def created(self, task: FieldWrite, live: LiveObject) -> None:
        """Deliver the secret; without it the object is worthless, and goes again."""
        work, part = task.context, _part(task.field)
        found = work.answer.get(part)
        if not isinstance(found, str) or not found:
            self._discard(task, live)
            raise AnswerError(
                f"The answer to the create of {work.address} has no {part}, so there is no key to deliver."
            )
        secret = Secret(found)
        work.client.client.redactor.add(secret)
        if task.value is None:
            return
        target = task.value["write_to"]
        try:
            with work.steps.step(DELIVER, id=live.id) as step:
                receipt = self._sinks.put(target, secret, address=address_of(work))
                entry = {"key_id": live.own_id, "target": dict(target), "receipt": dict(receipt)}
                step.done(live.id, **entry)
        except SinkError:
            self._discard(task, live)
            raise
        work.delivered[task.field.name] = entry

    def write(self, task: FieldWrite, live: LiveObject) -> None:
        """The secret cannot be had again, so another sink takes another object: its field forces replacement."""

    def removed(self, task: FieldWrite) -> None:
        """Take back what was delivered: it opens nothing any more."""
        entry = earlier_delivery(task)
        if entry:
            self._sinks.withdraw(entry["target"], entry.get("receipt") or {})

    def _discard(self, task: FieldWrite, live: LiveObject) -> None:
        try:
            task.context.collection.remove(live.own_id)
        except ApiError as error:
            task.context.notes.append(f"{live.id} was made and could not be deleted again: {error}")


def _part(field: Field) -> str:
    return (field.type.shown_in if isinstance(field.type, KeySinkType) else None) or ""
