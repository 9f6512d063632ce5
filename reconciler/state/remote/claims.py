"""Claims the lease of a shared state, waits for it, and ends the lease of another run."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.state import schema
from reconciler.state.file_lock import FileLock
from reconciler.state.remote.lease import Validity, held
from reconciler.state.remote.retry import PATIENCE_SECONDS, with_retries
from reconciler.state.remote.segments import Segment, SegmentKind, SegmentLog
from reconciler.state.remote.storage import FencedError, LogStorage

_LOCK_POLL_SECONDS = 1.0
_MOST_REFUSALS = 5


class LeaseClaims:
    """Claims the lease for one program. `catch_up` reads the segments that others have appended.

    `describe` gives the text for a holder in messages. If there is a `file_lock`, every holder has it.
    """

    def __init__(
        self,
        storage: LogStorage,
        log: SegmentLog,
        catch_up: Callable[[], None],
        *,
        lease_seconds: float,
        describe: Callable[[Mapping[str, Any]], str],
        file_lock: FileLock | None,
    ) -> None:
        self._storage = storage
        self._log = log
        self._catch_up = catch_up
        self._lease_seconds = lease_seconds
        self._describe = describe
        self._file_lock = file_lock
        self._has_file_lock = False
        self._is_held = False

    def claim(
        self,
        holder: Mapping[str, Any],
        wait_seconds: float,
        on_wait: Callable[[str], None],
        pause: Callable[[float], None],
    ) -> tuple[Mapping[str, Any] | None, Validity]:
        """Claim the lease. Returns the holder that was replaced, and the validity of the lease.

        Raises LockedError if another run, or this program, still holds it after `wait_seconds`. Call `end` after it.
        """
        if self._is_held:
            raise held(self._describe(holder), self._lease_seconds)
        try:
            return self._claim(holder, wait_seconds, on_wait, pause)
        except BaseException:
            self.end()
            raise

    def _claim(
        self,
        holder: Mapping[str, Any],
        wait_seconds: float,
        on_wait: Callable[[str], None],
        pause: Callable[[float], None],
    ) -> tuple[Mapping[str, Any] | None, Validity]:
        give_up_at = time.monotonic() + wait_seconds
        is_announced = False
        refusals = _Refusals()
        while True:
            # A user who waits ten minutes for the lock also waits that long for a storage that is down.
            patience = max(PATIENCE_SECONDS, give_up_at - time.monotonic())
            with_retries(self._catch_up, seconds=patience)
            dead = self._log.head.claim
            seconds_left = self._seconds_left()
            if seconds_left <= 0:
                # From before the claim is sent, so that the lease never seems to last longer here
                # than for others.
                validity = Validity(self._lease_seconds)
                try:
                    self._append_claim(holder)
                except FencedError as error:
                    refusals.count(self._log, error)
                    continue
                self._is_held = True
                return (None if dead is None else dead.holder), validity
            description = "" if dead is None else self._describe(dead.holder)
            if time.monotonic() >= give_up_at:
                raise held(description, seconds_left)
            if not is_announced:
                on_wait(description)
                is_announced = True
            pause(min(_LOCK_POLL_SECONDS, seconds_left))
            # Only refusals in a row show that no other run is the cause.
            refusals = _Refusals()

    def _seconds_left(self) -> float:
        """How long another run still holds the lease; 0 or less if it is free or has ended."""
        claim, signed_at = self._log.head.claim, self._log.tail.signed_at
        # Every holder on this machine has the kernel lock, so a lease without it is that of a dead
        # process, and there is nothing to wait for.
        if self._file_lock is not None:
            self._has_file_lock = self._has_file_lock or self._file_lock.acquire()
            return 0.0 if self._has_file_lock else self._lease_seconds
        if claim is None or signed_at is None:
            return 0.0
        # Some stores keep whole seconds, and a lease must not end a second too early.
        ends_at = signed_at + claim.lease_seconds + self._storage.clock_error
        return ends_at - with_retries(self._storage.now)

    def _append_claim(
        self, holder: Mapping[str, Any], kind: SegmentKind = SegmentKind.CLAIM
    ) -> None:
        head = self._log.head
        segment = Segment(
            head.number + 1,
            head.epoch + 1,
            head.digest,
            kind,
            schema.VERSION,
            holder=holder,
            lease_seconds=self._lease_seconds,
            token=secrets.token_hex(8),
        )
        body = self._log.encode(segment)
        with_retries(lambda: self._storage.claim(body, epoch=segment.epoch, seen=self._log.tail))
        if with_retries(lambda: self._storage.tail(segment.number)).segments:
            # This process was suspended before the claim, and others wrote and trimmed the log. The
            # number that they had taken was free again.
            raise FencedError("other runs have written since the log was read")
        self._log.advance(segment, body.body)

    def break_lease(self) -> Mapping[str, Any] | None:
        """Release the lease of any holder, and return that holder. Its next write is refused."""
        refusals = _Refusals()
        while True:
            with_retries(self._catch_up)
            claim = self._log.head.claim
            if claim is None:
                return None
            if self._file_lock is not None:
                self._file_lock.break_lock()
            try:
                # Claim and release in one segment, so that a kill in between leaves no lease.
                self._append_claim(claim.holder, SegmentKind.RELEASE)
            except FencedError as error:
                refusals.count(self._log, error)
                continue
            return claim.holder

    def end(self) -> None:
        """Note that the lease of this program has ended, released or lost."""
        self._is_held = False
        if self._file_lock is not None and self._has_file_lock:
            self._file_lock.release()
            self._has_file_lock = False


class _Refusals:
    """Counts claims that were refused although the log shows no other run's write."""

    def __init__(self) -> None:
        self._number = -1
        self._count = 0

    def count(self, log: SegmentLog, error: FencedError) -> None:
        """Count a refusal. Raises StateError once it can no longer be a race with another run."""
        self._count = self._count + 1 if log.head.number == self._number else 1
        self._number = log.head.number
        if self._count == _MOST_REFUSALS:
            raise log.cut_off() from error
