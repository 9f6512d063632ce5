"""A lease ends neither early nor late, whatever the storage's clock is like."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from reconciler.errors import LeaseLostError, LockedError
from reconciler.state import Holder, StateStore
from reconciler.state.encryption import NoEncryption
from reconciler.state.remote.embedded import EmbeddedStorage
from reconciler.state.remote.opening import open_log
from reconciler.state.remote.storage import StoredBody, Tail

LEASE_SECONDS = 30.0
LATE_IN_A_SECOND = 1_000_000_000.9


class CoarseStorage(EmbeddedStorage):
    """A storage that keeps whole seconds, as object stores do. The test moves its clock."""

    clock_error = 1.0
    moment = LATE_IN_A_SECOND
    claimed_at = LATE_IN_A_SECOND

    def tail(self, after: int) -> Tail:
        return replace(super().tail(after), signed_at=math.floor(self.claimed_at))

    def now(self) -> float:
        return math.floor(self.moment)

    def claim(self, segment: StoredBody, *, epoch: int, seen: Tail) -> None:
        self.claimed_at = self.moment
        super().claim(segment, epoch=epoch, seen=seen)


def open_coarse(path: Path, *, moment: float) -> StateStore:
    storage = CoarseStorage(path)
    storage.moment = moment
    return open_log(
        storage,
        NoEncryption(),
        stack="acme",
        environment="prod",
        lease_seconds=LEASE_SECONDS,
        clock=time.time,
    )


def take_over(path: Path, *, seconds: float) -> list[Holder]:
    """Lock a state so many seconds after another run did; the holders that were replaced."""
    replaced: list[Holder] = []
    with (
        open_coarse(path, moment=LATE_IN_A_SECOND) as first,
        open_coarse(path, moment=LATE_IN_A_SECOND + seconds) as second,
        first.lock(command="apply", on_takeover=replaced.append),
        second.lock(command="apply", on_takeover=replaced.append),
    ):
        first.remarks.put("name", "value")
    return replaced


def test_a_clock_of_whole_seconds_does_not_end_a_lease_early(tmp_path: Path) -> None:
    with pytest.raises(LockedError, match="another run holds the lock"):
        take_over(tmp_path / "log.db", seconds=LEASE_SECONDS - 0.5)


def test_a_lease_by_a_clock_of_whole_seconds_ends(tmp_path: Path) -> None:
    with pytest.raises(LeaseLostError):
        take_over(tmp_path / "log.db", seconds=LEASE_SECONDS + 2)
