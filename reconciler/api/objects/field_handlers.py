"""The handlers of fields that have calls of their own, by the type of the field."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cached_property

from msgspec import Struct

from reconciler.api.keys import KeyRing
from reconciler.api.objects.change_context import (
    ChangeContext,
    FieldHandler,
    FieldWrite,
    FieldWrites,
)
from reconciler.api.objects.reservations import InProcessReservations
from reconciler.api.objects.uploads import Uploader
from reconciler.model.kind import Field
from reconciler.model.provider import Sinks
from reconciler.model.resource import Record
from reconciler.model.types import BundleType, FileSetType, KeySinkType
from reconciler.model.values import Spec

BATCH_FILES = 2000
"""The most files that the API attaches with one call."""


class FileSetLimits(Struct, frozen=True):
    """How file sets are written."""

    index_seconds: float
    """The longest wait for indexing."""
    parallelism: int
    """The number of calls at a time within one change."""
    batch_files: int
    """The number of files to attach with one call."""


class FieldHandlers:
    """One handler for each type of field, imported and created at the first field of its type.

    `recorded` are the records of the state.
    """

    def __init__(
        self,
        sinks: Sinks,
        keys: KeyRing,
        uploader: Uploader,
        reservations: InProcessReservations,
        recorded: Iterable[Record],
        *,
        settle_seconds: float,
        file_sets: FileSetLimits,
    ) -> None:
        self._sinks = sinks
        self._keys = keys
        self._uploader = uploader
        self._reservations = reservations
        self._recorded = recorded
        self._settle_seconds = settle_seconds
        self._file_set_limits = file_sets
        self._making = threading.Lock()

    def of(self, field: Field) -> FieldHandler | None:
        """The handler of a field; None for fields in the body, and for a local file, which the
        create itself sends.
        """
        # A handler remembers what it has created, so there must be one for all threads.
        with self._making:
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
    def _file_sets(self) -> FieldHandler:
        from reconciler.api.objects.file_set import FileSetHandler

        limits = self._file_set_limits
        return FileSetHandler(
            self._uploader,
            self._reservations,
            index_seconds=limits.index_seconds,
            settle_seconds=self._settle_seconds,
            parallelism=limits.parallelism,
            batch_files=limits.batch_files,
        )

    @cached_property
    def _key_delivery(self) -> FieldHandler:
        from reconciler.api.objects.key_delivery import KeyDelivery

        return KeyDelivery(self._sinks, self._keys, settle_seconds=self._settle_seconds)

    @cached_property
    def _shown_once(self) -> FieldHandler:
        from reconciler.api.objects.key_delivery import ShownOnceDelivery

        return ShownOnceDelivery(self._sinks)

    @cached_property
    def _bundles(self) -> FieldHandler:
        # Few stacks need the archive modules that come with it.
        from reconciler.api.objects.bundles import BundleHandler

        return BundleHandler(self._uploader, self._recorded)
