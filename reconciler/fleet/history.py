"""Records what each run of a fleet finds, and reads it back.

The history is beside the states: in the shared Postgres or bucket where that is the backend, else in
the file `.reconciler/fleet.db` of the folder of the fleet. A history that cannot be written is a
notice, never a failed run.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Self

import msgspec
from msgspec.structs import replace

from reconciler.app.failures import sentences
from reconciler.errors import StateError
from reconciler.manifests import Settings
from reconciler.manifests.configuration import STATE_FOLDER
from reconciler.manifests.shared_state import given_address
from reconciler.model.fleet import StackReport
from reconciler.model.fleet_history import StackHistory, entry_of, with_entry
from reconciler.model.run_origin import RunOrigin
from reconciler.state import current_origin
from reconciler.state.address import POSTGRES, parse_address
from reconciler.state.fleet_history import HistoryStorage, LocalHistory
from reconciler.state.rows import plain

LOG = logging.getLogger("reconciler.fleet")
_LAST_SECONDS = 30.0
"""How long the end of a run waits for entries that are not written yet."""


def open_history(settings: Settings) -> HistoryStorage:
    """The history of a fleet. Connects to nothing yet; raises StateError for a bad address."""
    text = given_address(settings)
    if not text:
        return LocalHistory(settings.root / STATE_FOLDER)
    address = parse_address(text)
    if address.folder is not None:
        return LocalHistory(address.folder)
    # Each needs a library of an extra, and takes long to import.
    if address.scheme == POSTGRES:
        from reconciler.state.remote.postgres.history import PostgresHistory

        return PostgresHistory(address.text)
    from reconciler.state.remote.objects.history import ObjectHistory

    return ObjectHistory(address.text, env=settings.env)


class FleetHistory:
    """The histories of all stacks in a storage."""

    def __init__(self, storage: HistoryStorage) -> None:
        self._storage = storage

    def record(self, report: StackReport, origin: RunOrigin) -> None:
        """Add one run of a stack. Raises StateError."""
        if not report.id.environment:
            return  # the stack file cannot be read, so the stack has no identity
        entry = entry_of(report, origin)

        def change(body: bytes | None) -> bytes:
            history = _parsed(body) or StackHistory(report.id.name, report.id.environment)
            changed = replace(
                history,
                folder=plain(report.id.folder),
                organization=report.organization or history.organization,
                entries=with_entry(history.entries, entry),
            )
            return msgspec.json.encode(changed)

        self._storage.update(report.id.name, report.id.environment, change)

    def read(self) -> Iterator[StackHistory]:
        """The history of each stack that has one. Raises StateError."""
        for body in self._storage.read_all():
            history = _parsed(body)
            if history is not None and history.entries:
                yield history


class HistoryRecorder:
    """Records results in a thread of its own, so that a slow storage delays no stack.

    After a failure it gives one notice and records nothing more.
    """

    def __init__(self, settings: Settings, notice: Callable[[str], None]) -> None:
        self._settings = settings
        self._notice = notice
        self._reports: queue.SimpleQueue[StackReport | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="fleet-history", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Ends the thread once it has recorded all earlier results.
        self._reports.put(None)
        self._thread.join(_LAST_SECONDS)
        if self._thread.is_alive():
            self._notice("Warning: the end of the history of the fleet is not written yet.")

    def add(self, report: StackReport) -> None:
        """Record the result of a stack soon."""
        self._reports.put(report)

    def _work(self) -> None:
        try:
            storage = open_history(self._settings)
        except StateError as error:
            self._fail(error)
            return
        try:
            history, origin = FleetHistory(storage), current_origin()
            while (report := self._reports.get()) is not None:
                history.record(report, origin)
        except (StateError, ValueError) as error:
            self._fail(error)
        finally:
            storage.close()

    def _fail(self, error: Exception) -> None:
        hint = error.hint if isinstance(error, StateError) else ""
        reason = sentences(str(error), hint)
        self._notice(f"Warning: The history of the fleet is not written. {reason}")


def _parsed(body: bytes | None) -> StackHistory | None:
    """A document, or None where there is none, or one of a version that we cannot read."""
    if not body:
        return None
    try:
        return msgspec.json.decode(body, type=StackHistory)
    except msgspec.MsgspecError as error:
        LOG.warning("A history of the fleet cannot be read, and begins again: %s", error)
        return None
