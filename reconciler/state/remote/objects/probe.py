"""Races in a bucket, on names of their own, that show whether it provides what fencing needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from reconciler.state.remote.objects.bucket import Bucket, Placed
from reconciler.state.remote.storage import StorageFinding

_RACERS = 8
_ROUNDS = 3
_PLAUSIBLE = 1_500_000_000.0
"""A time in 2017: a store whose clock is earlier has none."""


class BucketProbe:
    """Tries a bucket below a folder that nobody else uses, and empties the folder at the end."""

    def __init__(self, bucket: Bucket, folder: str) -> None:
        self._bucket = bucket
        self._folder = folder

    def findings(self) -> Iterator[StorageFinding]:
        """The findings as they are made. Raises StateError where the bucket cannot be tried."""
        checks: list[tuple[str, Callable[[], str]]] = [
            ("A segment number can be taken only once", self._race),
            ("Existing objects are not overwritten", self._overwrite),
            ("New objects can be listed and read immediately", self._consistency),
            ("Removed objects are gone immediately", self._removal),
            ("The clock of the store is usable", self._clock),
        ]
        try:
            for claim, check in checks:
                detail = check()
                yield StorageFinding(claim, holds=not detail, detail=detail)
        finally:
            self._clean_up()

    def _race(self) -> str:
        with ThreadPoolExecutor(_RACERS) as pool:
            for round_number in range(_ROUNDS):
                deadline = self._bucket.deadline()
                key = f"{self._folder}/race-{round_number}"
                bodies = [f"racer {racer}".encode() for racer in range(_RACERS)]
                outcomes = list(
                    pool.map(self._bucket.create, [key] * _RACERS, bodies, [deadline] * _RACERS)
                )
                present = self._bucket.read(key, deadline)
                if present is None:
                    return "after eight writes of one name at the same time nothing was there"
                # A winner whose answer was lost finds its own object when it repeats the write.
                winners = {present.body}
                for body, placed in zip(bodies, outcomes, strict=True):
                    if placed is Placed.CREATED:
                        winners.add(body)
                if len(winners) > 1:
                    return f"{len(winners)} of {_RACERS} writes of one name succeeded"
        return ""

    def _overwrite(self) -> str:
        deadline = self._bucket.deadline()
        key = f"{self._folder}/overwrite"
        self._bucket.create(key, b"first", deadline)
        placed = self._bucket.create(key, b"second", deadline)
        present = self._bucket.read(key, deadline)
        if placed is Placed.CREATED:
            return "a second write of a name succeeded, but should have been refused"
        if present is None or present.body != b"first":
            return "a second write of a name was refused, but replaced the first"
        return ""

    def _consistency(self) -> str:
        for number in range(_ROUNDS):
            deadline = self._bucket.deadline()
            key = f"{self._folder}/fresh-{number}"
            self._bucket.create(key, b"fresh", deadline)
            if self._bucket.read(key, deadline) is None:
                return "an object could not be read right after it was written"
            if key not in self._listed():
                return "an object was not listed right after it was written"
        return ""

    def _removal(self) -> str:
        deadline = self._bucket.deadline()
        key = f"{self._folder}/removed"
        self._bucket.create(key, b"removed", deadline)
        self._bucket.delete([key], deadline)
        if self._bucket.read(key, deadline) is not None or key in self._listed():
            return "an object was still there right after it was deleted"
        return ""

    def _clock(self) -> str:
        previous = _PLAUSIBLE
        for number in range(_ROUNDS):
            deadline = self._bucket.deadline()
            key = f"{self._folder}/clock-{number}"
            self._bucket.replace(key, b"", deadline)
            moment = self._bucket.modified_at(key, deadline)
            if moment is None:
                return "an object had no time right after it was written"
            if moment < previous:
                return f"the time of a later object is {previous - moment:.0f} seconds earlier"
            previous = moment
        return ""

    def _listed(self) -> set[str]:
        return {listed.key for listed in self._bucket.list(self._folder, self._bucket.deadline())}

    def _clean_up(self) -> None:
        self._bucket.delete(sorted(self._listed()), self._bucket.deadline())
