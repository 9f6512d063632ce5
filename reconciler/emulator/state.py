"""The state of a running emulator, and how it is reset."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from reconciler.emulator import seeding, world
from reconciler.emulator.copies import Copier, Differences, Organization
from reconciler.emulator.faults import Fault, FaultBox
from reconciler.emulator.journal import DataFile
from reconciler.emulator.options import EmulatorOptions
from reconciler.emulator.recorder import RequestRecord, RequestRecorder
from reconciler.emulator.routing import Router
from reconciler.emulator.store import Store
from reconciler.emulator.throttle import RateLimiter


class State:
    """The store, recorder, faults, throttle and options of a running emulator."""

    def __init__(self, options: EmulatorOptions, *, clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self._clock = clock
        self._ahead_seconds = 0.0
        self.store = Store(
            clock=self._now, journal=None if options.data is None else DataFile(options.data)
        )
        self.faults = FaultBox(options.faults)
        self.recorder = RequestRecorder()
        self.throttle = RateLimiter()
        self.differences = Differences()
        self.after_write: Callable[[RequestRecord], None] | None = None
        """Called with each successful write once it is stored, before its response is sent."""
        if self.store.is_empty:
            self._begin()

    def _now(self) -> float:
        return self._clock() + self._ahead_seconds

    def advance(self, seconds: float) -> float:
        """Let time pass; the time afterwards, in unix seconds."""
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
            raise ValueError("advance_seconds must be a number that is not negative")
        self._ahead_seconds += seconds
        return self._now()

    def set_last_used(self, key_id: str, used_at: int | None) -> None:
        """Change when a key was used last; None for never."""
        with self.store.lock:
            for kind in ("api_key", "admin_key"):
                for key in self.store.all(kind):
                    if key.id == key_id:
                        key.hidden["last_used_at"] = used_at
                        self.store.changed(key)
                        self.store.commit()
                        return
        raise ValueError(f"no key has the id {key_id}")

    def _begin(self) -> None:
        with self.store.lock:
            world.found(self.store)
            if self.options.seed:
                seeding.seed(self.store, self.options.seed)
            self.store.commit()

    def reset(self) -> None:
        """Reset objects, requests, throttle and faults to the initial state; options stay."""
        with self.store.lock:
            self.store.reset()
            self._begin()
            self.recorder.clear()
            self.throttle.reset()
            self.faults.replace(self.options.faults)
            self.differences = Differences()

    def load(self, organization: Organization, router: Router) -> dict[str, Any]:
        """Replace all objects by those of an organization; options and faults stay.

        The result says what was loaded and what cannot be modelled, see `Copier`.
        """
        with self.store.lock:
            self.store.reset()
            self.recorder.clear()
            self.throttle.reset()
            self.differences = Differences()
            if organization.id:
                self.options = replace(self.options, organization=organization.id)
            copier = Copier(self.store, self.options, router)
            result = copier.load(organization.lists, organization.objects, organization.refusals)
            self.differences = copier.differences
            for key in organization.keys:
                world.add_copied_key(self.store, key.value, project_id=key.project)
            self.store.commit()
        return result

    def change_options(self, changes: Mapping[str, Any]) -> None:
        """Change options while running; new faults replace the active ones."""
        with self.store.lock:
            self.options = self.options.changed(changes)
            self.throttle.reset()
            if "faults" in changes:
                self.faults.replace(self.options.faults)

    def seed(self, counts: Mapping[str, int]) -> dict[str, list[str]]:
        return seeding.seed(self.store, counts)

    def add_fault(self, spec: str | Fault) -> None:
        self.faults.add(Fault.parse(spec) if isinstance(spec, str) else spec)
