"""The interface of storages for the log of one state.

The log is a sequence of segments, numbered from 1 without gaps. Fencing rests on one property: **a number can be
taken only once**. A run that was replaced tries to append at a number that its successor has taken, and is refused.

Storages do not interpret segments: bodies are bytes, possibly encrypted. They raise `StateError` with a sentence that
names the address, the operation and the remedy, `UnreachableError` if another attempt may help, and `FencedError` if
another run has taken the number or the lease.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from reconciler.errors import StateError


class UnreachableError(StateError):
    """The storage did not answer, or answered that it cannot serve now. The same operation can be tried again."""


class UnusedStorageError(StateError):
    """The storage was never prepared, so it holds no state. Readers take it for an empty log."""


class FencedError(StateError):
    """Another run has taken the number of this segment, or the lease: this run must not write any more."""


class StoredBody(Struct, frozen=True):
    """The stored form of a segment or a snapshot. A snapshot has the number of the last segment in it."""

    number: int
    body: bytes


class Tail(Struct, frozen=True):
    """The segments after some number, in order, and the signs of life of the last writer.

    `signed_at` is when the storage last heard from the holder of the lease, by the clock of the storage, in unix
    seconds; None if neither these segments nor the one before them exist. `renewals` counts signs of life other than
    segments, so that a claim can require that there was none since this read. Storages in which every sign of life is
    a segment leave it at 0.
    """

    segments: Sequence[StoredBody] = ()
    signed_at: float | None = None
    renewals: int = 0


class StorageFinding(Struct, frozen=True):
    """One result of `LogStorage.check`."""

    claim: str
    """The property that was tested, as a sentence: "A segment number can be taken only once"."""
    holds: bool
    detail: str = ""
    """The observation, if it does not hold."""


class LogStorage(Protocol):
    """The log of one state of one stack in one environment. Methods may be called from any thread.

    Each method makes its own attempts against a lost answer, but none against an unreachable storage: that is
    `UnreachableError`, at the latest after 15 seconds, and the caller decides whether to wait.
    """

    @property
    def address(self) -> str:
        """The storage and the state in it, for messages: without credentials."""

    @property
    def clock_error(self) -> float:
        """The most seconds by which the difference of two of its times can be wrong."""

    def prepare(self) -> None:
        """Create or migrate the structures of the storage, such as tables. Raises StateError naming
        the missing permission.
        """

    def snapshot(self) -> StoredBody | None:
        """The newest snapshot that is complete; None where there is none."""

    def tail(self, after: int) -> Tail:
        """All segments with a number above `after`, ascending. A gap is left for the caller to notice."""

    def now(self) -> float:
        """The present time by the storage's own clock, the one that `Tail.signed_at` comes from; unix seconds."""

    def claim(self, segment: StoredBody, *, epoch: int, seen: Tail) -> None:
        """Append a claim of the lease. `epoch` is one more than that of the previous claim.

        Succeeds only if nothing was appended and the lease was not renewed since `seen` was read; raises FencedError
        otherwise. After it every other epoch is fenced.
        """

    def append(self, segment: StoredBody, *, epoch: int) -> None:
        """Append a segment at its number, durably. It is also a sign of life.

        Raises FencedError where the number is taken or the epoch is not the last that claimed. A segment with the
        same body at this number is our own, whose answer was lost: that is a success.
        """

    def renew(self, *, epoch: int) -> bool:
        """Give a sign of life without a segment; False where only a segment is one.

        Raises FencedError where the epoch is not the last that claimed.
        """

    def put_snapshot(self, snapshot: StoredBody) -> None:
        """Store a snapshot, durably. The caller holds the lease; a snapshot of the same number is replaced."""

    def trim(self, through: int, *, keep: Collection[int]) -> None:
        """Remove segments up to a number, and snapshots below it, apart from the segments in `keep`.

        The caller has a newer snapshot. Nothing breaks where a part of it fails.
        """

    def probe(self) -> Iterator[StorageFinding]:
        """Prove, with real races on names of their own, that the storage supports fencing. Cleans
        up.
        """

    def close(self) -> None:
        """Close connections; safe to call twice."""
