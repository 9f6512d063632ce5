"""The stage of a rehearsal: an emulator with the copy, and fresh copies of the state."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from reconciler.api.transport.client import Client
from reconciler.app.listener import RunListener, SilentListener
from reconciler.app.session import Session
from reconciler.emulator import Emulator, EmulatorOptions
from reconciler.model.change import Outcome
from reconciler.rehearsal.copies import (
    SETTLE_SECONDS,
    CopyKeys,
    CopyPlace,
    CopySession,
    clock_of,
    keys_for,
    prepare_state,
    stored_keys,
)
from reconciler.rehearsal.recording import Recording, as_organization
from reconciler.state import StateStore

_LEFT_OUT = frozenset({"audit_log", "usage", "upload", "upload_part", "file_batch"})
"""Records that an interrupted run may leave behind, and that need no removal."""
_LABELS = ("name", "email", "filename", "model", "user_id", "group_id", "threshold_amount")


class Stage:
    """An emulator that can be reset to the recording, with matching states.

    `session` is that of the original; it makes no call here. `source` is its state, or None to use
    the recorded one.
    """

    def __init__(
        self,
        session: Session,
        recording: Recording,
        source: StateStore | None,
        *,
        lag_seconds: float = 0.0,
    ) -> None:
        self.recording = recording
        self.configuration = session.configuration
        self.parallelism = session.parallelism
        self.loaded: dict[str, Any] = {}
        """What the emulator says about the copy."""
        self.is_recorded = source is None
        """Whether only the recording is known: no state, no secret."""
        self._session = session
        self._source = source
        self._keys: CopyKeys = keys_for(recording)
        self._lag_seconds = lag_seconds
        self._folder = tempfile.TemporaryDirectory(prefix="reconciler-rehearsal-")
        self._states = 0
        milliseconds = round(lag_seconds * 1000)
        options = EmulatorOptions(list_lag_ms=milliseconds, read_lag_ms=milliseconds)
        self.emulator = Emulator(options, clock=clock_of(recording))

    def __enter__(self) -> Self:
        self.emulator.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.emulator.stop()
        self._folder.cleanup()

    def reset(self) -> CopyPlace:
        """Set the emulator back to the recording; a fresh copy of the state for it."""
        self.emulator.clear_faults()
        keys = self._keys
        self.loaded = self.emulator.load(as_organization(self.recording, keys.accepted))
        # A folder of its own, so that no apply meets the state or the keys of an earlier one.
        self._states += 1
        folder = Path(self._folder.name, str(self._states))
        folder.mkdir()
        place = CopyPlace(
            folder,
            self.emulator.base_url,
            self.recording.organization,
            keys,
            # Longer than answers lag: an apply that searches for less would create twice.
            settle_seconds=SETTLE_SECONDS + 2 * self._lag_seconds,
        )
        prepare_state(place, self.recording, self._source, stored_keys(self.configuration, keys))
        return place

    @contextmanager
    def session(
        self, place: CopyPlace, progress: Callable[[Client], RunListener] = SilentListener
    ) -> Iterator[CopySession]:
        """A session on the copy."""
        with CopySession(
            place,
            self._session.settings,
            self.configuration,
            parallelism=self.parallelism,
            redactor=self._session.redactor,
            sources=None if self.is_recorded else self._session.sources,
            stop=self._session.stop,
            progress=progress,
        ) as copy:
            copy.policy_request = self._session.policy_request
            yield copy

    def census(self) -> Counter[tuple[str, str]]:
        """How many objects the copy has, by kind and label."""
        counts: Counter[tuple[str, str]] = Counter()
        store = self.emulator.store
        with store.lock:
            for kind in store.counts():
                if kind in _LEFT_OUT:
                    continue
                for record in store.all(kind):
                    # The API creates those, and an apply cannot change them.
                    if not record.body.get("predefined_role"):
                        counts[kind, _label(kind, record.body)] += 1
        return counts


def _label(kind: str, body: dict[str, Any]) -> str:
    if kind == "api_key":
        return ""  # an interrupted run replaces a lost key by one of another name
    return next((str(body[name]) for name in _LABELS if body.get(name) is not None), "")


class OrderListener(SilentListener):
    """Keeps outcomes in the order in which changes end."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.outcomes: list[Outcome] = []

    def finished(self, outcome: Outcome) -> None:
        """Note the end of a change."""
        self.outcomes.append(outcome)
