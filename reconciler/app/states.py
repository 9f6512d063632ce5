"""Opens the state of a stack: a file, an encrypted file, or a log in a shared backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from reconciler.app.env_seconds import seconds_in_env
from reconciler.errors import StateError
from reconciler.manifests.shared_state import ADDRESS_VARIABLE, given_address
from reconciler.state import StateStore
from reconciler.state.address import BackendAddress, local_address, parse_address, secret_parts
from reconciler.state.encryption import Cipher, NoEncryption, cipher_of, is_sealed
from reconciler.state.store import state_file

# The modules of logs are imported where they are used: most runs have a local state and need none of them.
if TYPE_CHECKING:
    from reconciler.manifests import Settings, Stack
    from reconciler.state.file_lock import FileLock
    from reconciler.state.remote.storage import LogStorage

LOG = logging.getLogger("reconciler.app")
LEASE_SECONDS = "RECONCILER_LEASE_SECONDS"
_SHORTEST_LEASE, _LONGEST_LEASE = 1.0, 3600.0


class ReadsBoth:
    """The cipher of a state that may be encrypted: `opener` provides the cipher of an encrypted one.

    Seals with `sealer`.
    """

    def __init__(self, opener: Callable[[], Cipher], sealer: Cipher) -> None:
        self._opener = opener
        self._sealer = sealer

    def seal(self, plain: bytes, context: str) -> bytes:
        """The bytes as `sealer` stores them."""
        return self._sealer.seal(plain, context)

    def open(self, sealed: bytes, context: str) -> bytes:
        """The plain bytes. Raises StateError."""
        return self._opener().open(sealed, context) if is_sealed(sealed) else sealed


class StateOpener(Struct, frozen=True):
    """Opens the state of one stack in one environment. All methods raise StateError.

    `env` has the credentials of backends; `clock` gives unix seconds, for journal and history.
    """

    stack: str
    environment: str
    env: Mapping[str, str]
    clock: Callable[[], float]

    def at(self, address: BackendAddress, cipher: Cipher, *, writable: bool) -> StateStore:
        """The state at an address.

        A plain file that is opened without `writable` is a copy of that moment, and the disk is left alone. A log
        is read whole, and can be written once its lock is held.
        """
        folder = address.folder
        if folder is None:
            return self._log(self.storage(address), cipher)
        self._refuse_other_form(folder, cipher)
        if not isinstance(cipher, NoEncryption):
            return self.encrypted_file(folder, cipher)
        return self.plain_file(folder, writable=writable)

    def plain_file(self, folder: Path, *, writable: bool) -> StateStore:
        """The state in a plain file."""
        names = {"stack": self.stack, "environment": self.environment}
        if writable:
            return StateStore.open(folder, **names, clock=self.clock)
        return StateStore.open_for_reading(folder, **names)

    def encrypted_file(self, folder: Path, cipher: Cipher) -> StateStore:
        """The state in an encrypted file: a log."""
        from reconciler.state.file_lock import FileLock
        from reconciler.state.remote.embedded import EmbeddedStorage

        log = self.log_path(folder)
        file_lock = FileLock(log.with_name(f"{log.name}.lock"))
        return self._log(EmbeddedStorage(log), cipher, file_lock)

    def storage(self, address: BackendAddress) -> LogStorage:
        """The storage behind a shared address."""
        from reconciler.state.remote.opening import shared_storage

        if address.scheme == "gs":
            LOG.warning(
                "State in Google Cloud Storage is experimental: run `reconciler state check` before "
                "relying on it."
            )
        return shared_storage(address, stack=self.stack, environment=self.environment, env=self.env)

    def plain_path(self, folder: Path) -> Path:
        """Where a plain state is kept."""
        return state_file(folder, self.stack, self.environment)

    def log_path(self, folder: Path) -> Path:
        """Where an encrypted state is kept."""
        return self.plain_path(folder).with_suffix(".log.db")

    def _log(
        self, storage: LogStorage, cipher: Cipher, file_lock: FileLock | None = None
    ) -> StateStore:
        from reconciler.state.remote.opening import open_log

        return open_log(
            storage,
            cipher,
            stack=self.stack,
            environment=self.environment,
            lease_seconds=lease_seconds(self.env),
            clock=self.clock,
            file_lock=file_lock,
        )

    def _refuse_other_form(self, folder: Path, cipher: Cipher) -> None:
        plain, log = self.plain_path(folder), self.log_path(folder)
        if isinstance(cipher, NoEncryption):
            if log.exists():
                raise StateError(
                    f"the state {log} is encrypted, but the stack declares no `encryption`",
                    hint="Restore `encryption` in the stack file. To store the state unencrypted, run "
                    "`reconciler state rekey`.",
                )
        elif plain.exists():
            raise StateError(
                f"the state {plain} is not encrypted, although the stack declares `encryption`",
                hint="Run `reconciler state rekey` to encrypt it.",
            )


def location_of(stack: Stack, settings: Settings) -> BackendAddress:
    """The address of a stack's state. `settings.learn` learns its secret parts.

    Raises StateError for an address that cannot be read, and for a missing one if the stack needs
    a remote backend: with an empty local state, everything would be created again.
    """
    text = given_address(settings)
    if text:
        for secret in secret_parts(text):
            settings.learn(secret)
        return parse_address(text)
    if stack.needs_remote:
        place = stack.backend_place or stack.file
        raise StateError(
            f"{place}: the stack has `backend: remote`, but no backend address is set.",
            hint=f"Set {ADDRESS_VARIABLE}, or pass --backend ADDRESS.",
        )
    return local_address(stack.backend_path)


def opener_for(stack: Stack, settings: Settings, clock: Callable[[], float]) -> StateOpener:
    """The opener for the state of a stack."""
    return StateOpener(stack.name, stack.environment, settings.env, clock)


def open_state(
    stack: Stack,
    settings: Settings,
    *,
    writable: bool,
    clock: Callable[[], float],
    accept_moved: bool = False,
) -> StateStore:
    """The state of a stack. Raises StateError, also for one that was moved unless `accept_moved`."""
    address = location_of(stack, settings)
    cipher = cipher_of(stack.recipients, settings.env, learn=settings.learn)
    store = opener_for(stack, settings, clock).at(address, cipher, writable=writable)
    # The old address keeps its content, and a run that used it would create everything again.
    try:
        moved_to = store.remarks.moved_to
    except BaseException:
        store.close()
        raise
    if moved_to and not accept_moved:
        store.close()
        raise StateError(
            f"the state {address.shown} was moved to {moved_to}",
            hint="Set RECONCILER_BACKEND or --backend to that address. To move it back, run there: "
            "reconciler state migrate --to ADDRESS. To read what is left here, use `state export`.",
        )
    return store


def lease_seconds(env: Mapping[str, str]) -> float:
    """How long a lease lasts without renewal; raises UsageError."""
    from reconciler.state.remote.lease import DEFAULT_SECONDS

    return seconds_in_env(
        env, LEASE_SECONDS, DEFAULT_SECONDS, shortest=_SHORTEST_LEASE, longest=_LONGEST_LEASE
    )
