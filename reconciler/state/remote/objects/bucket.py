"""Objects in a bucket: list, read, write if absent, write, delete, each within a time limit.

This is the only module that uses the library. It decides which requests may be repeated, and how to
interpret a refusal after a lost answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from reconciler.errors import StateError
from reconciler.state.remote.objects.address import BucketAddress
from reconciler.state.remote.objects.failures import (
    Explainer,
    Operation,
    StorageFailure,
    read_failure,
)
from reconciler.state.remote.objects.settings import only_variables_of, read_settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

_ATTEMPTS = 4
_BACKOFF = 0.01
"""The first pause between attempts, as a part of the time limit. Each further one is tripled."""
_SMALL_SHARE = 0.3
_LARGE_SHARE = 0.65
"""The parts of the time limit that a small and a large request may take.

Two small requests may be lost before a third, or one before a large one.
"""
_LARGE_BYTES = 256 * 1024
_DELETE_BATCH = 256
"""The most names that Azure accepts in one request; S3 accepts 1,000."""


class Placed(Enum):
    """The outcome of a write that must not replace anything."""

    CREATED = auto()
    TAKEN = auto()
    """The name exists."""
    CONFLICT = auto()
    """Another write of the name was in progress. Only a read tells the result."""


class StoredObject(Struct, frozen=True):
    """An object, and when it was written by the store's clock: whole unix seconds."""

    body: bytes
    modified_at: float


class ListedObject(Struct, frozen=True):
    """An object in a listing."""

    key: str
    size: int


