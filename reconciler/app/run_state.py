"""The state of one run: opened at its first use for reading, and again once the run may write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from reconciler.app.states import location_of, open_state
from reconciler.errors import StateError
from reconciler.manifests import Settings, Stack
from reconciler.manifests.problems import ValueProblem
from reconciler.model.consistency import ServerClock
from reconciler.state import StateStore


class RunState:
    """Opens the state of a run, and keeps it open until `close`. Its methods raise StateError.

    With `is_offline`, a shared state is not opened.
    """

    def __init__(
        self, settings: Settings, clock: ServerClock, *, is_offline: Callable[[], bool]
    ) -> None:
        self.accept_moved = False
        """Whether a state that was moved to another backend may still be read."""
        self._settings = settings
        self._clock = clock
        self._is_offline = is_offline
        self._error: StateError | None = None
        self.opened: StateStore | None = None
        """The open state, if there is one."""

    def read(self, stack: Stack) -> StateStore:
        """The state of the stack, for reading; after `write`, for writing."""
        if self.opened is None:
            if self._is_offline() and location_of(stack, self._settings).is_remote:
                raise StateError("a shared state cannot be read offline")
            self.opened = self._open(stack, writable=False)
        return self.opened

    def write(self, stack: Stack) -> StateStore:
        """Open the state for writing; creates it if there is none."""
        if self.opened is None or self.opened.is_read_only:
            self.close()
            self.opened = self._open(stack, writable=True)
        return self.opened

    def permit(self) -> None:
        """Return if this run may call the API and deliver keys.

        Raises LeaseLostError if another run has replaced it.
        """
        if self.opened is not None:
            self.opened.permit()

    def outputs_of(self, stack: Stack, name: str) -> Mapping[str, Any] | None:
        """The outputs of another stack in the environment of `stack`, at the address of its state.

        None if there are none, or offline. Raises ValueProblem.
        """
        if self._is_offline():
            return None
        try:
            other = open_state(
                replace(stack, name=name), self._settings, writable=False, clock=self._clock
            )
        except StateError as error:
            summary = "Outputs of another stack cannot be read"
            raise ValueProblem(summary, f'The state of the stack "{name}": {error}') from error
        with other:
            return other.outputs()

    def close(self) -> None:
        """Close the state."""
        if self.opened is not None:
            self.opened.close()

    def _open(self, stack: Stack, *, writable: bool) -> StateStore:
        # The caches ask first and can do without a state, so the failure is kept: the timeout of an
        # unreachable backend must be waited for only once.
        if self._error is not None:
            raise self._error
        try:
            return open_state(
                stack,
                self._settings,
                writable=writable,
                clock=self._clock,
                accept_moved=self.accept_moved,
            )
        except StateError as error:
            self._error = error
            raise
