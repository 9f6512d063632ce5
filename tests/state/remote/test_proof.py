"""The proof passes a storage that keeps its promises, and names each promise that one breaks."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator

import pytest

from reconciler.state.remote.proof import prove
from reconciler.state.remote.storage import FencedError, StorageFinding, StoredBody, Tail


class Memory:
    """A storage in memory; `forgets` names the conditions that it does not check."""

    def __init__(self, *forgets: str) -> None:
        self.forgets = forgets
        self.bodies: dict[int, bytes] = {}
        self.epoch = 0
        self.renewals = 0
        self.lock = threading.Lock()

    address = "memory"

    def prepare(self) -> None: ...

    def snapshot(self) -> StoredBody | None:
        return None

    def tail(self, after: int) -> Tail:
        segments = [StoredBody(*pair) for pair in sorted(self.bodies.items()) if pair[0] > after]
        return Tail(segments, 0.0, self.renewals)

    def now(self) -> float:
        return 0.0

    def claim(self, segment: StoredBody, *, epoch: int, seen: Tail) -> None:
        with self.lock:
            if "renewals" not in self.forgets and seen.renewals != self.renewals:
                raise FencedError("renewed")
            self._take(segment)
            self.epoch = epoch

    def append(self, segment: StoredBody, *, epoch: int) -> None:
        with self.lock:
            if "epochs" not in self.forgets and epoch != self.epoch:
                raise FencedError("replaced")
            self._take(segment)

    def _take(self, segment: StoredBody) -> None:
        body = self.bodies.get(segment.number)
        is_repeated = body == segment.body and "repetition" not in self.forgets
        if body is not None and not is_repeated and "numbers" not in self.forgets:
            raise FencedError("taken")
        self.bodies[segment.number] = segment.body

    def renew(self, *, epoch: int) -> bool:
        if "epochs" not in self.forgets and epoch != self.epoch:
            raise FencedError("replaced")
        self.renewals += 1
        return True

    def put_snapshot(self, snapshot: StoredBody) -> None: ...

    def trim(self, through: int, *, keep: Collection[int]) -> None: ...

    def probe(self) -> Iterator[StorageFinding]:
        return prove(lambda: self)

    def close(self) -> None: ...


def broken(storage: Memory) -> set[str]:
    return {finding.claim for finding in storage.probe() if not finding.holds}


def test_a_storage_that_checks_every_condition_passes() -> None:
    findings = list(Memory().probe())
    assert len(findings) == 5
    assert all(finding.holds for finding in findings)


@pytest.mark.parametrize(
    ("condition", "claims"),
    [
        (
            "numbers",
            {
                "Exactly one of several concurrent claims wins",
                "A segment number can be taken only once",
            },
        ),
        ("epochs", {"A replaced run can neither append nor renew its lease"}),
        ("renewals", {"A claim that missed a renewal is refused"}),
        (
            "repetition",
            {"A retried append succeeds and adds nothing"},
        ),
    ],
)
def test_each_forgotten_condition_is_named(condition: str, claims: set[str]) -> None:
    assert broken(Memory(condition)) == claims
