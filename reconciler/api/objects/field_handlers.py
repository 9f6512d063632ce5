"""The handlers of fields that have calls of their own, by the type of the field."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from reconciler.api.keys import KeyRing
from reconciler.api.objects.changes import ChangeContext, FieldHandler, FieldWrite, FieldWrites
from reconciler.api.objects.file_set import FileSetHandler
from reconciler.api.objects.key_delivery import KeyDelivery, ShownOnceDelivery
from reconciler.api.objects.uploads import Uploader
from reconciler.model.kind import Field
from reconciler.model.provider import Sinks
from reconciler.model.resource import Record
from reconciler.model.types import BundleType, FileSetType, KeySinkType
from reconciler.model.values import Spec


class FieldHandlers:
    """One handler for each type of field. `recorded` are the records of the state."""

    def __init__(
        self,
        file_sets: FileSetHandler,
        sinks: Sinks,
        keys: KeyRing,
        uploader: Uploader,
        recorded: Iterable[Record],
        *,
        settle_seconds: float,
    ) -> None:
        self._file_sets = file_sets
        self._key_delivery = KeyDelivery(sinks, keys, settle_seconds=settle_seconds)
        self._shown_once = ShownOnceDelivery(sinks)
        self._uploader = uploader
        self._recorded = recorded

    def of(self, field: Field) -> FieldHandler | None:
        """The handler of a field; None for fields in the body, and for a local file, which the
        create itself sends.
        """
        match field.type:
            case FileSetType():
                return self._file_sets
            case BundleType():
                return self._bundles
            case KeySinkType(shown_in=None):
                return self._key_delivery
            case KeySinkType():
                return self._shown_once
        return None

    def writes(self, context: ChangeContext, values: Spec) -> FieldWrites:
        """The fields among `values` that have calls of their own, each with its handler."""
        field_writes = []
        for field in context.kind.own_calls:
            handler = self.of(field)
            if handler is not None and field.name in values:
                field_writes.append((handler, FieldWrite(context, field, values[field.name])))
        return tuple(field_writes)

    def clearing(self, context: ChangeContext) -> FieldWrites:
        """All fields that have calls of their own, without a desired value."""
        return self.writes(context, {field.name: None for field in context.kind.own_calls})

    @cached_property
    def _bundles(self) -> FieldHandler:
        # Imported late: few stacks need the archive modules that come with it.
        from reconciler.api.objects.bundles import BundleHandler

        return BundleHandler(self._uploader, self._recorded)
