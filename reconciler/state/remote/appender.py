"""Appends the writes of one run to the log, in order, on a thread of its own.

Writes that happen while a segment is in flight share the next segment. A durable write waits for its segment; any
other goes with the next one. Segments are appended in order, so everything before a durable write is durable too.

The same thread renews the lease. If the storage refuses a segment, another run has taken over. If the storage cannot
be reached for the time of the lease, another run may have. Both end this run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from reconciler.errors import StateError
from reconciler.state.changes import Changes
from reconciler.state.remote.lease import Validity, lost
from reconciler.state.remote.segments import Segment, SegmentKind, SegmentLog
from reconciler.state.remote.storage import FencedError, LogStorage, UnreachableError

LOG = logging.getLogger("reconciler.state")
_RIDE_ALONG_SECONDS = 0.2
"""How long a write that is not durable may wait in memory for the next segment."""
_SHORTEST_GATHERING_SECONDS, _LONGEST_GATHERING_SECONDS = 0.002, 0.01
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_SEGMENTS_WORTH_A_SNAPSHOT = 100
_BYTES_WORTH_A_SNAPSHOT = 256 * 1024


class AppendedDatabase(Protocol):
    """The database whose changes are appended."""

    def collect(self) -> Changes:
        """The changes since the last call."""

    def serialize(self) -> tuple[Changes, bytes]:
        """The changes since the last call, and the whole database including them."""


class Appender:
    """Appends segments while the lease is held. `on_lost` is called once, from its thread, when the lease is lost."""

    def __init__(
        self,
        log: SegmentLog,
        storage: LogStorage,
        source: AppendedDatabase,
        validity: Validity,
        *,
        schema: int,
        on_lost: Callable[[], None],
    ) -> None:
        self._log = log
        self._storage = storage
        self._source = source
        self._validity = validity
        self._epoch = log.head.epoch
        self._schema = schema
        self._on_lost = on_lost
        self._state = threading.Condition()
        self._written = 0
        self._wanted = 0
        self._durable = 0
        self._written_at = 0.0
        self._is_closing = False
        self._must_renew = False
        self._must_rewrite = False
        self._append_seconds = 0.0
        self.failure: StateError | None = None
        self._thread = threading.Thread(target=self._run, name="state-appender", daemon=True)
        self._thread.start()

    # --- called by the threads of the run -------------------------------------------------------

    def note(self, *, durable: bool) -> int:
        """Note that a transaction was committed in memory. Returns its number, for `wait`."""
        with self._state:
            if self._durable == self._written:
                self._written_at = self._validity.begin_sign()
            self._written += 1
            if durable:
                self._wanted = self._written
            self._state.notify_all()
            return self._written

    def wait(self, number: int) -> None:
        """Return once the write with this number is in the log. Raises LeaseLostError or StateError."""
        with self._state:
            self._state.wait_for(lambda: self._durable >= number or self.failure is not None)
            if self._durable < number:
                self.check()

    def check(self) -> None:
        """Raise the error that ended the run, if there is one."""
        if self.failure is not None:
            raise self.failure

    def permit(self) -> None:
        """Return if the lease is certainly valid, after a renewal if needed. Raises LeaseLostError.

        Call it before each request to the API: another run may have taken over while this process was suspended.
        """
        self.check()
        if self._validity.left > 0:
            return
        with self._state:
            self._must_renew = True
            self._state.notify_all()
            self._state.wait_for(lambda: self._validity.left > 0 or self.failure is not None)
        self.check()

    def rewrite(self) -> None:
        """Return once a new snapshot has replaced everything before it. Raises StateError."""
        with self._state:
            self._must_rewrite = True
            self._state.notify_all()
            self._state.wait_for(lambda: not self._must_rewrite or self.failure is not None)
        self.check()

    def close(self) -> None:
        """Append the remaining writes and release the lease. A lease that cannot be released expires."""
        with self._state:
            self._is_closing = True
            self._state.notify_all()
        self._thread.join()

    # --- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._append_next():
                pass
        except StateError as error:
            self._fail(error)
        except BaseException as error:
            self._fail(StateError(f"the state cannot be written: {error}"))
            raise

    def _fail(self, error: StateError) -> None:
        with self._state:
            self.failure = error
            self._state.notify_all()
        self._on_lost()

    def _append_next(self) -> bool:
        """Append the next segment once it is due; False after the release."""
        with self._state:
            # Each write can bring the next segment forward, so the time is computed again after every wake-up.
            while not self._is_due() and (seconds := self._seconds_until_due()) > 0:
                self._state.wait(seconds)
            # Before the changes are collected: a write that comes in between may be part of the
            # segment, but is not reported as durable before the next one.
            number, is_last = self._written, self._is_closing
            must_renew, self._must_renew = self._must_renew, False
        if is_last:
            self._release()
            return False
        self._gather()
        changes = self._source.collect()
        if changes:
            self._append(SegmentKind.CHANGES, changes)
        elif must_renew or self._validity.until_renewal <= 0:
            self._renew()
        with self._state:
            self._durable = max(self._durable, number)
            self._state.notify_all()
        if self._must_rewrite:
            self._rewrite()
        elif self._wants_snapshot(_SEGMENTS_WORTH_A_SNAPSHOT):
            self._put_snapshot()
        return True

    def _gather(self) -> None:
        """Wait a moment for further writes, if appending a segment takes long."""
        # Workers whose writes shared a segment begin their calls at the same time, so their next
        # writes come at nearly the same time too.
        seconds = min(self._append_seconds / 4, _LONGEST_GATHERING_SECONDS)
        if seconds >= _SHORTEST_GATHERING_SECONDS:
            with self._state:
                self._state.wait_for(lambda: self._is_closing, timeout=seconds)

    def _is_due(self) -> bool:
        is_asked = self._is_closing or self._must_renew or self._must_rewrite
        return is_asked or self._wanted > self._durable

    def _seconds_until_due(self) -> float:
        seconds = self._validity.until_renewal
        if self._written > self._durable:
            waited = self._validity.begin_sign() - self._written_at
            seconds = min(seconds, _RIDE_ALONG_SECONDS - waited)
        return max(0.0, seconds)

    def _append(self, kind: SegmentKind, changes: Changes) -> None:
        head = self._log.head
        segment = Segment(
            head.number + 1, self._epoch, head.digest, kind, self._schema, changes=changes
        )
        body = self._log.encode(segment)
        began = time.monotonic()
        self._insist(lambda: self._storage.append(body, epoch=self._epoch))
        self._append_seconds = time.monotonic() - began
        self._log.advance(segment, body.body)

    def _renew(self) -> None:
        if not self._insist(lambda: self._storage.renew(epoch=self._epoch)):
            self._append(SegmentKind.RENEWAL, {})

    def _insist(self, operation: Callable[[], object]) -> object:
        """Try until the storage answers or the lease may have ended. An answer renews the lease."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            # The time before sending: the storage may have received the request at once, even if
            # its answer takes long.
            sent_at = self._validity.begin_sign()
            try:
                answer = operation()
            except FencedError as error:
                raise lost(self._storage.address) from error
            except UnreachableError as error:
                if self._validity.left <= 0:
                    raise lost(
                        self._storage.address,
                        f"it could not be renewed for {self._validity.seconds:.0f} s: {error}",
                    ) from error
                LOG.info("the state cannot be written, trying again: %s", error)
                with self._state:
                    self._state.wait(min(pause, max(0.01, self._validity.left)))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            # False means that this storage needs a segment as a sign of life.
            if answer is not False:
                self._validity.signed(sent_at)
            return answer

    def _release(self) -> None:
        changes = self._source.collect()
        if changes:
            self._append(SegmentKind.CHANGES, changes)
        with self._state:
            self._durable = self._written
        # Sooner than during a run: the next plan reads everything behind the snapshot.
        if self._wants_snapshot(_SEGMENTS_WORTH_A_SNAPSHOT // 5):
            self._put_snapshot()
        try:
            self._append(SegmentKind.RELEASE, {})
        except StateError as error:
            # All writes are in the log. The next run waits until the lease ends, and takes it over.
            LOG.info("the lease could not be released: %s", error)

    def _rewrite(self) -> None:
        # The last segment stays in the log, so it has to be in the current format and encryption.
        self._append(SegmentKind.RENEWAL, {})
        changes, database = self._source.serialize()
        if changes:
            self._append(SegmentKind.CHANGES, changes)
        self._log.put_snapshot(database)
        self._log.trim_all()
        with self._state:
            self._must_rewrite = False
            self._state.notify_all()

    def _wants_snapshot(self, segments: int) -> bool:
        return (
            self._log.head.number - self._log.snapshot_number >= segments
            or self._log.bytes_since_snapshot >= _BYTES_WORTH_A_SNAPSHOT
        )

    def _put_snapshot(self) -> None:
        changes, database = self._source.serialize()
        if changes:
            self._append(SegmentKind.CHANGES, changes)
        try:
            self._log.put_snapshot(database)
        except FencedError as error:
            raise lost(self._storage.address) from error
        except StateError as error:
            # The log is complete. Without a snapshot the next reader only takes longer.
            LOG.info("no snapshot of the state could be written: %s", error)
