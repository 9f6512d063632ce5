"""The log of a shared state as objects of a bucket in S3, Azure Blob Storage and the like.

    PREFIX/STACK/ENVIRONMENT/log/00000000000000000012        a segment
    PREFIX/STACK/ENVIRONMENT/snapshot/00000000000000000012   a snapshot
    PREFIX/STACK/ENVIRONMENT/clock/…, check/…                short-lived objects

A segment is written only if its name is free, so the names are the lock. No object records the end
of the log: a listing from the last known segment costs one request, as reading such an object would,
and a run that is killed between two writes cannot leave it outdated.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

from reconciler.errors import StateError
from reconciler.state.remote.objects.address import parse_address, quoted
from reconciler.state.remote.objects.bucket import (
    Bucket,
    Deadline,
    ListedObject,
    Placed,
    StoredObject,
)
from reconciler.state.remote.objects.probe import BucketProbe
from reconciler.state.remote.storage import (
    FencedError,
    StorageFinding,
    StoredBody,
    Tail,
    UnreachableError,
)

SECONDS = 14.5
"""The time limit of an operation."""
READERS = 16
"""How many segments are read at a time."""
_LONGEST_HIDDEN = 16
"""A listing may lag behind by some segments; a longer gap in it is one that was trimmed."""
_TAKES = 4
"""How often a write that met another write of the same name is tried."""
_PAUSE = 0.1
"""Seconds before the second of these attempts; the further pauses are longer by as much each."""


class ObjectStorage:
    """Implements `storage.LogStorage` with conditional writes. Each sign of life is a segment.

    Times have a resolution of one second, because the stores keep no more: an age may be wrong by
    up to a second in either direction.
    """

    clock_error = 1.0

    def __init__(
        self,
        url: str,
        *,
        stack: str,
        environment: str,
        env: Mapping[str, str],
        seconds: float = SECONDS,
    ) -> None:
        """`url` is an address such as s3://bucket/prefix; `env` has credentials and endpoint.

        Nothing is sent. Raises StateError for a malformed address or setting.
        """
        self._base = parse_address(url)
        self._root = self._base.key(quoted(stack), quoted(environment))
        self._bucket = Bucket(self._base, env, seconds=seconds)

    @property
    def address(self) -> str:
        return f"{self._base.scheme}://{self._base.bucket}/{self._root}"

    def prepare(self) -> None:
        """Nothing: the first request reports a missing bucket or permission."""

    def snapshot(self) -> StoredBody | None:
        deadline = self._bucket.deadline()
        # A snapshot that was listed can be trimmed before it is read, because a newer one exists.
        for _ in range(_TAKES):
            listed = self._numbered("snapshot", deadline)
            if not listed:
                return None
            number = max(listed)
            stored = self._bucket.read(
                self._key("snapshot", number), deadline, size=listed[number].size
            )
            if stored is not None:
                return StoredBody(number, stored.body)
        raise UnreachableError(
            f"{self.address} lists a snapshot that cannot be read.", hint="Try again."
        )

    def tail(self, after: int) -> Tail:
        deadline = self._bucket.deadline()
        # Mostly nothing was appended, so the requests for that case are sent together with the
        # listing. The next number is read directly, because a listing may lag.
        following = self._submit_read(after + 1, 0, deadline)
        dated = self._readers.submit(self._modified_at, after, deadline)
        listed = self._numbered("log", deadline, after=after)
        bodies = {after + 1: following.result()}
        end = max(listed, default=after + 1)
        if bodies[after + 1] is not None or listed:
            wanted = [*_with_hidden(listed, after + 1), end + 1]
            bodies |= self._read_all(wanted, listed, bodies, deadline)
        self._follow(bodies, deadline)
        present = {number: stored for number, stored in sorted(bodies.items()) if stored}
        signed_at = present[max(present)].modified_at if present else dated.result()
        return Tail(
            segments=[StoredBody(number, stored.body) for number, stored in present.items()],
            signed_at=signed_at,
        )

    def now(self) -> float:
        """The time of the store, in whole seconds."""
        # Stores have no call for their time, but each dates the objects that are written.
        deadline = self._bucket.deadline()
        key = f"{self._root}/clock/{secrets.token_hex(16)}"
        self._bucket.replace(key, b"", deadline)
        moment = self._bucket.modified_at(key, deadline)
        self._bucket.delete([key], deadline)
        if moment is None:
            # After an attempt whose answer was lost, a store may take a moment to replace its object.
            raise UnreachableError(
                f"{self.address} does not return an object that was just written.",
                hint="`reconciler state check` shows what the store does not honour.",
            )
        return moment

    def claim(self, segment: StoredBody, *, epoch: int, seen: Tail) -> None:  # noqa: ARG002
        """Append a claim, and make sure that the store refuses to write it a second time.

        Raises StateError where it does not: two runs could then both believe that they hold the
        lease.
        """
        deadline = self._bucket.deadline()
        if self._take(segment, deadline):
            return
        key = self._key("log", segment.number)
        if self._bucket.create(key, segment.body, deadline) is Placed.CREATED:
            raise StateError(
                f"{self.address} replaces objects that must not be replaced,"
                " so it cannot hold a shared state.",
                hint="Use a store with conditional writes;"
                " `reconciler state check` tries what is needed.",
            )

    def append(self, segment: StoredBody, *, epoch: int) -> None:  # noqa: ARG002
        self._take(segment, self._bucket.deadline())

    def renew(self, *, epoch: int) -> bool:  # noqa: ARG002
        return False

    def put_snapshot(self, snapshot: StoredBody) -> None:
        self._bucket.replace(
            self._key("snapshot", snapshot.number), snapshot.body, self._bucket.deadline()
        )

    def trim(self, through: int, *, keep: Collection[int]) -> None:
        """Keeps the newest snapshot and the last segment, whatever the caller asks."""
        deadline = self._bucket.deadline()
        # The last segment dates the last sign of life.
        segments = sorted(self._numbered("log", deadline))[:-1]
        snapshots = sorted(self._numbered("snapshot", deadline))[:-1]
        old = [number for number in segments if number <= through and number not in keep]
        keys = [self._key("log", number) for number in old]
        keys += [self._key("snapshot", number) for number in snapshots if number < through]
        self._bucket.delete(keys, deadline)

    def probe(self) -> Iterator[StorageFinding]:
        return BucketProbe(self._bucket, f"{self._root}/check/{secrets.token_hex(16)}").findings()

    def close(self) -> None:
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _take(self, segment: StoredBody, deadline: Deadline) -> bool:
        """Write a segment at its number. True if the store refused to write it again."""
        key = self._key("log", segment.number)
        for attempt in range(_TAKES):
            time.sleep(_PAUSE * attempt)
            placed = self._bucket.create(key, segment.body, deadline)
            if placed is Placed.CREATED:
                return False
            present = self._bucket.read(key, deadline, size=len(segment.body))
            if present is not None and present.body == segment.body:
                return True
            # TAKEN without an object means that the number was taken and trimmed since. After a
            # CONFLICT without an object it may still be free, so the write is tried again.
            if present is not None or placed is Placed.TAKEN:
                raise FencedError(
                    f"Another run has written segment {segment.number} of {self.address}."
                )
        raise UnreachableError(
            f"{self.address} reports a conflicting write of segment {segment.number},"
            " which does not appear.",
            hint="Try again.",
        )

    def _key(self, folder: str, number: int) -> str:
        return f"{self._root}/{folder}/{number:020d}"

    def _numbered(
        self, folder: str, deadline: Deadline, *, after: int = 0
    ) -> Mapping[int, ListedObject]:
        """The listed objects of a folder by number, ascending."""
        pattern = re.compile(re.escape(f"{self._root}/{folder}/") + r"(\d{20})")
        offset = self._key(folder, after) if after else None
        numbered = {}
        for listed in self._bucket.list(f"{self._root}/{folder}", deadline, after=offset):
            match = pattern.fullmatch(listed.key)
            if match and int(match[1]) > after:
                numbered[int(match[1])] = listed
        return dict(sorted(numbered.items()))

    def _submit_read(
        self, number: int, size: int, deadline: Deadline
    ) -> Future[StoredObject | None]:
        return self._readers.submit(
            self._bucket.read, self._key("log", number), deadline, size=size
        )

    def _read_all(
        self,
        numbers: Iterable[int],
        listed: Mapping[int, ListedObject],
        known: Mapping[int, StoredObject | None],
        deadline: Deadline,
    ) -> dict[int, StoredObject | None]:
        """Read segments, apart from those that were read before."""
        reads = {}
        for number in numbers:
            size = listed[number].size if number in listed else 0
            if known.get(number) is None:
                reads[number] = self._submit_read(number, size, deadline)
        return {number: read.result() for number, read in reads.items()}

    def _follow(self, bodies: dict[int, StoredObject | None], deadline: Deadline) -> None:
        """Read further segments after the last one, because a listing may lag behind writes."""
        # A segment that the listing lacks must not be taken for a free number. The limit keeps a
        # reader from following a fast writer forever.
        present = [number for number, stored in bodies.items() if stored]
        if not present:
            return
        last = max(present)
        for number in range(last + 1, last + 1 + _LONGEST_HIDDEN):
            if number not in bodies:
                bodies[number] = self._bucket.read(self._key("log", number), deadline)
            if bodies[number] is None:
                return

    def _modified_at(self, number: int, deadline: Deadline) -> float | None:
        return self._bucket.modified_at(self._key("log", number), deadline) if number else None

    @cached_property
    def _readers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(READERS, thread_name_prefix="state-reader")


def _with_hidden(listed: Iterable[int], start: int) -> Sequence[int]:
    """The listed numbers from `start`, and numbers between them that a lagging listing may lack."""
    numbers: list[int] = []
    expected = start
    for number in listed:
        if number < start:
            continue
        if number - expected <= _LONGEST_HIDDEN:
            numbers.extend(range(expected, number))
        numbers.append(number)
        expected = number + 1
    return numbers
