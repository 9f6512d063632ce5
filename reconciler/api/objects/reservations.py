"""Whose object is whose, within one run: no id is ever given to two addresses.

An object whose answer was lost is searched for, and what fits may be what somebody else is making at this moment. So
every maker says beforehand what it makes and afterwards which id came of it, and every search asks here before it
takes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Condition

from reconciler.model.address import Address
from reconciler.model.values import Spec


class InProcessReservations:
    """Implements `model.provider.Claims`. Safe to use from threads."""

    def __init__(self) -> None:
        self._owners: dict[str, Address | None] = {}
        self._making: Counter[Hashable] = Counter()
        self._changed = Condition()

    def reserve(self, id: str, owner: Address | None) -> bool:
        """Take an id for an address; False if it is another's already."""
        with self._changed:
            return self._owners.setdefault(id, owner) == owner

    def is_free(self, id: str, owner: Address | None) -> bool:
        """Whether the address has the id or could still take it."""
        with self._changed:
            return self._owners.get(id, owner) == owner

    def is_taken(self, id: str) -> bool:
        """Whether the id is anybody's."""
        with self._changed:
            return id in self._owners

    @contextmanager
    def creating(self, collection: str, identity: Spec | None) -> Iterator[None]:
        """Surround the call that makes an object, and the claim of its id. Nothing is searched for inside."""
        likeness = _likeness(collection, identity)
        with self._changed:
            self._making[likeness] += 1
        try:
            yield
        finally:
            with self._changed:
                self._making[likeness] -= 1
                if not self._making[likeness]:
                    del self._making[likeness]
                self._changed.notify_all()

    def wait_for_creates(self, collection: str, identity: Spec | None) -> None:
        """Wait until nobody makes an object of this identity: whatever was listed before is then claimed or lost."""
        likeness = _likeness(collection, identity)
        with self._changed:
            self._changed.wait_for(lambda: not self._making[likeness])


def _likeness(collection: str, identity: Spec | None) -> Hashable:
    return collection, frozenset((identity or {}).items())