class Deadline:
    """The time that one operation of the storage has for all its requests."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def allows(self, seconds: float) -> bool:
        """Whether a request that takes up to `seconds` ends in time."""
        return time.monotonic() + seconds <= self._end


class Bucket:
    """A bucket with the credentials of the environment. Usable from several threads at a time.

    All methods raise StateError, and UnreachableError where a later attempt may succeed.
    """

    def __init__(self, address: BucketAddress, env: Mapping[str, str], *, seconds: float) -> None:
        """`seconds` is how long an operation may take.

        Raises StateError for malformed settings, and where the library is not installed.
        """
        self._address = address
        self._settings = read_settings(address, env)
        self._explainer = Explainer(address, self._settings)
        self._seconds = seconds
        # Two clients, because the library takes its time limit for all requests of a client.
        with only_variables_of(env):
            self._store = self._open(seconds * _SMALL_SHARE)
            self._patient_store = self._open(seconds * _LARGE_SHARE)

    def deadline(self) -> Deadline:
        return Deadline(self._seconds)

    def list(
        self, folder: str, deadline: Deadline, *, after: str | None = None
    ) -> Sequence[ListedObject]:
        """All objects below a folder, in no order. Azure also lists some before `after`."""

        def request(store: ObjectStore) -> Sequence[ListedObject]:
            import obstore

            listing = obstore.list(store, folder, offset=after).collect()
            return [ListedObject(meta["path"], meta["size"]) for meta in listing]

        return self._attempts("list", request, deadline)

    def read(self, key: str, deadline: Deadline, *, size: int = 0) -> StoredObject | None:
        """An object, or None if there is none. A large `size` allows the request more time."""

        def request(store: ObjectStore) -> StoredObject | None:
            import obstore

            answer = obstore.get(store, key)
            body = answer.bytes().to_bytes()
            return StoredObject(body, answer.meta["last_modified"].timestamp())

        return self._attempts("read", request, deadline, size=size, absent=None)

    def modified_at(self, key: str, deadline: Deadline) -> float | None:
        """When an object was written, or None if there is none."""

        def request(store: ObjectStore) -> float | None:
            import obstore

            return obstore.head(store, key)["last_modified"].timestamp()

        return self._attempts("read", request, deadline, absent=None)

    def create(self, key: str, body: bytes, deadline: Deadline) -> Placed:
        """Write an object if its name is free.

        An attempt whose answer was lost is repeated and may then find its own object: TAKEN does
        not mean that somebody else was first.
        """
        from obstore.exceptions import AlreadyExistsError

        def request(store: ObjectStore) -> Placed:
            import obstore

            try:
                obstore.put(store, key, body, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                failure = read_failure(error)
                # Azure answers so for a container that is being deleted.
                if failure.is_missing_bucket:
                    raise
                # AWS answers so while another write of the key is in progress, which may fail.
                if failure.is_conflict:
                    return Placed.CONFLICT
                return Placed.TAKEN
            return Placed.CREATED

        return self._attempts("write", request, deadline, size=len(body))

    def replace(self, key: str, body: bytes, deadline: Deadline) -> None:
        """Write an object, and replace one that exists."""

        def request(store: ObjectStore) -> None:
            import obstore

            # In one request: parts of an interrupted upload would stay in the bucket, invisible and
            # paid for.
            obstore.put(store, key, body, mode="overwrite", use_multipart=False)

        self._attempts("write", request, deadline, size=len(body))

    def delete(self, keys: Sequence[str], deadline: Deadline) -> None:
        """Delete objects; those that do not exist are no error."""
        for start in range(0, len(keys), _DELETE_BATCH):
            batch = [*keys[start : start + _DELETE_BATCH]]

            def request(store: ObjectStore, batch: Sequence[str] = batch) -> None:
                import obstore

                obstore.delete(store, batch)

            self._attempts("delete", request, deadline, absent=None)

    def _attempts(
        self,
        operation: Operation,
        request: Callable[[ObjectStore], T],
        deadline: Deadline,
        *,
        size: int = 0,
        absent: Any = ...,
    ) -> T:
        """Send a request, again if its answer was lost.

        `absent` is the result for an object that does not exist.
        """
        from obstore.exceptions import BaseError

        is_large = size > _LARGE_BYTES
        seconds = self._seconds * (_LARGE_SHARE if is_large else _SMALL_SHARE)
        store = self._patient_store if is_large else self._store
        pause = self._seconds * _BACKOFF
        error: StateError = self._explainer.silent(operation)
        for _ in range(_ATTEMPTS):
            # An attempt that could end after the deadline is not begun: its outcome would stay
            # unknown, although it may write.
            if not deadline.allows(seconds):
                break
            try:
                return request(store)
            except (BaseError, OSError, ValueError) as refusal:
                failure = read_failure(refusal)
                if self._is_absent(refusal, failure) and absent is not ...:
                    result: T = absent
                    return result
            error = self._explainer.error(failure, operation)
            if not failure.is_transient:
                break
            time.sleep(pause)
            pause *= 3
        # Outside of the handler: the text of the library may contain a signature, and would be
        # printed as the context of this error.
        raise error

    @staticmethod
    def _is_absent(refusal: Exception, failure: StorageFailure) -> bool:
        return isinstance(refusal, FileNotFoundError) and not failure.is_missing_bucket

    def _open(self, seconds: float) -> ObjectStore:
        try:
            from obstore import store as stores
            from obstore.exceptions import BaseError
        except ImportError:
            raise StateError(
                "State in an object store needs a library that is not installed.",
                hint="Install reconciler with its extra `object-store`.",
            ) from None
        kinds: Mapping[str, Callable[..., ObjectStore]] = {
            "s3": stores.S3Store,
            "az": stores.AzureStore,
            "gs": stores.GCSStore,
        }
        limit = timedelta(seconds=seconds)
        try:
            return kinds[self._address.scheme](
                self._address.bucket,
                config=dict(self._settings.config),
                client_options={
                    "timeout": limit,
                    "connect_timeout": limit,
                    "allow_http": self._settings.allow_http,
                },
                # A retry within the library would turn a lost answer of our own write into TAKEN.
                retry_config={"max_retries": 0},
            )
        except (BaseError, OSError, ValueError):
            # The text may quote the variable, which may be a key.
            error = StateError(
                f"The environment has malformed settings for {self._address}.",
                hint="Check the credentials and the endpoint.",
            )
        raise error
