"""The log of one state: segments that form a chain, and snapshots that shorten it.

Each segment contains the digest of the segment before it, so a missing, damaged or foreign segment is detected. It
also has the version of the tables that its changes belong to. A snapshot is the whole database after one segment, with
the digest of that segment, so the chain continues after it.

The log decides which run holds the lease: the one of the last claim, unless a release follows. `Head` describes the
end of the log.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from reconciler.errors import StateError
from reconciler.state.changes import Changes
from reconciler.state.encryption import Cipher
from reconciler.state.remote.storage import LogStorage, StoredBody, Tail, UnusedStorageError

FORMAT = 1
_ATTEMPTS = 5
_MAGIC = b"RCNL"
_DAMAGED_HINT = (
    "Run `reconciler state check`. If the storage keeps versions or backups, restore the objects of "
    "this state; otherwise move them away: plan then finds objects by their marks."
)

T = TypeVar("T", "Segment", "DatabaseSnapshot")
V = TypeVar("V")


class SegmentKind(StrEnum):
    """The purpose of a segment. A segment of any kind can contain changes."""

    CLAIM = "claim"
    CHANGES = "changes"
    RENEWAL = "renewal"
    RELEASE = "release"


class Segment(Struct, frozen=True, omit_defaults=True):
    """One entry of the log.

    `previous` is the digest of the stored body of the segment before. `schema` is the version of the tables.
    `holder` and `lease_seconds` belong to claims, and the random `token` makes each claim unique.
    """

    number: int
    epoch: int
    previous: bytes
    kind: SegmentKind
    schema: int
    changes: Changes = {}
    holder: Mapping[str, Any] = {}
    lease_seconds: float = 0.0
    token: str = ""


class LeaseClaim(Struct, frozen=True):
    """The last claim of the lease. `number` is its segment; `took_over` says that it ended another lease."""

    number: int
    epoch: int
    holder: Mapping[str, Any]
    lease_seconds: float
    took_over: bool = False


class Head(Struct, frozen=True):
    """The end of the log. `claim` is None while nobody holds the lease.

    `keep` has the numbers of claims that took over an unreleased lease, and of releases of another run's lease. They
    stay in the log forever, because a run that was replaced tries to append at exactly such a number.
    """

    number: int = 0
    digest: bytes = b""
    epoch: int = 0
    claim: LeaseClaim | None = None
    keep: tuple[int, ...] = ()


class DatabaseSnapshot(Struct, frozen=True):
    """The whole database after the segment `head.number`, as SQLite serializes it."""

    head: Head
    database: bytes


class SegmentLog:
    """Reads and writes the log of one state.

    `head` is the end of the log as far as this program knows it; `tail` is the last answer of the storage about
    the segments after it. Not thread-safe.
    """

    def __init__(self, storage: LogStorage, cipher: Cipher, *, name: str) -> None:
        self._storage = storage
        self._cipher = cipher
        self._name = name
        self.head = Head()
        self.tail = Tail()
        self.bytes_since_snapshot = 0
        self.snapshot_number = 0

    # --- reading ----------------------------------------------------------------------------------

    def load(self) -> bytes | None:
        """Start at the newest snapshot, and return its database; None if there is none. Then `follow` the log."""
        # A storage that is not prepared yet counts as an empty log, so that a plan needs no
        # permission to write.
        stored = self._unless_unused(self._storage.snapshot, None)
        if stored is None:
            self.head = Head()
            return None
        snapshot = self._decode(stored, DatabaseSnapshot, "snapshot")
        # The number outside comes from the storage; the one inside is encrypted with the content.
        # They differ if somebody moved a body.
        if snapshot.head.number != stored.number:
            raise self._damaged(f"snapshot {stored.number} contains another one")
        self.head = snapshot.head
        self.snapshot_number = stored.number
        self.bytes_since_snapshot = 0
        return snapshot.database

    def follow(self) -> Iterator[Segment]:
        """Every segment after `head`, which advances with them. Raises StateError if one is missing or damaged."""
        self.tail = self._unless_unused(lambda: self._storage.tail(self.head.number), Tail())
        # The last segment is never removed, so its absence means that others have written and
        # trimmed the log.
        if self.head.number and self.tail.signed_at is None:
            raise MissingSegmentError(
                f"{self._storage.address}: segment {self.head.number} is missing",
                hint=_DAMAGED_HINT,
            )
        for stored in self.tail.segments:
            if stored.number != self.head.number + 1:
                raise MissingSegmentError(
                    f"{self._storage.address}: segment {self.head.number + 1} is missing",
                    hint=_DAMAGED_HINT,
                )
            segment = self._decode(stored, Segment, "segment")
            if segment.number != stored.number or segment.previous != self.head.digest:
                raise self._damaged(f"segment {stored.number} does not follow the one before it")
            self.advance(segment, stored.body)
            yield segment

    def advance(self, segment: Segment, body: bytes) -> None:
        """Advance `head` past a segment."""
        claim, keep = self.head.claim, self.head.keep
        if segment.kind is SegmentKind.CLAIM:
            took_over = claim is not None
            claim = LeaseClaim(
                segment.number, segment.epoch, segment.holder, segment.lease_seconds, took_over
            )
            if took_over:
                keep = (*keep, segment.number)
        elif segment.kind is SegmentKind.RELEASE:
            if claim is not None and segment.epoch != claim.epoch:
                # Another run ended the lease, with `state unlock`.
                keep = (*keep, segment.number)
            claim = None
        self.head = Head(segment.number, digest_of(body), segment.epoch, claim, keep)
        self.bytes_since_snapshot += len(body)

    # --- writing ----------------------------------------------------------------------------------

    def encode(self, segment: Segment) -> StoredBody:
        """The stored form of a segment."""
        return self._encode(segment, segment.number, "segment")

    def put_snapshot(self, database: bytes) -> None:
        """Store a snapshot of the state at `head`, and remove segments before the previous one."""
        self._storage.put_snapshot(
            self._encode(DatabaseSnapshot(self.head, database), self.head.number, "snapshot")
        )
        previous, self.snapshot_number = self.snapshot_number, self.head.number
        self.bytes_since_snapshot = 0
        # After the snapshot is stored: a kill in between leaves superfluous segments, and never a
        # gap. The segments after the previous snapshot stay, because a reader may have read that
        # snapshot and not yet the segments.
        self._storage.trim(previous, keep=self.head.keep)

    def trim_all(self) -> None:
        """Remove everything before the last snapshot, apart from the last segment and those that must stay."""
        last = self.snapshot_number
        self._storage.trim(last, keep=(*self.head.keep, last))

    def _encode(self, value: Segment | DatabaseSnapshot, number: int, noun: str) -> StoredBody:
        # Compressed before encryption, because encrypted bytes do not compress.
        packed = zlib.compress(msgspec.msgpack.encode(value), 1)
        plain = _MAGIC + bytes((FORMAT,)) + packed
        return StoredBody(number, self._cipher.seal(plain, self._context(noun, number)))

    def _decode(self, stored: StoredBody, kind: type[T], noun: str) -> T:
        name = f"{noun} {stored.number}"
        try:
            plain = self._cipher.open(stored.body, self._context(noun, stored.number))
        except StateError as error:
            raise StateError(
                f"{self._storage.address}: {name}: {error}", hint=error.hint
            ) from error
        if plain[:4] != _MAGIC:
            raise self._damaged(f"{name} is not of this program, or is damaged")
        if plain[4] > FORMAT:
            raise StateError(
                f"{self._storage.address}: {name} has format {plain[4]}, and this program reads "
                f"formats up to {FORMAT}",
                hint="Use a newer version of reconciler.",
            )
        try:
            return msgspec.msgpack.decode(zlib.decompress(plain[5:]), type=kind)
        except (zlib.error, msgspec.MsgspecError) as error:
            raise self._damaged(f"{name} is damaged") from error

    @staticmethod
    def _unless_unused(read: Callable[[], V], default: V) -> V:
        try:
            return read()
        except UnusedStorageError:
            return default

    def _context(self, noun: str, number: int) -> str:
        return f"{noun} {number} of {self._name}"

    def cut_off(self) -> StateError:
        """The error of a log whose last segments are missing."""
        return self._damaged(
            f"the log ends at segment {self.head.number}, but further segments have been written"
        )

    def _damaged(self, detail: str) -> StateError:
        return StateError(f"{self._storage.address}: {detail}", hint=_DAMAGED_HINT)


class MissingSegmentError(StateError):
    """A segment between two others is missing. While a log is trimmed, reading it once more helps."""


def digest_of(body: bytes) -> bytes:
    """The digest that the next segment names."""
    return hashlib.sha256(body).digest()
