"""Opens states with a log: in a shared storage, or encrypted in a local file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconciler.errors import StateError
from reconciler.state.address import BackendAddress
from reconciler.state.encryption import Cipher
from reconciler.state.file_lock import FileLock
from reconciler.state.remote.lock import LeaseLock, described
from reconciler.state.remote.replica import Replica
from reconciler.state.remote.segments import SegmentLog
from reconciler.state.remote.storage import LogStorage
from reconciler.state.store import StateStore


def open_log(
    storage: LogStorage,
    cipher: Cipher,
    *,
    stack: str,
    environment: str,
    lease_seconds: float,
    clock: Callable[[], float],
    file_lock: FileLock | None = None,
) -> StateStore:
    """The state in a storage, read completely. It can be written while its lock is held.

    `clock` gives unix seconds, for the journal and the history. Raises StateError.
    """
    log = SegmentLog(storage, cipher, name=f"{stack}/{environment}")
    try:
        replica = Replica(
            storage,
            log,
            stack=stack,
            environment=environment,
            lease_seconds=lease_seconds,
            describe=described,
            file_lock=file_lock,
        )
    except BaseException:
        storage.close()
        raise
    return StateStore(
        replica, LeaseLock(replica), stack=stack, environment=environment, clock=clock
    )


def shared_storage(
    address: BackendAddress, *, stack: str, environment: str, env: Mapping[str, str]
) -> LogStorage:
    """The storage at a shared address. `env` has the credentials. Raises StateError."""
    # Each needs the library of an extra, which takes long to import.
    if address.scheme == "postgresql":
        from reconciler.state.remote.postgres.storage import PostgresStorage

        return PostgresStorage(address.text, stack=stack, environment=environment)
    if address.scheme in ("s3", "az", "gs"):
        from reconciler.state.remote.objects.storage import ObjectStorage

        return ObjectStorage(address.text, stack=stack, environment=environment, env=env)
    raise StateError(f"{address.shown} is not the address of a shared backend")
