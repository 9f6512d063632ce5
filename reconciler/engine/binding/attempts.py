"""Attempts: creates that were sent and not recorded, and the objects that they can have created.

An attempt has a time window. An object created before or after it is someone else's, even if it
looks the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from reconciler.model.address import Address
from reconciler.model.consistency import ATTEMPT_SECONDS, UPLOAD_ATTEMPT_SECONDS, CreationWindow
from reconciler.model.kind import Kind
from reconciler.model.provider import CREATE
from reconciler.model.resource import LiveObject
from reconciler.model.types import LocalFileType
from reconciler.model.values import Spec
from reconciler.state import EntryStatus, JournalEntry

_AGELESS_SECONDS = 3600.0
"""How long after an attempt an object without `created_at` may count as its result. Only the short
time is evidence for it.
"""


class CreateAttempt(Struct, frozen=True):
    """One create whose outcome is unknown."""

    window: CreationWindow
    """The time window in which it can have taken effect."""
    id: str | None = None
    """The id in the answer, if there was one."""
    identity: Spec = {}
    """The natural key of the object."""
    ended: float | None = None
    """When the call was given up; None if the process died."""
    clock: Callable[[], float] = lambda: -math.inf
    """The server's time, for objects without a creation time."""

    def can_have_made(self, live: LiveObject) -> bool:
        """Whether the object can be the result, judging by id and age."""
        if self.id is not None:
            # The id in an answer lacks the parent, which the id of a listed object contains.
            return live.id == self.id or live.own_id == self.id
        created_at = live.attributes.get("created_at")
        # Roles and spend alerts have no creation time, so age cannot exclude them.
        if created_at is None:
            return self.clock() <= self.window.until + _AGELESS_SECONDS
        return self.window.holds(created_at)

    def seconds_to_show(self, settle_seconds: float, *, now: float) -> float:
        """How much longer the result may be missing from lists."""
        if self.ended is None:
            # The process died at an unknown moment of the window, maybe just now.
            return settle_seconds if now <= self.window.until else 0.0
        return min(settle_seconds, max(0.0, self.ended + settle_seconds - now))


class UnfinishedWork(NamedTuple):
    """The unfinished work of earlier runs: begin of each change, its creates, and the owners of
    answered ids."""

    began: Mapping[Address, float]
    made: Mapping[Address, Sequence[CreateAttempt]]
    noted: Mapping[str, Address]


def unfinished_work(
    entries: Iterable[JournalEntry], kinds: Mapping[str, Kind], *, clock: Callable[[], float]
) -> UnfinishedWork:
    """The unfinished changes of a journal. `clock` returns the server's time, which may become
    known later."""
    began: dict[Address, float] = {}
    made: dict[Address, list[CreateAttempt]] = {}
    noted: dict[str, Address] = {}
    for entry in entries:
        # Several runs can have died over one address. The oldest attempt opens the window.
        began[entry.address] = min(began.get(entry.address, entry.began_at), entry.began_at)
        # Of every step: an update can create objects too, such as the files of a collection.
        noted |= dict.fromkeys(entry.ids, entry.address)
        for step in entry.steps:
            # A failed step had a definite refusal, so it created nothing. A step without an end may
            # have.
            if step.name == CREATE and step.status is not EntryStatus.FAILED:
                attempt = _attempt(step, kinds.get(entry.address.kind), clock)
                made.setdefault(entry.address, []).append(attempt)
    return UnfinishedWork(began, made, noted)


def _attempt(step: JournalEntry, kind: Kind | None, clock: Callable[[], float]) -> CreateAttempt:
    # Uploads can take minutes of transfer, so their window is longer.
    is_upload = kind is not None and any(
        isinstance(field.type, LocalFileType) for field in kind.fields
    )
    longest = UPLOAD_ATTEMPT_SECONDS if is_upload else ATTEMPT_SECONDS
    window = CreationWindow.of(step.began_at, step.ended_at, longest_seconds=longest)
    return CreateAttempt(window, step.id, step.intent.get("identity") or {}, step.ended_at, clock)
