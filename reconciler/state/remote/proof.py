"""Races that prove that a storage supports fencing. They run on a scratch state.

Each racer opens a storage of its own, as separate runs do, so that no lock within this process can
hide a fault of the storage.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing

from reconciler.state.remote.storage import FencedError, LogStorage, StorageFinding, StoredBody

RACERS = 6
ROUNDS = 3


def prove(open_storage: Callable[[], LogStorage]) -> Iterator[StorageFinding]:
    """Try each claim. `open_storage` opens the same scratch state each time; it must be empty.

    Raises StateError where the storage fails.
    """
    with ExitStack() as stack:
        racers = [stack.enter_context(closing(open_storage())) for _ in range(RACERS)]
        proof = _StorageProof(racers)
        yield proof.one_claim_wins()
        yield proof.one_append_wins()
        yield proof.repeated_append_succeeds()
        yield proof.replaced_run_is_fenced()
        yield proof.sign_of_life_defeats_claim()


class _StorageProof:
    def __init__(self, racers: Sequence[LogStorage]) -> None:
        self._racers = racers
        self._epoch = 0

    def one_claim_wins(self) -> StorageFinding:
        problems = []
        for _ in range(ROUNDS):
            seen = self._racers[0].tail(0)
            self._epoch += 1

            def claim(racer: LogStorage, segment: StoredBody) -> None:
                racer.claim(segment, epoch=self._epoch, seen=seen)  # noqa: B023

            problems += self._race(claim)
        return _finding("Exactly one of several concurrent claims wins", problems)

    def one_append_wins(self) -> StorageFinding:
        self._claim(self._racers[0])
        problems = []
        for _ in range(ROUNDS):
            problems += self._race(
                lambda racer, segment: racer.append(segment, epoch=self._epoch),
            )
        return _finding("A segment number can be taken only once", problems)

    def repeated_append_succeeds(self) -> StorageFinding:
        self._claim(self._racers[0])
        segment = StoredBody(self._head() + 1, b"the same bytes")
        self._racers[0].append(segment, epoch=self._epoch)
        problems = []
        if _is_fenced(lambda: self._racers[1].append(segment, epoch=self._epoch)):
            problems.append("it was refused")
        if self._head() != segment.number:
            problems.append("it added a segment")
        return _finding("A retried append succeeds and adds nothing", problems)

    def replaced_run_is_fenced(self) -> StorageFinding:
        replaced = self._racers[0]
        self._claim(replaced)
        epoch = self._epoch
        self._claim(self._racers[1])
        segment = StoredBody(self._head() + 1, b"from a replaced run")
        problems = []
        if not _is_fenced(lambda: replaced.append(segment, epoch=epoch)):
            problems.append("its segment was accepted")
        if not _is_fenced(lambda: replaced.renew(epoch=epoch)):
            problems.append("its lease was renewed")
        if self._head() >= segment.number:
            problems.append("its segment is in the log")
        return _finding("A replaced run can neither append nor renew its lease", problems)

    def sign_of_life_defeats_claim(self) -> StorageFinding:
        holder, claimant = self._racers[0], self._racers[1]
        self._claim(holder)
        seen = claimant.tail(0)
        number = self._head() + 1
        if not holder.renew(epoch=self._epoch):
            holder.append(StoredBody(number, b"a sign of life"), epoch=self._epoch)
        claim = StoredBody(number, b"a late claim")
        problems = []
        if not _is_fenced(lambda: claimant.claim(claim, epoch=self._epoch + 1, seen=seen)):
            problems.append("the claim was accepted")
        return _finding("A claim that missed a renewal is refused", problems)

    def _claim(self, racer: LogStorage) -> None:
        seen = racer.tail(0)
        self._epoch += 1
        segment = StoredBody(len(seen.segments) + 1, b"claim %d" % self._epoch)
        racer.claim(segment, epoch=self._epoch, seen=seen)

    def _head(self) -> int:
        segments = self._racers[0].tail(0).segments
        return segments[-1].number if segments else 0

    def _race(self, attempt: Callable[[LogStorage, StoredBody], object]) -> list[str]:
        """Let all racers try to take the next number at once; return the problems."""
        number = self._head() + 1
        # All at the same moment, or the first would win before the second begins.
        start = threading.Barrier(len(self._racers))
        winners: list[bytes] = []
        failures: list[BaseException] = []

        def run(racer: LogStorage, body: bytes) -> None:
            start.wait()
            try:
                attempt(racer, StoredBody(number, body))
            except FencedError:
                return
            except BaseException as error:  # noqa: BLE001 — raised again in the caller's thread
                failures.append(error)
                return
            winners.append(body)

        threads = []
        for index, racer in enumerate(self._racers):
            body = b"racer %d takes %d" % (index, number)
            threads.append(threading.Thread(target=run, args=(racer, body), daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return self._problems(number, winners)

    def _problems(self, number: int, winners: Sequence[bytes]) -> list[str]:
        if len(winners) != 1:
            return [f"{len(winners)} of {len(self._racers)} won"]
        # Read through another connection, because the result has to be visible to all.
        stored = self._racers[-1].tail(number - 1).segments
        if [segment.body for segment in stored] != list(winners):
            return ["what is stored is not what the winner wrote"]
        return []


def _is_fenced(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except FencedError:
        return True
    return False


def _finding(claim: str, problems: Sequence[str]) -> StorageFinding:
    return StorageFinding(claim, holds=not problems, detail="; ".join(problems))
